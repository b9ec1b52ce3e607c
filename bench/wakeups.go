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

// wakeups is sessions in IMAP IDLE, to which the mail server sends a line now
// and then, as when new mail arrives.
type wakeups struct {
	*heldSessions
	wg       sync.WaitGroup
	current  atomic.Pointer[results] // of the lines that arrive now
	received atomic.Int64            // lines
	lost     atomic.Int64            // sessions that have ended
}

// wakeTimeout is how long a line may take.
const wakeTimeout = 10 * time.Second

// listen starts IDLE on all sessions and receives lines until close.
func (w *wakeups) listen() error {
	for i, s := range w.sessions {
		if err := s.Idle(); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	for _, s := range w.sessions {
		w.wg.Go(func() {
			for {
				sent, err := s.Notification()
				if err != nil {
					w.lost.Add(1)
					return
				}
				w.current.Load().add(sent, time.Since(sent), client.Accepted, nil)
				w.received.Add(1)
			}
		})
	}
	return nil
}

// during returns the delays of lines that the mail server sent while do ran:
// from when it sent a line, on the clock that all processes of the machine
// share, to when the client has it. A line that is missing after wakeTimeout
// counts as that slow.
func (w *wakeups) during(ctx context.Context, do func() error) (*results, error) {
	res := newResults(time.Now())
	w.current.Store(res)
	received := w.received.Load()
	before, err := w.t.backend.Notify(ctx, wakeRate)
	if err != nil {
		return nil, err
	}
	err = do()
	after, stopErr := w.t.backend.Notify(context.WithoutCancel(ctx), 0)
	if err := errors.Join(err, stopErr); err != nil {
		return nil, err
	}
	return res, w.await(ctx, res, received+after-before)
}

// await waits until sent lines have been received, at most wakeTimeout.
func (w *wakeups) await(ctx context.Context, res *results, sent int64) error {
	missing := func() int64 { return sent - w.received.Load() }
	for end := time.Now().Add(wakeTimeout); missing() > 0 && time.Now().Before(end); {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	for range missing() {
		res.add(time.Now(), wakeTimeout, 0, os.ErrDeadlineExceeded)
	}
	return nil
}

// close closes all sessions.
func (w *wakeups) close() {
	for _, s := range w.sessions {
		if s != nil {
			s.Conn.Close() // s itself belongs to its goroutine until that has ended
		}
	}
	w.wg.Wait()
	w.heldSessions.close()
}
