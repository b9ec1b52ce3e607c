package limiter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// A twin runs the same operations with one limiter alone and with the generations of a chain, and compares the verdicts.
type twin struct {
	t       *testing.T
	rnd     *rand.Rand
	now     time.Time
	policy  Policy
	alone   *Limiter
	chain   []*generation // the newest last
	tickets []twinTicket
	conns   []twinConnection
	denied  int
}

type twinTicket struct {
	alone, chained *Ticket
	entered        bool
}

type twinConnection struct {
	alone, chained *Connection
}

func newTwin(t *testing.T, seed uint64, p Policy) *twin {
	alone, first := newLimiter(t, p), newLimiter(t, p)
	alone.SetLists(twinLists())
	first.SetLists(twinLists())
	return &twin{t: t, rnd: rand.New(rand.NewPCG(seed, 14)), now: start, policy: p, alone: alone, chain: []*generation{newGeneration(first, 1)}}
}

// twinLists are the lists of every process: they are no part of a hand-over.
func twinLists() Lists {
	return Lists{Blocked: networks("10.0.0.81/32"), Allowed: networks("10.0.1.0/25")}
}

// handOver starts another generation.
func (w *twin) handOver() {
	next := w.chain[len(w.chain)-1].handOver(w.t, w.now, w.policy)
	next.SetLists(twinLists())
	w.chain = append(w.chain, next)
}

// step does one random operation. What begins, begins at one of the latest both generations, or at the last if drains is
// set. All events are delivered at once.
func (w *twin) step(drains bool) {
	if w.rnd.IntN(3) == 0 {
		w.now = w.now.Add(time.Duration(w.rnd.Int64N(int64(3 * time.Second))))
	}
	w.dropIdle()
	g := w.chain[len(w.chain)-1]
	if !drains && len(w.chain) > 1 {
		g = w.chain[len(w.chain)-1-w.rnd.IntN(2)]
	}
	switch w.rnd.IntN(9) {
	case 0, 1:
		w.connect(g)
	case 2:
		w.endConnection()
		w.operate(g)
	case 3, 4, 5:
		w.ask(g)
	default:
		w.settle()
	}
	deliver(w.t, w.now, w.chain...)
}

// dropIdle drops all idle entries: they hold no information, but a usual attempt takes a hold only if its pair has one.
func (w *twin) dropIdle() {
	all := []*Limiter{w.alone}
	for _, g := range w.chain {
		all = append(all, g.Limiter)
	}
	for _, l := range all {
		for i := range l.table.shards {
			s := &l.table.shards[i]
			for j := 0; j < len(s.entries); {
				if e := &s.entries[j]; e.kind != kindNone && e.idle(l.epoch.ticks(w.now)) {
					s.drop(j)
					l.table.used.Add(-1)
				} else {
					j++
				}
			}
		}
	}
}

// operate sometimes releases what is denied, or forgets an account.
func (w *twin) operate(g *generation) {
	a, _ := w.attempt()
	switch w.rnd.IntN(20) {
	case 0:
		a.Account = ""
	case 1:
		a.Addr = netip.Addr{}
	case 2:
	case 3:
		if known, want := g.ForgetAccount(w.now, a.Account), w.alone.ForgetAccount(w.now, a.Account); known != want {
			w.t.Errorf("forgetting %s: got %v, want %v", a.Account, known, want)
		}
		return
	default:
		return
	}
	if n, want := g.Release(w.now, a), w.alone.Release(w.now, a); n != want {
		w.t.Errorf("releasing %+v: got %d, want %d", a, n, want)
	}
}

// attempt returns one of few accounts, from one of few sources; each account has one right secret.
func (w *twin) attempt() (a Attempt, o Outcome) {
	account := w.rnd.IntN(12)
	a = Attempt{Addr: host(w.rnd.IntN(8) * 40), Account: fmt.Sprint("u", account), Token: w.rnd.IntN(20) == 0}
	secret := w.rnd.IntN(8)
	if w.rnd.IntN(6) > 0 {
		a.Credential = w.alone.Credential(a.Account, []byte{byte(secret)})
	}
	if w.rnd.IntN(4) == 0 {
		a.Device, a.Resumed = Device(1+account%3), w.rnd.IntN(2) == 0
	}
	if o = Denied; secret == account%8 {
		o = Accepted
	}
	return a, o
}

