package backend

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
)

// bell says a line on the connections that idle, on one after the other.
type bell struct {
	mu     sync.Mutex
	idling []*conn
	next   int   // whose turn it is
	rung   int64 // lines said

	stop func() // ends the ringing and waits until it has ended; nil while it is silent
}

// ring begins to say so many lines a second, or ends it with 0, and returns how
// many were said so far.
func (b *bell) ring(ctx context.Context, rate float64) int64 {
	b.mu.Lock()
	stop := b.stop
	b.stop = nil
	b.mu.Unlock()
	if stop != nil {
		stop()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if rate > 0 && b.stop == nil {
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		b.stop = func() { cancel(); <-ended }
		go func() {
			defer close(ended)
			b.keepRinging(ctx, rate)
		}()
	}
	return b.rung
}

// keepRinging says so many lines a second until ctx ends.
func (b *bell) keepRinging(ctx context.Context, rate float64) {
	begun := time.Now()
	for i := 0; ; i++ {
		due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
			b.once()
		case <-ctx.Done():
			return
		}
	}
}

// once says on the next connection what time it is: nanoseconds since 1970, by a
// clock that all processes of a machine share.
func (b *bell) once() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.idling) == 0 {
		return
	}
	b.next %= len(b.idling)
	if b.idling[b.next].say("* OK ", strconv.FormatInt(time.Now().UnixNano(), 10), " is the time.") == nil {
		b.rung++
	}
	b.next++
}

// idle keeps the client waiting for what the server has to say, until it says
// DONE.
func (c *conn) idle(tag string) error {
	b := &c.server.bell
	if err := c.say("+ idling"); err != nil {
		return err
	}
	b.mu.Lock()
	b.idling = append(b.idling, c)
	b.mu.Unlock()
	l, err := c.hear()
	b.mu.Lock()
	b.idling = slices.DeleteFunc(b.idling, func(other *conn) bool { return other == c })
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if !bytes.EqualFold(l, []byte("DONE")) {
		return c.say(tag, " BAD Expected DONE.")
	}
	return c.say(tag, " OK Idle completed.")
}
