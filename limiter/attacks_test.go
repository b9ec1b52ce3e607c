package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// roomyPolicy returns the default limits, with a table that does not fill.
func roomyPolicy() Policy {
	p := defaultPolicy()
	p.TableMax = 500_000
	return p
}

// guess runs one attempt without contention and reports whether its password reached a backend, and its verdict.
func (sr scriptRunner) guess(now, addr, user string) (reached bool, v Verdict) {
	k := sr.Ask(at(now), sr.attempt(addr, user))
	v = k.Verdict()
	o := Void
	if v.Action < Repeat && !v.Again {
		o, reached = Denied, true
	}
	k.Settle(at(now), o)
	return reached, v
}

// A source that has no look left is not checked for a sprayed password: ten refused attempts for each ten guesses make
// all of a spray reach the backend.
func TestSprayAfterLooksAreSpent(t *testing.T) {
	sr := runScript(t, roomyPolicy(), "")
	for i := range 100 { // the password is sprayed
		sr.guess("0s", fmt.Sprintf("10.%d.0.1", i), fmt.Sprintf("victim%d/summer", i))
	}
	for c := range 2 { // two accounts that are closed to strangers
		for i := range 10 {
			sr.guess("0s", fmt.Sprintf("11.%d.%d.1", c, i), fmt.Sprintf("closed%d/x%d", c, i))
		}
	}
	reached := 0
	for s := range 10 {
		addr := fmt.Sprintf("12.%d.0.1", s)
		for i := range 10 { // spends the looks of the source, and none of its denials
			sr.guess("1s", addr, fmt.Sprintf("closed%d/s%dy%d", i%2, s, i))
		}
		for i := range 10 {
			if ok, _ := sr.guess("1s", addr, fmt.Sprintf("sprayed%dx%d/summer", s, i)); ok {
				reached++
			}
		}
	}
	if reached > 10 {
		t.Errorf("%d of 100 guesses with a sprayed password reach the backend, want at most 10", reached)
	}
}

// A full table has no entry for an account that was not attacked before: all strangers may guess at it, without a limit
// per account.
func TestFullTableHasNoAccountRule(t *testing.T) {
	p := roomyPolicy()
	p.TableMax = 1000
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	for i := 0; sr.table.used.Load() < 1000 && i < 3000; i++ {
		sr.guess("0s", fmt.Sprintf("10.%d.%d.1", i/250, i%250), fmt.Sprintf("nobody%d/x", i))
	}
	reached := 0
	for i := range 500 {
		if ok, _ := sr.guess("1s", fmt.Sprintf("11.%d.%d.1", i/250, i%250), fmt.Sprintf("u/g%d", i)); ok {
			reached++
		}
	}
	if reached > 110 {
		t.Errorf("%d passwords of one account reach the backend within a second, want at most 10 denials and 100 looks", reached)
	}
}

// An owner who logs in every minute gives a neighbour at the same address all tokens of their pair back.
func TestOwnerRefillsThePair(t *testing.T) {
	sr := runScript(t, roomyPolicy(), "")
	sr.addKnownUser(t)
	evaluated := 0
	for m := range 60 {
		now := fmt.Sprintf("%dm", m)
		sr.run(t, now+"  ask o 198.51.100.1 u/x\n"+now+"  accepted o")
		for i := range 12 { // from the same address; the neighbour is not the owner
			k := sr.Ask(at(now), sr.attempt("198.51.100.1", fmt.Sprintf("u/g%dx%d", m, i)))
			if k.looked || k.Verdict().Action < Repeat {
				evaluated++
			}
			k.Settle(at(now), map[bool]Outcome{true: Denied}[k.Verdict().Action < Repeat])
		}
	}
	if want := 2 * (5 + 30); evaluated > want {
		t.Errorf("%d passwords are evaluated in an hour for one pair, want at most %d", evaluated, want)
	}
}

// A neighbour in the network of the owner closes the pair of the network with ten guesses; the owner, at another address
// of it, with the usual password, is refused, though they would pass from any other network.
func TestNeighbourShutsTheOwnerOut(t *testing.T) {
	sr := runScript(t, roomyPolicy(), "")
	sr.addKnownUser(t) // u/x from 198.51.100.1
	for i := range 10 {
		sr.guess("0s", "198.51.100.200", fmt.Sprintf("u/g%d", i))
	}
	sr.run(t, `
		1s  ask a 203.0.113.1 u/x    = pass none   # from anywhere else
		1s  void a
		1s  ask b 198.51.100.77 u/x  = pass none   # a new address of the usual network
	`)
}