func (w *twin) ask(g *generation) {
	a, _ := w.attempt()
	k := twinTicket{new(Ticket), new(Ticket), false}
	*k.alone = w.alone.Ask(w.now, a)
	*k.chained = g.Ask(w.now, a)
	w.compare(k.chained.Verdict(), k.alone.Verdict())
	w.tickets = append(w.tickets, k)
}

// settle ends one of the attempts under way, or asks again about it.
func (w *twin) settle() {
	if len(w.tickets) == 0 {
		return
	}
	i := w.rnd.IntN(len(w.tickets))
	k := &w.tickets[i]
	if k.alone.Verdict().Again {
		w.compare(k.chained.Again(w.now), k.alone.Again(w.now))
		if k.alone.Verdict().Again {
			return
		}
	}
	if !k.entered {
		k.entered = true
		w.compare(k.chained.Enter(w.now, nil), k.alone.Enter(w.now, nil))
		return
	}
	w.end(i, w.outcome(k.alone))
}

// outcome returns how the attempt of k ends: mostly as its secret says.
func (w *twin) outcome(k *Ticket) Outcome {
	right := w.alone.Credential(k.attempt.Account, []byte{k.attempt.Account[1] - '0'})
	switch {
	case w.rnd.IntN(6) == 0:
		return Void
	case k.attempt.Credential == right:
		return Accepted
	}
	return Denied
}

func (w *twin) end(i int, o Outcome) {
	k := w.tickets[i]
	if o == Denied && k.alone.Verdict().Action < Repeat {
		w.denied++
	}
	k.alone.Settle(w.now, o)
	k.chained.Settle(w.now, o)
	w.tickets = append(w.tickets[:i], w.tickets[i+1:]...)
}

func (w *twin) connect(g *generation) {
	addr := host(w.rnd.IntN(8) * 40)
	alone, v := w.alone.Connect(w.now, addr)
	chained, got := g.Connect(w.now, addr)
	w.compare(got, v)
	if alone != nil && chained != nil {
		w.conns = append(w.conns, twinConnection{alone, chained})
	}
}

func (w *twin) endConnection() {
	if len(w.conns) == 0 {
		return
	}
	i := w.rnd.IntN(len(w.conns))
	c := w.conns[i]
	if w.rnd.IntN(2) == 0 {
		c.alone.LoggedIn(w.now)
		c.chained.LoggedIn(w.now)
		return
	}
	c.alone.Close(w.now)
	c.chained.Close(w.now)
	w.conns = append(w.conns[:i], w.conns[i+1:]...)
}

// compare fails unless both verdicts are the same, but for the jitter of a wait.
func (w *twin) compare(got, want Verdict) {
	w.t.Helper()
	difference := (got.Wait - want.Wait).Abs()
	if got.Wait, want.Wait = 0, 0; got != want || difference > w.policy.WaitMax/5 {
		w.t.Fatalf("at %v: got %+v, want %+v, waits differ by %v", w.now.Sub(start), got, want, difference)
	}
}

// finish ends everything.
func (w *twin) finish() {
	for len(w.tickets) > 0 {
		w.end(0, Void)
	}
	for _, c := range w.conns {
		c.alone.Close(w.now)
		c.chained.Close(w.now)
	}
	w.conns = nil
	deliver(w.t, w.now, w.chain...)
}

// twinPolicy returns a policy under which all rules decide now and then, but the global one.
func twinPolicy() Policy {
	p := defaultPolicy()
	p.Connect, p.Open, p.OpenPrelogin = Rate{20, time.Minute}, 12, 6
	p.Source, p.Network, p.Pair, p.Account = Rate{12, 2 * time.Minute}, Rate{30, 5 * time.Minute}, Rate{4, 2 * time.Minute}, Rate{8, 4 * time.Minute}
	p.Global, p.TableMax = Rate{1000, 1000 * time.Second}, 100_000
	return p
}
