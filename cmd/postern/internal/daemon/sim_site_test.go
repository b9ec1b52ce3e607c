//go:build !race

package daemon

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/watch"
	"postern/proxy"
)

// A simulatedSite is a mail service with its users behind a limiter and a watch, which are connected as in a gateway. It
// simulates hours in a second. What is simulated is who comes with which password from where; the limiter decides who is
// known, and the watch what happens.
type simulatedSite struct {
	limiter *limiter.Limiter
	watch   *watch.Watch
	outcomes
	rand   *rand.Rand
	now    time.Time
	queue  simEvents
	users  []simUser
	fault  func(user int) bool // whether the password database denies a right password of this user
	states []watch.State
	seed   byte
}

// A simUser has one password and some programs.
type simUser struct {
	name     string
	password int // counts how often it was changed
	network  uint32
	clients  []*simClient
}

// A simClient is one program of a user, which logs in at intervals.
type simClient struct {
	user     int
	password int
	every    time.Duration
	mobile   bool       // it changes its address every hour
	addr     netip.Addr // at present
}

// A simEvent happens at a time.
type simEvent struct {
	at   time.Time
	what func()
}

// simEvents implements heap.Interface, the earliest first.
type simEvents []simEvent

func (q simEvents) Len() int           { return len(q) }
func (q simEvents) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q simEvents) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *simEvents) Push(x any)        { *q = append(*q, x.(simEvent)) }
func (q *simEvents) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// simStart is a Tuesday, 10:00.
var simStart = time.Date(2026, 10, 6, 10, 0, 0, 0, time.UTC)

// newSimulatedSite returns a site with this many users, of whose programs a share is mobile. Each user has two, which
// log in every five minutes on the average.
func newSimulatedSite(t *testing.T, seed uint64, users int, mobile float64) *simulatedSite {
	t.Helper()
	s := &simulatedSite{
		seed: byte(seed), rand: rand.New(rand.NewPCG(seed, 13)), now: simStart, fault: func(int) bool { return false },
	}
	s.start(t)
	for i := range users {
		s.users = append(s.users, simUser{name: fmt.Sprintf("user%d", i), network: s.rand.Uint32N(1 << 20)})
		for range 2 {
			s.addClient(&simClient{user: i, mobile: s.rand.Float64() < mobile})
		}
	}
	s.every(time.Second, func() { s.guesses(float64(users)/7500*0.02, 1<<18, 0) }) // usual bots
	return s
}

// start makes a limiter and a watch that have learned nothing.
func (s *simulatedSite) start(t *testing.T) {
	t.Helper()
	l, err := limiter.New(limiter.Policy{
		Source: limiter.Rate{Tokens: 10, Per: 10 * time.Minute}, Network: limiter.Rate{Tokens: 100, Per: 10 * time.Minute},
		Pair: limiter.Rate{Tokens: 5, Per: 10 * time.Minute}, Account: limiter.Rate{Tokens: 10, Per: time.Hour},
		Global: limiter.Rate{Tokens: 1000, Per: time.Second}, KnownShare: 60,
		RepeatTTL: time.Minute, KnownTTL: 720 * time.Hour, WaitMax: 10 * time.Second, TableMax: 500_000,
	}, limiter.Key{s.seed})
	if err != nil {
		t.Fatal(err)
	}
	s.limiter, s.watch = l, watch.New(watch.Config{Location: time.UTC, Key: [16]byte{s.seed}})
}

// restart replaces the limiter and the watch by new ones, which get the snapshots of the former.
func (s *simulatedSite) restart(t *testing.T) {
	t.Helper()
	known, learned := s.limiter.Snapshot(s.now), s.watch.Snapshot(s.now)
	s.start(t)
	if err := errors.Join(s.limiter.Restore(s.now, known), s.watch.Restore(s.now, learned)); err != nil {
		t.Fatal(err)
	}
}

// addClient adds a program and lets it log in for the first time within some minutes.
func (s *simulatedSite) addClient(c *simClient) {
	s.users[c.user].clients = append(s.users[c.user].clients, c)
	c.every = time.Duration(200+s.rand.IntN(200)) * time.Second
	c.addr = s.address(s.users[c.user].network, c.user%200)
	if c.mobile {
		s.moves(c)
	}
	s.after(time.Duration(s.rand.Int64N(int64(c.every))), func() { s.polls(c) })
}

// address returns an address in a network of users.
func (s *simulatedSite) address(network uint32, host int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0x20000000+network<<8+uint32(host))
	return netip.AddrFrom4(a)
}

// moves gives a mobile program another address each hour, in one of 4,096 networks of carriers.
func (s *simulatedSite) moves(c *simClient) {
	c.addr = s.address(1<<20+s.rand.Uint32N(4096), s.rand.IntN(256))
	s.after(time.Duration(30+s.rand.IntN(60))*time.Minute, func() { s.moves(c) })
}

// secretOf returns the text of a password of a user. No two users have the same: it would count as one that is sprayed.
func secretOf(user, password int) string { return fmt.Sprint("right", user, " ", password) }