// A neighbour who enters the queue and leaves, while the queue is long, makes the owner's account seem to have logged in
// often, for nothing, so that the owner is served after accounts that are really used all the time.
func TestNeighbourMakesTheOwnerWait(t *testing.T) {
	p := roomyPolicy()
	p.Global = Rate{20, time.Second}
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	sr.run(t, "-25h  ask d 203.0.113.9 u/x@d\n-25h  accepted d")
	for i := range 30 { // so many known users that they queue
		sr.run(t, fmt.Sprintf("-25h ask o 10.9.%d.1 other%d/x\n-25h accepted o\n0s ask o%d 10.9.%d.1 other%d/x\n0s enter o%d", i, i, i, i, i, i))
	}
	for i := range 400 {
		sr.run(t, fmt.Sprintf("0s ask n 198.51.100.200 u/g%d\n0s enter n\n0s void n", i))
	}
	for range 7 { // a stolen account that is used as often as its lane allows
		sr.run(t, "-25h ask s 10.8.0.1 stolen/x\n-25h accepted s\n0s ask s 10.8.0.1 stolen/x\n0s enter s")
	}
	sr.run(t, "1s ask v 192.0.2.1 u/x@d\n1s enter v\n1s ask s 10.8.0.1 stolen/x\n1s enter s")
	owner, stolen := sr.tickets["v"].Priority(), sr.tickets["s"].Priority()
	minutes := (owner.usage - stolen.usage) * usageTime.Minutes()
	if !owner.Known() || !stolen.Known() || minutes > 0 {
		t.Errorf("%v and %v: the owner, on a known device, is served as if %.0f minutes after a stolen account in constant use", owner, stolen, minutes)
	}
	if _, v := sr.guess("1s", "198.51.100.200", "u/g999"); v.Action != Pass {
		t.Error("the neighbour was charged; the test tests something else")
	}
}

// manyPeople is the growth of four accounts. Four stolen ones make eight addresses clean for ever, so these use up the
// quarter of the looks that is for sources without a penalty.
func TestFourStolenAccountsAreManyPeople(t *testing.T) {
	for _, stolen := range []int{0, 4} {
		sr := runScript(t, roomyPolicy(), "")
		sr.addKnownUser(t)
		for s := range 8 {
			for a := range stolen {
				sr.run(t, fmt.Sprintf("-1h ask a 10.%d.0.1 stolen%d/x\n-1h accepted a", s, a))
			}
		}
		shutOut := 0
		for h := range 180 { // an hour, of twenty seconds each
			for s := range 8 {
				sr.guess(fmt.Sprint(h*20, "s"), fmt.Sprintf("10.%d.0.1", s), fmt.Sprintf("u/g%dx%d", h, s))
			}
			now := fmt.Sprint(h*20+1, "s")
			k := sr.Ask(at(now), sr.attempt(fmt.Sprintf("172.16.%d.1", h), "u/x"))
			v, tm := k.Verdict(), at(now)
			for v.Again {
				tm = tm.Add(v.Wait)
				v = k.Again(tm)
			}
			if v.Action == Refuse {
				shutOut++
			}
			k.Settle(tm, Void)
		}
		t.Logf("%d stolen accounts, 8 addresses: the owner is refused at %d of 180 places, %d looks left", stolen, shutOut, 100-sr.looksSpent("u", "3600s"))
		if stolen > 0 && shutOut > 0 {
			t.Errorf("the owner is refused at %d of 180 new places", shutOut)
		}
	}
}

func (sr scriptRunner) looksSpent(account, now string) int {
	e, mu := sr.table.find(sr.hasher.account(account))
	if e == nil {
		return 0
	}
	defer mu.Unlock()
	r := sr.rules.Load()
	return e.looks.spent(sr.epoch.ticks(at(now)), &r.looks[kindAccount])
}

// Attempts from an exempt address never have a penalty, so one address behind the webmail can use up the looks and the
// denials that are for those without one.
func TestExemptUsesTheCleanShare(t *testing.T) {
	p := roomyPolicy()
	p.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	for i := range 120 {
		sr.guess("0s", "192.0.2.1", fmt.Sprintf("u/g%d", i))
	}
	sr.run(t, `1s  ask a 203.0.113.1 u/x  = pass none`)
}

