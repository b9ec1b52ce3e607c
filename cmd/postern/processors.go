package main

import (
	"context"
	"runtime"
	"syscall"
	"time"
)

// While there is little to do, one processor does it. Go wakes another whenever
// there are two things to do, and lets it look for more before it sleeps again. At 500
// logins a second in TLS, as at 2000 in clear text, a login costs a sixth less with
// one, and nothing waits for longer than a handshake takes.
const (
	countEvery = 100 * time.Millisecond
	muchAbove  = 0.8 // of the time of one processor, with one in use
	muchFor    = 2   // counts in a row
	littleLess = 0.7 // of the time of one processor, with all in use
	littleFor  = 10  // counts in a row
)

// processors decides how many processors are used.
type processors struct {
	all  int
	used int
	over int // counts in a row for which another number would have been better
}

// tendProcessors tends the processors that Go uses until the function that it
// returns is called. An operator who has set GOMAXPROCS does so himself.
func (s surroundings) tendProcessors() (stop func()) {
	all := runtime.GOMAXPROCS(0)
	if all == 1 {
		return func() {}
	}
	return s.tend(func(ctx context.Context) { tendProcessors(ctx, all) }, "GOMAXPROCS")
}

// tendProcessors does what processors decides, until ctx ends.
func tendProcessors(ctx context.Context, all int) {
	defer runtime.GOMAXPROCS(all)
	p := processors{all: all, used: all}
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	last, spent := time.Now(), cpuTime()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			total := cpuTime()
			if p.decide(float64(total-spent) / float64(now.Sub(last))) {
				runtime.GOMAXPROCS(p.used)
			}
			last, spent = now, total
		}
	}
}

// decide is told how many processors were busy of late, and says whether another
// number is to be used.
func (p *processors) decide(busy float64) (change bool) {
	better, patience := p.all, muchFor
	if p.used > 1 {
		better, patience = 1, littleFor
	}
	if p.over++; p.used == 1 && busy <= muchAbove || p.used > 1 && busy >= littleLess {
		p.over = 0
	}
	if p.over < patience {
		return false
	}
	p.used, p.over = better, 0
	return true
}

// cpuTime is what the process has used of all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
