package limiter

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A deed is one thing done to a limiter: an attempt opened, or the one opened by deed number opener settled.
type deed struct {
	at     time.Time
	addr   netip.Addr
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
	denied  map[int]bool    // deeds that opened or settled what was denied
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

// step lets up to pause pass and then opens or settles an attempt. Some who act read their clocks a little early.
func (f *life) step(pause time.Duration, hosts int) {
	if f.rnd.IntN(3) > 0 {
		f.now = f.now.Add(f.upTo(pause))
	}
	late := f.now.Add(-f.upTo(50 * time.Millisecond))
	if f.rnd.IntN(5) < 3 {
		f.ask(late, host(f.rnd.IntN(hosts)))
	} else if len(f.open) > 0 {
		f.settle(late, f.open[f.rnd.IntN(len(f.open))], []Outcome{Denied, Denied, Accepted, Void}[f.rnd.IntN(4)])
	}
}

func (f *life) ask(t time.Time, addr netip.Addr) {
	k := new(Ticket)
	if *k = f.l.Ask(t, Attempt{Addr: addr}); k.Verdict().Action != Refuse {
		f.tickets[len(f.deeds)], f.open = k, append(f.open, len(f.deeds))
		f.deeds = append(f.deeds, deed{at: f.l.latest, addr: addr, opener: -1})
	}
}

func (f *life) settle(t time.Time, opener int, o Outcome) {
	f.tickets[opener].Settle(t, o)
	delete(f.tickets, opener)
	f.open = slices.DeleteFunc(f.open, func(i int) bool { return i == opener })
	if o == Denied {
		f.denied[opener], f.denied[len(f.deeds)] = true, true
	}
	f.deeds = append(f.deeds, deed{at: f.l.latest, addr: f.deeds[opener].addr, opener: opener, out: o})
}

// finish settles what is still open.
func (f *life) finish(o Outcome) {
	for len(f.open) > 0 {
		f.settle(f.now, f.open[0], o)
	}
}

// left returns the tokens left in every bucket of denials. Those not listed are full.
func (f *life) left() map[key]float64 {
	left := map[key]float64{}
	for k, e := range f.l.table.entries {
		r := f.l.policy.denials(k.kind).rate
		if e.denials.spent(f.now, r) > 0 {
			left[k] = e.denials.left(f.now, r)
		}
	}
	return left
}

// within reports whether no window of times holds more than a bucket of rate r gives out in it.
func within(r Rate, times []time.Time) bool {
	for i, first := range times {
		for j, last := range times[i:] {
			refilled := float64(r.limit()) * last.Sub(first).Seconds()
			if float64(j+1) > float64(r.Tokens)+refilled+2*dust {
				return false
			}
		}
	}
	return true
}

// Whatever is asked in parallel, and in whatever order it is settled: the denials of a source never exceed its rate.
func TestDenialsNeverOutrunTheBucket(t *testing.T) {
	most := 0
	for seed := range uint64(200) {
		p := policy()
		p.Network, p.Global = Rate{}, Rate{}
		f := newLife(t, seed, p)
		r := Rate{1 + f.rnd.IntN(20), time.Duration(1+f.rnd.IntN(600)) * time.Second}
		f.l.policy.Source = r
		for range 400 {
			f.step(r.Per/time.Duration(r.Tokens), 1)
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
			t.Errorf("seed %d: more denials than %v", seed, r)
		}
		most = max(most, len(settled)-r.Tokens)
	}
	if most < 50 {
		t.Errorf("at most %d denials beyond a burst: this tests little", most)
	}
}

// A life from which everything is taken that was not denied ends with the same tokens.
func TestOnlyDenialsLeaveATrace(t *testing.T) {
	for seed := range uint64(50) {
		p := policy()
		p.Network, p.Global = Rate{30, 5 * time.Minute}, Rate{}
		f := newLife(t, seed, p)
		for range 1000 {
			f.step(time.Second, 500)
		}
		f.finish(Void)
		for k, e := range f.l.table.entries {
			if e.denials.holds != 0 {
				t.Fatalf("seed %d: %v still holds %d", seed, k, e.denials.holds)
			}
		}

		again := newLife(t, seed, p)
		openers := map[int]int{} // there to here
		for i, d := range f.deeds {
			switch {
			case f.denied[i] && d.opener < 0:
				openers[i] = len(again.deeds)
				again.ask(d.at, d.addr)
			case f.denied[i]:
				again.settle(d.at, openers[d.opener], d.out)
			}
		}
		again.now = f.now
		want, got := again.left(), f.left()
		if len(want) < 10 || len(got) != len(want) {
			t.Errorf("seed %d: %d buckets with denials, want %d", seed, len(got), len(want))
		}
		for k := range want {
			if d := got[k] - want[k]; d < -dust || d > dust {
				t.Errorf("seed %d: %v has %v tokens left, want %v", seed, k, got[k], want[k])
			}
		}
	}
}

func TestAcceptedAndVoidNeverLowerTokens(t *testing.T) {
	f := newLife(t, 1, policy())
	for range 5000 {
		f.step(time.Second, 300)
		if len(f.open) == 0 {
			continue
		}
		f.now = f.l.latest
		before, global := f.left(), f.l.Stats(f.now).GlobalTokens
		f.settle(f.now, f.open[0], []Outcome{Accepted, Void}[f.rnd.IntN(2)])
		for k, n := range f.left() {
			if b, ok := before[k]; !ok || n < b {
				t.Fatalf("%v: %v tokens left, before %v", k, n, b)
			}
		}
		if n := f.l.Stats(f.now).GlobalTokens; n < global {
			t.Fatalf("%v global tokens left, before %v", n, global)
		}
	}
}

// The table never grows beyond its limit, never loses what is in use, and is empty of it in the end.
func TestTableIsBounded(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 10, 100} {
		p := policy()
		p.TableMax, p.Connect = limit, Rate{60, time.Hour}
		f := newLife(t, uint64(limit), p)
		var visits []*Visit
		for range 1000 {
			f.step(time.Second, 1000)
			if v, _ := f.l.Connect(f.now, anyone(f.rnd)); v != nil {
				visits = append(visits, v)
			}
			if i := f.rnd.IntN(20); i < len(visits) { // some twenty stay
				visits[i].LoggedIn(f.now)
				visits[i].Leave(f.now)
				visits = slices.Delete(visits, i, i+1)
			}
			checkTable(t, &f.l.table, limit)
			f.checkInUse(t, visits)
		}
		f.finish(Denied)
		for _, v := range visits {
			v.Leave(f.now)
		}
		f.checkAllIdle(t, f.now.Add(24*time.Hour))
	}
}

