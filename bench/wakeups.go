package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postern/bench/client"
)

// wakeups is sessions that are logged in and silent, on which the mail server
// says a line now and then, as when mail has come.
type wakeups struct {
	*held
	wg    sync.WaitGroup
	tally atomic.Pointer[Tally] // of the lines that are heard now
	heard atomic.Int64
	lost  atomic.Int64 // sessions that have ended
}

// wakePatience is how long a line may be on its way.
const wakePatience = 10 * time.Second

// listen makes every session wait for what it is told.
func (w *wakeups) listen() error {
	for i, s := range w.sessions {
		if err := s.Idle(); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	for _, s := range w.sessions {
		w.wg.Go(func() {
			for {
				said, err := s.Rung()
				if err != nil {
					w.lost.Add(1)
					return
				}
				w.tally.Load().Add(said, time.Since(said), client.Accepted, nil)
				w.heard.Add(1)
			}
		})
	}
	return nil
}

// during returns how long lines took that were said while something was done. The
// time counts from when the mail server said a line, on a clock that all
// processes share, to when the client has it. A line that never came counts as
// slow as it was given time to be.
func (w *wakeups) during(ctx context.Context, do func() error) (*Tally, error) {
	tally := NewTally(time.Now())
	w.tally.Store(tally)
	heard := w.heard.Load()
	before, err := w.t.Backend.Ring(ctx, wakeRate)
	if err != nil {
		return nil, err
	}
	err = do()
	after, stopped := w.t.Backend.Ring(context.WithoutCancel(ctx), 0)
	if err := errors.Join(err, stopped); err != nil {
		return nil, err
	}
	return tally, w.await(ctx, tally, heard+after-before)
}

// await waits until so many lines have been heard. What is missing in the end was
// slow.
func (w *wakeups) await(ctx context.Context, tally *Tally, said int64) error {
	missing := func() int64 { return said - w.heard.Load() }
	for end := time.Now().Add(wakePatience); missing() > 0 && time.Now().Before(end); {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	for range missing() {
		tally.Add(time.Now(), wakePatience, 0, os.ErrDeadlineExceeded)
	}
	return nil
}

// release lets all sessions go.
func (w *wakeups) release() {
	for _, s := range w.sessions {
		if s != nil {
			s.Conn.Close() // Close is for its own goroutine, once that has ended
		}
	}
	w.wg.Wait()
	w.held.release()
}
