package limiter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// An action opens an attempt, or settles the one that action number opener opened.
type action struct {
	at     time.Time
	asked  Attempt
	opener int // -1 for an attempt opened
	out    Outcome
}

// A history is a random sequence of attempts and their outcomes.
type history struct {
	l       *Limiter
	rnd     *rand.Rand
	now     time.Time
	hidden  bool // no secret is shown
	actions []action
	tickets map[int]*Ticket // open ones, by the action that opened them
	open    []int           // the same actions, to choose from
	denied  map[int]bool    // actions that opened or settled an attempt that a backend denied
}

func newHistory(t *testing.T, seed uint64, p Policy) *history {
	return &history{
		l:       newLimiter(t, p),
		rnd:     rand.New(rand.NewPCG(seed, 2022)),
		now:     start,
		tickets: map[int]*Ticket{},
		denied:  map[int]bool{},
	}
}

// upTo returns a time from zero to just below d.
func (h *history) upTo(d time.Duration) time.Duration {
	return time.Duration(h.rnd.Int64N(int64(d)))
}

// step advances the time by up to pause and then opens or settles an attempt, with one of outs. Some actions have a
// time a little in the past.
func (h *history) step(pause time.Duration, hosts int, outs ...Outcome) {
	if h.rnd.IntN(3) > 0 {
		h.now = h.now.Add(h.upTo(pause))
	}
	late := h.now.Add(-h.upTo(50 * time.Millisecond))
	if h.rnd.IntN(5) < 3 {
		h.ask(late, h.attempt(hosts))
	} else if len(h.open) > 0 {
		h.settle(late, h.open[h.rnd.IntN(len(h.open))], outs[h.rnd.IntN(len(outs))])
	}
}

// attempt returns one of few accounts with one of few secrets, or none, from one of hosts.
func (h *history) attempt(hosts int) Attempt {
	a := Attempt{Addr: host(h.rnd.IntN(hosts)), Account: fmt.Sprint("u", h.rnd.IntN(1+hosts/3))}
	if secret := h.rnd.IntN(6); secret > 0 && !h.hidden {
		a.Credential = h.l.Credential(a.Account, []byte{byte(secret)})
	}
	return a
}

func (h *history) ask(t time.Time, a Attempt) {
	k := new(Ticket)
	if *k = h.l.Ask(t, a); k.Verdict().Action < Repeat && !k.Verdict().Again {
		h.tickets[len(h.actions)], h.open = k, append(h.open, len(h.actions))
		h.actions = append(h.actions, action{at: t, asked: a, opener: -1})
	}
}

func (h *history) settle(t time.Time, opener int, o Outcome) {
	h.tickets[opener].Settle(t, o)
	delete(h.tickets, opener)
	h.open = slices.DeleteFunc(h.open, func(i int) bool { return i == opener })
	if o == Denied {
		h.denied[opener], h.denied[len(h.actions)] = true, true
	}
	h.actions = append(h.actions, action{at: t, asked: h.actions[opener].asked, opener: opener, out: o})
}

// finish settles all open attempts.
func (h *history) finish(o Outcome) {
	for len(h.open) > 0 {
		h.settle(h.now, h.open[0], o)
	}
}

// live returns every entry that is not idle.
func (h *history) live() map[key]entry {
	all := map[key]entry{}
	for i := range h.l.table.shards {
		for _, e := range h.l.table.shards[i].entries {
			if e.kind != kindNone && !e.idle(h.l.epoch.ticks(h.now)) {
				all[e.key] = e
			}
		}
	}
	return all
}

// within reports whether every window of times has at most as many as a bucket of rate r allows in it.
func within(r Rate, times []time.Time) bool {
	slices.SortFunc(times, time.Time.Compare)
	for i, first := range times {
		for j, last := range times[i:] {
			if float64(j+1) > float64(r.Tokens)+float64(r.Tokens)*last.Sub(first).Seconds()/r.Per.Seconds()+1e-6 {
				return false
			}
		}
	}
	return true
}

