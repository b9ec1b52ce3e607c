package backend

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Secret returns the right password of an account.
func Secret(account string) string { return "secret-of-" + account }

// formerSecret returns a password that the account had before. A program that
// still uses it is no attacker.
func formerSecret(account string) string { return "former-" + Secret(account) }

// authQueue checks passwords: a limited number a second, first come, first
// served, from a queue that may be bounded. The zero value has no limit.
type authQueue struct {
	accepted, denied, former atomic.Int64 // former: of those denied

	mu      sync.Mutex
	limiter *rate.Limiter // starts of checks, with a burst of 1; nil for no limit
	queue   int           // most checks that may wait, 0 for no limit
	takes   time.Duration // duration of one check
}

// setLimit sets how many checks start a second (0: no limit), how long each
// takes, and how many may wait (0: no limit). The queue starts empty; checks
// that wait already keep their time.
func (q *authQueue) setLimit(perSecond float64, takes time.Duration, queue int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limiter, q.takes, q.queue = nil, takes, queue
	if perSecond > 0 {
		q.limiter = rate.NewLimiter(rate.Limit(perSecond), 1)
	}
}

// reserve puts a check into the queue and returns the time until it is done;
// false if the queue is full.
func (q *authQueue) reserve() (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limiter == nil {
		return q.takes, true
	}
	now := time.Now() // inside the mutex, so that the limiter never sees an earlier time
	// Checks that wait are tokens below zero, beside the one that is due next.
	if q.queue > 0 && q.limiter.TokensAt(now) < float64(1-q.queue) {
		return 0, false
	}
	return q.limiter.ReserveN(now, 1).DelayFrom(now) + q.takes, true
}

// result is the result of a password check.
type result int

const (
	accepted result = iota
	denied
	busy // the queue is full, or the server stops
)

// check waits for a check and returns its result. If the client closes the
// connection meanwhile, the check takes place all the same, as in real servers.
func (q *authQueue) check(ctx context.Context, account, secret string) result {
	wait, queued := q.reserve()
	if !queued {
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
		if secret == formerSecret(account) {
			q.former.Add(1)
		}
		q.denied.Add(1)
		return denied
	}
	q.accepted.Add(1)
	return accepted
}