// polls lets a program log in, now and at intervals. Twice as often while it is denied.
func (s *simulatedSite) polls(c *simClient) {
	s.logsIn(c.addr, c.user, secretOf(c.user, c.password), c.password == s.users[c.user].password, func(o limiter.Outcome) {
		every := c.every
		if o != limiter.Accepted {
			every /= 2
		}
		s.after(every, func() { s.polls(c) })
	})
}

// changePassword changes the password of a user, who enters it in their first program ten minutes later and in the
// other one never: it retries with the old one.
func (s *simulatedSite) changePassword(user int) {
	u := &s.users[user]
	u.password++
	s.after(10*time.Minute, func() { u.clients[0].password = u.password })
}

// after lets something happen once d has passed.
func (s *simulatedSite) after(d time.Duration, what func()) {
	heap.Push(&s.queue, simEvent{s.now.Add(d), what})
}

// every lets something happen at intervals from now on.
func (s *simulatedSite) every(d time.Duration, what func()) {
	s.after(0, func() {
		what()
		s.after(d, func() { s.every(d, what) })
	})
}

// run simulates until d from the start has passed and returns the states of that time.
func (s *simulatedSite) run(d time.Duration) []watch.State {
	end, from := simStart.Add(d), len(s.states)
	tick := s.now.Truncate(10 * time.Second).Add(10 * time.Second)
	for s.queue.Len() > 0 && s.queue[0].at.Before(end) {
		e := heap.Pop(&s.queue).(simEvent)
		for !e.at.Before(tick) {
			s.states = append(s.states, s.watch.Tick(tick).State)
			tick = tick.Add(10 * time.Second)
		}
		s.now = e.at
		e.what()
	}
	s.now = end
	return s.states[from:]
}

// more simulates for d and returns the states of that time.
func (s *simulatedSite) more(d time.Duration) []watch.State { return s.run(s.now.Sub(simStart) + d) }

// logsIn lets a client log in with a password, wait as the limiter says, and get its answer from the backend.
func (s *simulatedSite) logsIn(addr netip.Addr, user int, secret string, right bool, then func(limiter.Outcome)) {
	a := limiter.Attempt{Addr: addr, Account: s.users[user].name}
	a.Credential = s.limiter.Credential(a.Account, []byte(secret))
	asked := s.now
	k := new(limiter.Ticket)
	*k = s.limiter.Ask(s.now, a)
	var follow func(limiter.Verdict)
	finish := func(o limiter.Outcome) {
		s.settled(k, a, o, s.now.Sub(asked))
		then(o)
	}
	follow = func(v limiter.Verdict) {
		switch {
		case v.Action == limiter.Refuse:
			finish(limiter.Void)
		case v.Again:
			s.after(v.Wait, func() { follow(k.Again(s.now)) })
		case v.Action == limiter.Repeat:
			s.after(v.Wait, func() { finish(limiter.Denied) })
		default:
			s.after(v.Wait, func() {
				switch v := k.Enter(s.now, nil); {
				case v.Action == limiter.Refuse || v.Action == limiter.Wait: // the site has capacity for all, else it is full
					finish(limiter.Void)
				case right && !s.fault(user):
					finish(limiter.Accepted)
				default:
					finish(limiter.Denied)
				}
			})
		}
	}
	follow(k.Verdict())
}

// settled settles an attempt and reports it, as a gateway does.
func (s *simulatedSite) settled(k *limiter.Ticket, a limiter.Attempt, o limiter.Outcome, waited time.Duration) {
	report := proxy.Attempt{
		Protocol: "imap", Client: netip.AddrPortFrom(a.Addr, 1), Account: a.Account, Outcome: o, Waited: waited,
		Verdict: k.Verdict(), Traits: k.Traits(), Greeting: 100 * time.Millisecond,
	}
	if report.Verdict.Action < limiter.Repeat {
		report.Backend = "b"
	}
	k.Settle(s.now, o)
	s.watch.Attempt(s.now, s.forDetector(report))
	if o == limiter.Accepted {
		s.watch.Opened(s.now)
		s.after(time.Minute, func() { s.watch.Closed(s.now) })
	}
}

// guesses lets strangers guess for a second, at this rate, each from one of so many networks from first on.
func (s *simulatedSite) guesses(rate float64, networks, first uint32) {
	for range s.poisson(rate) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x80000000+(first+s.rand.Uint32N(networks))<<8+s.rand.Uint32N(256))
		s.logsIn(netip.AddrFrom4(a), s.rand.IntN(len(s.users)), fmt.Sprint("guess", s.rand.Uint64()), false, func(limiter.Outcome) {})
	}
}

// poisson returns a random number with this mean.
func (s *simulatedSite) poisson(mean float64) (n int) {
	if mean > 30 {
		return max(0, int(mean+math.Sqrt(mean)*s.rand.NormFloat64()+0.5))
	}
	for limit, product := math.Exp(-mean), s.rand.Float64(); product > limit; product *= s.rand.Float64() {
		n++
	}
	return n
}
