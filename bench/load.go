package bench

import (
	"context"
	"sync"
	"time"
)

// closedLoop lets workers do one thing after the other until the time is up or
// ctx ends, and returns how long that took. Every call of do is given a number
// that no other gets.
func closedLoop(ctx context.Context, workers int, d time.Duration, do func(i int)) time.Duration {
	begun := time.Now()
	end := begun.Add(d)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; ctx.Err() == nil && time.Now().Before(end); i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
	return time.Since(begun)
}

// openLoop starts so many things a second, whether or not the earlier ones have
// ended, until the time is up or ctx ends; then it waits for them. do is told
// when it was due: what it takes is counted from there, so that a target that
// stalls is charged for everybody who came meanwhile.
func openLoop(ctx context.Context, rate float64, d time.Duration, do func(i int, due time.Time)) {
	begun := time.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range int(rate * d.Seconds()) {
		due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		wg.Go(func() { do(i, due) })
	}
}

// each does n things, so many at once, and returns the first error.
func each(ctx context.Context, n, atOnce int, do func(i int) error) error {
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

// pause waits for a time, or until ctx ends.
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