// Parallel attempts, settled in any sequence: the denials of a source, a pair and an account never exceed their rate,
// by the times at which they were asked and at which they were settled.
func TestDenialsNeverExceedTheRate(t *testing.T) {
	for name, set := range map[string]func(*Policy, Rate){
		"source":  func(p *Policy, r Rate) { p.Source = r },
		"pair":    func(p *Policy, r Rate) { p.Pair = r },
		"account": func(p *Policy, r Rate) { p.Account = r },
	} {
		most := 0
		for seed := range uint64(30) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			r := Rate{1 + rnd.IntN(20), time.Duration(1+rnd.IntN(600)) * time.Second}
			p := policy()
			p.Source, p.Network, p.Global = Rate{}, Rate{}, Rate{}
			set(&p, r)
			h := newHistory(t, seed, p)
			outs := []Outcome{Denied, Denied, Accepted, Void}
			if name == "pair" { // which an accepted login clears
				outs = []Outcome{Denied, Denied, Void}
			}
			for range 500 {
				h.step(r.Per/time.Duration(r.Tokens), 1, outs...)
			}
			h.finish(Denied)
			var opened, settled []time.Time
			for i, d := range h.actions {
				if h.denied[i] && d.opener < 0 {
					opened = append(opened, d.at)
				} else if h.denied[i] {
					settled = append(settled, d.at)
				}
			}
			if !within(r, opened) || !within(r, settled) {
				t.Errorf("%s, seed %d: more denials than %v", name, seed, r)
			}
			most = max(most, len(settled)-r.Tokens)
		}
		if most < 50 {
			t.Errorf("%s: at most %d denials beyond a burst, want 50: the test does not test enough", name, most)
		}
	}
}

// A history without the attempts that were not denied ends with the same table, where no secret is shown. Where one is,
// looks are charged.
func TestOnlyDenialsChangeTheTable(t *testing.T) {
	for seed := range uint64(20) {
		p := defaultPolicy()
		p.Network, p.Global, p.TableMax = Rate{30, 5 * time.Minute}, Rate{}, 100_000
		h := newHistory(t, seed, p)
		h.hidden = true
		for range 1000 {
			h.step(time.Second, 300, Denied, Void)
		}
		h.finish(Void)

		again := newHistory(t, seed, p)
		again.ask(h.actions[0].at, h.actions[0].asked) // so that both have the same epoch
		again.finish(Void)
		openers := map[int]int{} // from index in h to index in again
		for i, d := range h.actions {
			switch {
			case h.denied[i] && d.opener < 0:
				openers[i] = len(again.actions)
				again.ask(d.at, d.asked)
			case h.denied[i]:
				again.settle(d.at, openers[d.opener], d.out)
			}
		}
		again.now = h.now
		want, got := again.live(), h.live()
		if len(want) < 100 || len(got) != len(want) {
			t.Errorf("seed %d: %d live entries, want %d", seed, len(got), len(want))
		}
		for k := range want {
			if got[k] != want[k] || got[k].holds != 0 {
				t.Fatalf("seed %d: %+v, want %+v", seed, got[k], want[k])
			}
		}
	}
}

// Accepted and void attempts spend nothing, and return what they held.
func TestAcceptedAndVoidSpendNothing(t *testing.T) {
	h := newHistory(t, 1, defaultPolicy())
	for range 5000 {
		h.step(time.Second, 300, Denied)
		if len(h.open) == 0 {
			continue
		}
		before := h.live()
		h.settle(h.now, h.open[0], []Outcome{Accepted, Void}[h.rnd.IntN(2)])
		for k, e := range h.live() {
			if b, ok := before[k]; !ok || e.denials > b.denials || e.holds > b.holds {
				t.Fatalf("%+v, before %+v", e, b)
			}
		}
	}
}

// Once all attempts are settled nothing is held, and a day later all entries are idle.
func TestHoldsAreAlwaysReturned(t *testing.T) {
	for _, limit := range []int{1, 10, 100, 10_000} {
		p := defaultPolicy()
		p.TableMax = limit
		h := newHistory(t, uint64(limit), p)
		for range 3000 {
			h.step(time.Second, 1000, Denied, Accepted, Void)
			checkTable(t, &h.l.table, 2*limit)
		}
		h.finish(Denied)
		for k, e := range h.live() {
			if e.holds != 0 {
				t.Errorf("TableMax %d: %v still holds %d", limit, k, e.holds)
			}
		}
		h.checkAllIdle(t, h.now.Add(24*time.Hour))
	}
}

// checkAllIdle fails if an entry is not idle at t.
func (h *history) checkAllIdle(t *testing.T, at time.Time) {
	t.Helper()
	h.now = at
	for _, e := range h.live() {
		t.Errorf("not idle after a day: %+v", e)
	}
	for i := range h.l.table.shared {
		if e := &h.l.table.shared[i].entry; e.prelogin != 0 || !e.idle(h.l.epoch.ticks(at)) {
			t.Errorf("the shared entry is not idle after a day: %+v", e)
		}
	}
}
