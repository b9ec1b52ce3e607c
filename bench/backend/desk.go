package backend

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Secret returns the right password of an account.
func Secret(account string) string { return "secret-of-" + account }

// desk checks passwords: so many a second begin, in the order they come, and
// each takes its time.
type desk struct {
	accepted, denied, turnedAway atomic.Int64

	mu    sync.Mutex
	pace  time.Duration // between two checks, 0 for no limit
	queue int           // most that may wait, 0 for any number
	takes time.Duration // one check
	next  time.Time     // when the next check may begin
}

// limit sets how many passwords are checked a second (0: any number), how long
// each check takes, and how many attempts may wait (0: any number). The line
// starts anew; those that wait already come when they were to come.
func (d *desk) limit(rate float64, takes time.Duration, queue int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pace, d.takes, d.queue, d.next = 0, takes, queue, time.Time{}
	if rate > 0 {
		d.pace = time.Duration(float64(time.Second) / rate)
	}
}

// turn takes a place in the line and returns how long it takes until the check
// is done; false when the line is full.
func (d *desk) turn(t time.Time) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pace == 0 {
		return d.takes, true
	}
	if d.next.Before(t) {
		d.next = t
	}
	wait := d.next.Sub(t)
	if d.queue > 0 && wait > time.Duration(d.queue)*d.pace {
		return 0, false
	}
	d.next = d.next.Add(d.pace)
	return wait + d.takes, true
}

// verdict is what the desk says of a password.
type verdict int

const (
	accepted verdict = iota
	denied
	busy // the line is full, or the server stops
)

// check waits for its turn and says whether the password is right. A client
// that has left meanwhile is checked all the same, as real servers do.
func (d *desk) check(ctx context.Context, account, secret string) verdict {
	wait, room := d.turn(time.Now())
	if !room {
		d.turnedAway.Add(1)
		return busy
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return busy
		}
	}
	if secret != Secret(account) {
		d.denied.Add(1)
		return denied
	}
	d.accepted.Add(1)
	return accepted
}
