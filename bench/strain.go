package bench

import (
	"context"
	"sync"
	"time"

	"postern/bench/client"
)

// strain is what a flood does to the target's memory, and to the bench itself.
type strain struct {
	t            *Target
	before, most int64  // octets; 0 if they cannot be known
	late         *Tally // of the bench, which wants to look at a fixed rate
	stop         context.CancelFunc
	wg           sync.WaitGroup
}

// How often a second the bench looks at its own lateness, and at the target's
// memory, which takes a while.
const (
	lateRate   = 100.
	memoryRate = 4.
)

// watchStrain looks at t until end is called. It does not look at the memory of
// the mail server, which is not started afresh.
func watchStrain(ctx context.Context, t *Target) *strain {
	st := &strain{t: t, late: NewTally(time.Now())}
	if t.Name != direct {
		st.before, _ = t.Memory()
	}
	ctx, st.stop = context.WithCancel(ctx)
	st.wg.Go(func() {
		regularly(ctx, lateRate, func(due time.Time) { st.late.Add(due, time.Since(due), client.Accepted, nil) })
	})
	if st.before > 0 {
		st.wg.Go(func() {
			regularly(ctx, memoryRate, func(time.Time) {
				now, _ := t.Memory()
				st.most = max(st.most, now)
			})
		})
	}
	return st
}

// regularly does something so many times a second, one after the other, until ctx
// ends.
func regularly(ctx context.Context, rate float64, do func(due time.Time)) {
	begun := time.Now()
	for i := 0; ; i++ {
		due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		do(due)
	}
}

// end looks no more.
func (st *strain) end() {
	st.stop()
	st.wg.Wait()
}

// report puts what was seen into s.
func (st *strain) report(s *Sample) {
	if st.before > 0 {
		s.Figure("memory before", "MB", Lower, float64(st.before)/(1<<20))
		s.Figure("memory, at most", "MB", Lower, float64(max(st.before, st.most))/(1<<20))
	}
	s.Figure("the bench itself was late, 99 %", "ms", Neither, st.late.Millis(99))
}
