package backend

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
)

// notifier sends lines to the clients in IDLE, one client after the other.
type notifier struct {
	mu     sync.Mutex
	idling []*conn
	next   int   // index of the next client
	sent   int64 // lines

	stop func() // stops run and waits until it has ended; nil if it does not run
}

// setRate sends that many lines a second from now on, none for 0, and returns
// how many have been sent so far.
func (n *notifier) setRate(ctx context.Context, rate float64) int64 {
	n.mu.Lock()
	stop := n.stop
	n.stop = nil
	n.mu.Unlock()
	if stop != nil {
		stop()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if rate > 0 && n.stop == nil {
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		n.stop = func() { cancel(); <-ended }
		go func() {
			defer close(ended)
			n.run(ctx, rate)
		}()
	}
	return n.sent
}

// run sends lines at a fixed rate a second until ctx ends.
func (n *notifier) run(ctx context.Context, rate float64) {
	start := time.Now()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
			n.notifyNext()
		case <-ctx.Done():
			return
		}
	}
}

// notifyNext sends the time to the next client, in nanoseconds since 1970, by
// the clock that all processes of a machine share.
func (n *notifier) notifyNext() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.idling) == 0 {
		return
	}
	n.next %= len(n.idling)
	if n.idling[n.next].writeLine("* OK ", strconv.FormatInt(time.Now().UnixNano(), 10), " is the time.") == nil {
		n.sent++
	}
	n.next++
}

// idle is the IDLE command (RFC 2177): it ends when the client sends DONE.
func (c *conn) idle(tag string) error {
	n := &c.server.notifier
	if err := c.writeLine("+ idling"); err != nil {
		return err
	}
	n.mu.Lock()
	n.idling = append(n.idling, c)
	n.mu.Unlock()
	l, err := c.readLine()
	n.mu.Lock()
	n.idling = slices.DeleteFunc(n.idling, func(other *conn) bool { return other == c })
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if !bytes.EqualFold(l, []byte("DONE")) {
		return c.writeLine(tag, " BAD Expected DONE.")
	}
	return c.writeLine(tag, " OK Idle completed.")
}
