package bench

import (
	"context"
	"sync"
	"time"
)

// closedLoop runs workers that call do again and again until d is over or ctx
// ends. It returns how long that took. Every call gets another number.
func closedLoop(ctx context.Context, workers int, d time.Duration, do func(i int)) time.Duration {
	start := time.Now()
	end := start.Add(d)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; ctx.Err() == nil && time.Now().Before(end); i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// openLoop starts calls of do at a fixed rate a second, whether or not earlier
// calls have returned, until d is over or ctx ends, and waits for all. A call
// gets the time when it was due. Latency counts from there, so that a target
// that stalls is charged for all clients that were due meanwhile.
func openLoop(ctx context.Context, rate float64, d time.Duration, do func(i int, due time.Time)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	atRate(ctx, rate, int(rate*d.Seconds()), func(i int, due time.Time) {
		wg.Go(func() { do(i, due) })
	})
}

// atRate calls do n times at a fixed rate a second, one call after the other,
// unless ctx ends before.
func atRate(ctx context.Context, rate float64, n int, do func(i int, due time.Time)) {
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		do(i, due)
	}
}

// forEach calls do for 0 to n-1, with a number of calls at the same time, and
// returns the first error.
func forEach(ctx context.Context, n, atOnce int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for w := range min(atOnce, n) {
		wg.Go(func() {
			for i := w; i < n && ctx.Err() == nil; i += atOnce {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// pause waits for d, or returns the cause when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
