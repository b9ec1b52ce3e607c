package bench

import (
	"context"
	"math"
	"sync"
	"time"

	"postern/bench/client"
)

// memoryProbe reads the memory of a target during a flood, and measures how
// late the bench itself runs.
type memoryProbe struct {
	before, peak int64    // octets; 0 if unknown
	late         *results // of the bench, which wants to run at a fixed rate
	cancel       context.CancelFunc
	wg           sync.WaitGroup
}

// How many times a second the probe checks its own delay, and reads the memory
// of the target, which takes longer.
const (
	lateRate   = 100.0
	memoryRate = 4.0
)

// startMemoryProbe runs until stop is called. It leaves out the memory of the
// mail server, which is not started for every round.
func startMemoryProbe(ctx context.Context, t *target) *memoryProbe {
	p := &memoryProbe{late: newResults(time.Now())}
	if t.name != direct {
		p.before, _ = t.memory()
	}
	ctx, p.cancel = context.WithCancel(ctx)
	p.wg.Go(func() {
		atRate(ctx, lateRate, math.MaxInt, func(_ int, due time.Time) { p.late.add(due, time.Since(due), client.Accepted, nil) })
	})
	if p.before > 0 {
		p.wg.Go(func() {
			atRate(ctx, memoryRate, math.MaxInt, func(int, time.Time) {
				now, _ := t.memory()
				p.peak = max(p.peak, now)
			})
		})
	}
	return p
}

// stop ends the probe and waits until it has ended.
func (p *memoryProbe) stop() {
	p.cancel()
	p.wg.Wait()
}

// report adds the figures to s.
func (p *memoryProbe) report(s *sample) {
	if p.before > 0 {
		s.figure("memory before", "MB", lower, float64(p.before)/(1<<20))
		s.figure("memory, at most", "MB", lower, float64(max(p.before, p.peak))/(1<<20))
	}
	s.figure("the bench itself was late, 99 %", "ms", neither, p.late.millis(99))
}