// anyone returns an address of either family, mapped or invalid now and then.
func anyone(rnd *rand.Rand) netip.Addr {
	switch rnd.IntN(8) {
	case 0:
		return netip.Addr{}
	case 1:
		return netip.AddrFrom16(host(rnd.IntN(1000)).As16())
	case 2, 3, 4:
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 5: byte(rnd.IntN(9)), 7: byte(rnd.IntN(99)), 15: 1})
	}
	return host(rnd.IntN(1000))
}

// checkInUse fails if an entry someone holds is not where it will be found.
func (f *life) checkInUse(t *testing.T, visits []*Visit) {
	t.Helper()
	var held []*entry
	for _, k := range f.tickets {
		held = append(held, k.held[:]...)
	}
	for _, v := range visits {
		held = append(held, v.entry)
	}
	tb := &f.l.table
	for _, e := range held {
		if e != nil && e != &tb.spare[0] && e != &tb.spare[1] && tb.entries[e.key] != e {
			t.Fatalf("%v was dropped while in use", e.key)
		}
	}
}

// checkAllIdle fails if at t an entry still holds anything.
func (f *life) checkAllIdle(t *testing.T, at time.Time) {
	t.Helper()
	tb := &f.l.table
	for _, e := range append(tb.ring, &tb.spare[0], &tb.spare[1]) {
		if e.prelogin != 0 || !e.idle(at, &f.l.policy) {
			t.Errorf("%v is not idle after a day: %+v", e.key, e)
		}
	}
}

// However many attempts wait and leave: those that go on are as many as the global rate allows.
func TestGlobalIsExact(t *testing.T) {
	for seed := range uint64(50) {
		p := policy()
		p.Global, p.Source, p.Network = Rate{20, 10 * time.Second}, Rate{}, Rate{}
		f := newLife(t, seed, p)
		goneOn, turns := 0, []time.Time{}
		for range 2000 {
			f.now = f.now.Add(f.upTo(400 * time.Millisecond))
			k := f.l.Ask(f.now, Attempt{Addr: host(f.rnd.IntN(1000))})
			switch v := k.Verdict(); {
			case v.Action == Refuse:
			case v.Wait > 0 && f.rnd.IntN(2) == 0:
				k.Settle(f.now.Add(f.upTo(v.Wait)), Void)
			default:
				goneOn++
				turns = append(turns, f.now.Add(v.Wait))
			}
			f.now = f.l.latest
		}
		end := turns[len(turns)-1]
		most := float64(p.Global.Tokens) + float64(p.Global.limit())*end.Sub(start).Seconds()
		if n := float64(goneOn); n > most+dust || n < most*0.9 {
			t.Errorf("seed %d: %v went on by %v, the rate allows %v", seed, n, end.Sub(start), most)
		}
	}
}
