package limiter_test

import (
	"container/heap"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// What the simulations have in common.

// policy returns the default limits of the daemon.
func policy() limiter.Policy {
	return limiter.Policy{
		Connect: limiter.Rate{Tokens: 60, Per: 12 * time.Second}, Open: 200, OpenPrelogin: 30,
		Source:     limiter.Rate{Tokens: 10, Per: 10 * time.Minute},
		Network:    limiter.Rate{Tokens: 100, Per: 10 * time.Minute},
		Pair:       limiter.Rate{Tokens: 5, Per: 10 * time.Minute},
		Account:    limiter.Rate{Tokens: 10, Per: time.Hour},
		Global:     limiter.Rate{Tokens: 200, Per: time.Second},
		KnownShare: 60, RepeatTTL: time.Minute, KnownTTL: 720 * time.Hour,
		WaitMax: 10 * time.Second, TableMax: 500_000,
	}
}

// smallNormal is the rate of logins of a site of a tenth of the usual size. Its accounts are fewer, too, so that what
// happens to each is the same, in less time of the test.
const smallNormal = traffic.Normal / 10.

// smallPolicy returns the limits of the small site.
func smallPolicy() limiter.Policy {
	p := policy()
	p.Global.Tokens /= 10
	return p
}

func newLimiter(tb testing.TB) *limiter.Limiter {
	tb.Helper()
	return newLimiterOf(tb, policy())
}

func newLimiterOf(tb testing.TB, p limiter.Policy) *limiter.Limiter {
	tb.Helper()
	l, err := limiter.New(p, limiter.Key{1})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// firstStart is the time of the first login of all, and attackStart that at which a simulation starts: more than a day
// later, when the reserve applies.
var (
	firstStart  = time.Date(2022, 3, 28, 6, 0, 0, 0, time.UTC)
	attackStart = firstStart.Add(30 * time.Hour)
)

// acceptAll lets all logins be accepted by l once, from firstStart on.
func acceptAll(l *limiter.Limiter, logins []traffic.Login) {
	t := firstStart
	for _, r := range logins {
		t = t.Add(time.Second / traffic.Normal)
		k := l.Ask(t, limiterAttempt(l, r))
		k.Settle(t, limiter.Accepted)
	}
}

// limiterAttempt returns what the proxy knows of login. A client that does not answer a challenge has not sent a name.
func limiterAttempt(l *limiter.Limiter, login traffic.Login) limiter.Attempt {
	a := limiter.Attempt{Addr: login.Addr, Account: login.Account, Token: login.Token, Device: limiter.Device(login.Device)}
	if !login.Token && login.Account != "" {
		a.Credential = l.Credential(login.Account, []byte(login.Secret))
	}
	return a
}

// A timeline is virtual time, and what will happen.
type timeline struct {
	events eventQueue
	now    time.Time
}

// run advances the time to t.
func (l *timeline) run(t time.Time) {
	for len(l.events) > 0 && !l.events[0].at.After(t) {
		next := heap.Pop(&l.events).(event)
		l.now = next.at
		next.do()
	}
	l.now = t
}

// at schedules do at time t.
func (l *timeline) at(t time.Time, do func()) {
	heap.Push(&l.events, event{t, do})
}

// An event is a function to call at a time.
type event struct {
	at time.Time
	do func()
}

// An eventQueue is a heap of events, the earliest first.
type eventQueue []event

func (q eventQueue) Len() int           { return len(q) }
func (q eventQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q eventQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(e any)        { *q = append(*q, e.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}
