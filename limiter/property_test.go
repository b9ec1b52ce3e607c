package limiter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A deed is one thing done to a limiter: an attempt opened, or the one opened by deed number opener settled.
type deed struct {
	at     time.Time
	asked  Attempt
	opener int // -1 for an attempt opened
	out    Outcome
}

// A life is a random history of attempts, and what became of them.
type life struct {
	l       *Limiter
	rnd     *rand.Rand
	now     time.Time
	deeds   []deed
	tickets map[int]*Ticket // open ones, by the deed that opened them
	open    []int           // the same deeds, to choose from
	denied  map[int]bool    // deeds that opened or settled what was denied by a backend
}

func newLife(t *testing.T, seed uint64, p Policy) *life {
	return &life{
		l:       newLimiter(t, p),
		rnd:     rand.New(rand.NewPCG(seed, 2022)),
		now:     start,
		tickets: map[int]*Ticket{},
		denied:  map[int]bool{},
	}
}

// upTo returns a time from zero to just below d.
func (f *life) upTo(d time.Duration) time.Duration {
	return time.Duration(f.rnd.Int64N(int64(d)))
}

// step lets up to pause pass and then opens or settles an attempt, to be settled as one of outs. Some who act read
// their clocks a little early.
func (f *life) step(pause time.Duration, hosts int, outs ...Outcome) {
	if f.rnd.IntN(3) > 0 {
		f.now = f.now.Add(f.upTo(pause))
	}
	late := f.now.Add(-f.upTo(50 * time.Millisecond))
	if f.rnd.IntN(5) < 3 {
		f.ask(late, f.attempt(hosts))
	} else if len(f.open) > 0 {
		f.settle(late, f.open[f.rnd.IntN(len(f.open))], outs[f.rnd.IntN(len(outs))])
	}
}

// attempt returns one of few accounts with one of few secrets, or none, from one of hosts.
func (f *life) attempt(hosts int) Attempt {
	a := Attempt{Addr: host(f.rnd.IntN(hosts)), Account: fmt.Sprint("u", f.rnd.IntN(1+hosts/3))}
	if secret := f.rnd.IntN(6); secret > 0 {
		a.Credential = f.l.Credential(a.Account, []byte{byte(secret)})
	}
	return a
}

func (f *life) ask(t time.Time, a Attempt) {
	k := new(Ticket)
	if *k = f.l.Ask(t, a); k.Verdict().Action < Repeat {
		f.tickets[len(f.deeds)], f.open = k, append(f.open, len(f.deeds))
		f.deeds = append(f.deeds, deed{at: t, asked: a, opener: -1})
	}
}

func (f *life) settle(t time.Time, opener int, o Outcome) {
	f.tickets[opener].Settle(t, o)
	delete(f.tickets, opener)
	f.open = slices.DeleteFunc(f.open, func(i int) bool { return i == opener })
	if o == Denied {
		f.denied[opener], f.denied[len(f.deeds)] = true, true
	}
	f.deeds = append(f.deeds, deed{at: t, asked: f.deeds[opener].asked, opener: opener, out: o})
}

// finish settles what is still open.
func (f *life) finish(o Outcome) {
	for len(f.open) > 0 {
		f.settle(f.now, f.open[0], o)
	}
}

// live returns every entry that is not like one never seen.
func (f *life) live() map[key]entry {
	all := map[key]entry{}
	for i := range f.l.table.shards {
		for _, e := range f.l.table.shards[i].slots {
			if e.kind != nothing && !e.idle(f.l.origin.ticks(f.now)) {
				all[e.key] = e
			}
		}
	}
	return all
}

// within reports whether no window of times holds more than a bucket of rate r gives out in it.
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

// Whatever is asked in parallel, and in whatever order it is settled: the denials of a source, a pair and an account
// never exceed their rate, by the time they were admitted and by the time they were settled.
func TestDenialsNeverOutrunTheBucket(t *testing.T) {
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
			f := newLife(t, seed, p)
			outs := []Outcome{Denied, Denied, Accepted, Void}
			if name == "pair" { // which an accepted login clears
				outs = []Outcome{Denied, Denied, Void}
			}
			for range 500 {
				f.step(r.Per/time.Duration(r.Tokens), 1, outs...)
			}
			f.finish(Denied)
			var opened, settled []time.Time
			for i, d := range f.deeds {
				if f.denied[i] && d.opener < 0 {
					opened = append(opened, d.at)
				} else if f.denied[i] {
					settled = append(settled, d.at)
				}
			}
			if !within(r, opened) || !within(r, settled) {
				t.Errorf("%s, seed %d: more denials than %v", name, seed, r)
			}
			most = max(most, len(settled)-r.Tokens)
		}
		if most < 50 {
			t.Errorf("%s: at most %d denials beyond a burst: this tests little", name, most)
		}
	}
}

// A life from which everything is taken that was not denied ends with the same table.
func TestOnlyDenialsLeaveATrace(t *testing.T) {
	for seed := range uint64(20) {
		p := site()
		p.Network, p.Global, p.TableMax = Rate{30, 5 * time.Minute}, Rate{}, 100_000
		f := newLife(t, seed, p)
		for range 1000 {
			f.step(time.Second, 300, Denied, Void)
		}
		f.finish(Void)

		again := newLife(t, seed, p)
		again.ask(f.deeds[0].at, f.deeds[0].asked) // from when on both count the time
		again.finish(Void)
		openers := map[int]int{} // there to here
		for i, d := range f.deeds {
			switch {
			case f.denied[i] && d.opener < 0:
				openers[i] = len(again.deeds)
				again.ask(d.at, d.asked)
			case f.denied[i]:
				again.settle(d.at, openers[d.opener], d.out)
			}
		}
		again.now = f.now
		want, got := again.live(), f.live()
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

// Accepted and void attempts never lower the tokens of anybody, and give back what they held.
func TestAcceptedAndVoidNeverLowerTokens(t *testing.T) {
	f := newLife(t, 1, site())
	for range 5000 {
		f.step(time.Second, 300, Denied)
		if len(f.open) == 0 {
			continue
		}
		before := f.live()
		f.settle(f.now, f.open[0], []Outcome{Accepted, Void}[f.rnd.IntN(2)])
		for k, e := range f.live() {
			if b, ok := before[k]; !ok || e.denials > b.denials || e.holds > b.holds {
				t.Fatalf("%+v, before %+v", e, b)
			}
		}
	}
}

// In the end nothing is held, whatever came between, and a day later nothing is remembered.
func TestHoldsNeverLeak(t *testing.T) {
	for _, limit := range []int{1, 10, 100, 10_000} {
		p := site()
		p.TableMax = limit
		f := newLife(t, uint64(limit), p)
		for range 3000 {
			f.step(time.Second, 1000, Denied, Accepted, Void)
			checkTable(t, &f.l.table, limit)
		}
		f.finish(Denied)
		for k, e := range f.live() {
			if e.holds != 0 {
				t.Errorf("TableMax %d: %v still holds %d", limit, k, e.holds)
			}
		}
		f.checkAllIdle(t, f.now.Add(24*time.Hour))
	}
}

// checkAllIdle fails if at t an entry still holds anything.
func (f *life) checkAllIdle(t *testing.T, at time.Time) {
	t.Helper()
	f.now = at
	for _, e := range f.live() {
		t.Errorf("not idle after a day: %+v", e)
	}
	for i := range f.l.table.spare {
		if e := &f.l.table.spare[i].entry; e.prelogin != 0 || !e.idle(f.l.origin.ticks(at)) {
			t.Errorf("the shared one is not idle after a day: %+v", e)
		}
	}
}