// A credential whose denial is still charged takes no holds once it is no repeat any more, so any number of attempts
// with it go to the backend at once.
func TestChargedCredentialHasNoHolds(t *testing.T) {
	sr := runScript(t, roomyPolicy(), `
		0s  ask a 192.0.2.1 nobody/x  = pass none
		0s  denied a
	`)
	through := 0
	var open []*Ticket
	for range 30 {
		k := new(Ticket)
		*k = sr.Ask(at("61s"), sr.attempt("192.0.2.1", "nobody/x"))
		if v := k.Verdict(); v.Action < Repeat && !v.Again {
			through++
		}
		open = append(open, k)
	}
	for _, k := range open {
		k.Settle(at("62s"), Denied)
	}
	if through > 5 {
		t.Errorf("%d attempts of a stranger with one credential are under way at once, want at most 5", through)
	}
}

// An address of many accounts may open connections so fast that one before login is evicted within less than a second.
func TestGrowthOfConnectOutrunsThatOfOpen(t *testing.T) {
	p := roomyPolicy()
	sr := runScript(t, p, "")
	for i := range 256 {
		sr.run(t, fmt.Sprintf("-1h ask a 198.51.100.1 u%d/x\n-1h accepted a", i))
	}
	addr, places := netip.MustParseAddr("198.51.100.1"), 0
	for _, v := sr.Connect(at("0s"), addr); v.Action == Pass; _, v = sr.Connect(at("0s"), addr) {
		places++
	}
	other := runScript(t, p, "")
	for i := range 256 {
		other.run(t, fmt.Sprintf("-1h ask a 198.51.100.1 u%d/x\n-1h accepted a", i))
	}
	opened := 0
	for ms := range 30_000 { // two a millisecond, each closed at once, as evicted ones are
		now := at("0s").Add(time.Duration(ms) * time.Millisecond)
		for range 2 {
			if c, _ := other.Connect(now, addr); c != nil {
				c.Close(now)
				if ms >= 20_000 {
					opened++
				}
			}
		}
	}
	if after := float64(places) / (float64(opened) / 10); after < 2 {
		t.Errorf("%d connections a second turn %d places over in %.2f s, want 2 s or more", opened/10, places, after)
	}
}

// A source of four stolen accounts that guesses all day never has a penalty; if it is starved, it returns for ever, in
// the class that has half of the tokens of strangers.
func TestStolenAccountsAreNeverPenalized(t *testing.T) {
	sr := runScript(t, roomyPolicy(), "")
	for a := range 4 {
		sr.run(t, fmt.Sprintf("-1h ask a 10.0.0.1 stolen%d/x\n-1h accepted a", a))
	}
	for i := range 35 {
		sr.guess("0s", "10.0.0.1", fmt.Sprintf("victim%d/x", i))
	}
	sr.run(t, "1s ask b 10.0.0.1 victim99/x")
	if c := sr.tickets["b"].Priority(); c.class != classPenalized {
		t.Errorf("after 35 denials of 40 in the bucket: %v", c)
	}
	for a := range 4 {
		sr.run(t, fmt.Sprintf("-1h ask a 10.1.0.1 stolen%d/x\n-1h accepted a", a))
	}
	e, mu := sr.table.findOrAdd(sr.epoch.ticks(at("0s")), sr.hasher.block(kindSource, Source(netip.MustParseAddr("10.1.0.1"))), kindSource, 1000)
	for range 50 {
		e.penalize(sr.epoch.ticks(at("0s")), false)
	}
	mu.Unlock()
	sr.run(t, "1s ask b 10.1.0.1 victim99/x")
	if c := sr.tickets["b"].Priority(); c.class == classReturning {
		t.Errorf("after it was starved 50 times: %v", c)
	}
}

// The day of an hour wraps around with it, in October 2029: the limits of all shared addresses fall to those of one
// person until their users have logged in again.
func TestDayWrap(t *testing.T) {
	wrap := time.Unix(8*65536*3600, 0)
	l := newLimiter(t, roomyPolicy())
	for i := range 40 {
		k := l.Ask(wrap.Add(-2*time.Hour), Attempt{Addr: host(1), Account: fmt.Sprint("u", i)})
		k.Settle(wrap.Add(-2*time.Hour), Accepted)
	}
	if before, after := l.Growth(wrap.Add(-time.Hour), host(1)), l.Growth(wrap.Add(time.Hour), host(1)); after < before {
		t.Errorf("growth of %d falls to %d within two hours, at %v", before, after, wrap.UTC())
	}
}
