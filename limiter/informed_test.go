package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// closeAccount lets ten strangers, each in a network of its own, guess at u, so that it is closed to strangers.
func (sr scriptRunner) closeAccount(t *testing.T) {
	t.Helper()
	for i := range 10 {
		sr.run(t, fmt.Sprintf(`
			0s  ask guess 10.%d.0.1 u/%d
			0s  denied guess
		`, i, i))
	}
}

// A known device may log in from anywhere, whatever strangers do to the account, the source and the network. It has a
// pair of its own at all addresses together.
func TestKnownDevice(t *testing.T) {
	sr := runScript(t, defaultPolicy(), `
		-25h  ask a 198.51.100.1 u/x@p  = pass none
		-25h  accepted a
	`)
	sr.closeAccount(t)
	for i := range 10 {
		sr.run(t, fmt.Sprintf(`
			0s  ask guess 192.0.2.1 v%d/1
			0s  denied guess
		`, i))
	}
	sr.run(t, `
		1s  ask a 192.0.2.1 u/changed    = refuse source
		1s  ask b 192.0.2.1 u/changed@q  = refuse source   # another device
		1s  ask c 192.0.2.1 v/x@p        = refuse source   # another account
		1s  ask d 192.0.2.1 u/changed@p  = pass none       # no look is needed
		1s  accepted d
		2s  ask e 10.0.0.1 u/1@p         = pass none
		2s  denied e
		2s  ask f 10.1.0.1 u/2@p         = wait 2s pair    # from another source, the same pair
		2s  denied f
		2s  ask g 10.2.0.1 u/3@p
		2s  denied g
		2s  ask h 10.3.0.1 u/4@p
		2s  denied h
		2s  ask i 10.4.0.1 u/5@p
		2s  denied i
		2s  ask j 10.5.0.1 u/6@p         = refuse pair
		2s  ask k 198.51.100.1 u/6       = pass none       # at home, without the device
	`)
	if v := sr.tickets["d"].Verdict(); !v.Known || !v.Near {
		t.Errorf("from a known device: %+v", v)
	}
}

// Programs that never resume a session have a new device at each login. They do not evict those that do.
func TestNewDevicesDoNotEvictOthers(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	login := func(device Device, resumed bool) {
		k := l.Ask(start, Attempt{Addr: host(1), Account: "u", Device: device, Resumed: resumed})
		k.Settle(start, Accepted)
	}
	known := func(device Device) bool {
		k := l.Ask(start, Attempt{Addr: host(100_000), Account: "u", Device: device, Resumed: true})
		defer k.Settle(start, Void)
		return k.Verdict().Near
	}
	login(1, false)
	if !known(1) {
		t.Error("a device is not known after its first login")
	}
	login(1, true)
	for i := range Device(100) {
		login(1000+i, false)
	}
	if !known(1) || known(1000) {
		t.Errorf("known: the device that resumed %v, the first of the others %v", known(1), known(1000))
	}
}

// Guesses of passwords close nothing to tokens, and denied tokens close nothing to passwords. An account and a source
// are never closed to tokens; the pair is.
func TestTokensAreCountedApart(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.closeAccount(t)
	for i := range 10 {
		sr.run(t, fmt.Sprintf(`
			0s  ask guess 192.0.2.1 v%d/1
			0s  denied guess
		`, i))
	}
	sr.run(t, `
		0s  ask a 192.0.2.1 u/x      = refuse source
		0s  ask b 192.0.2.1 u/token  = pass none
		0s  denied b
		0s  ask c 192.0.2.1 u/token  = wait 2s source   # of the tokens' own
		0s  denied c
		0s  ask d 192.0.2.1 u/token
		0s  denied d
		0s  ask d 192.0.2.1 u/token
		0s  denied d
		0s  ask d 192.0.2.1 u/token
		0s  denied d
		0s  ask e 192.0.2.1 u/token  = refuse pair
		0s  ask f 192.0.3.1 u/token  = pass none
	`)
	for i := range 20 {
		sr.run(t, fmt.Sprintf(`
			0s  ask t 192.0.4.1 w%d/token
			0s  denied t
		`, i))
	}
	sr.run(t, `
		0s  ask g 192.0.4.1 w/token  = wait 10s source  # delays, never refuses
		0s  ask h 192.0.4.1 w/x      = pass none
	`)
}

// The limits of an address grow with the accounts that are accepted there, and shrink three days later.
func TestLimitsGrowWithPeople(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	office := netip.MustParseAddr("192.0.2.1")
	denied := func(t0 time.Time) (n int) {
		for ; n < 10_000; n++ {
			k := l.Ask(t0, Attempt{Addr: office, Account: fmt.Sprint("guess", t0, n)})
			if k.Verdict().Action == Refuse {
				return n
			}
			k.Settle(t0, Denied)
		}
		return n
	}
	accept := func(t0 time.Time, from, to int) {
		for i := from; i < to; i++ {
			k := l.Ask(t0, Attempt{Addr: office, Account: fmt.Sprint("user", i)})
			k.Settle(t0, Accepted)
		}
	}
	day := func(n int) time.Time { return start.Add(time.Duration(n) * 24 * time.Hour) }
	if n := denied(day(0)); n != 10 {
		t.Errorf("a source of nobody: %d denials, want 10", n)
	}
	accept(day(1), 0, 30)
	accept(day(1).Add(time.Hour), 0, 30) // the same again
	if n := denied(day(1).Add(2 * time.Hour)); n != 300 {
		t.Errorf("an address of 30 accounts: %d denials, want 300", n)
	}
	if n := denied(day(2)); n != 300 {
		t.Errorf("the day after: %d denials, want 300", n)
	}
	if n := denied(day(4)); n != 10 {
		t.Errorf("three days after: %d denials, want 10", n)
	}
	accept(day(8), 0, 1000)
	if n := l.Growth(day(8), office); n != maxGrowth {
		t.Errorf("an address of 1000 accounts grows %d times, want %d", n, maxGrowth)
	}
	if n := l.Growth(day(8), netip.MustParseAddr("192.0.2.2")); n != 1 {
		t.Errorf("its neighbour grows %d times", n)
	}
}

// One account counts once at an address, however often it comes back there from elsewhere.
func TestOneAccountCountsOnce(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	for i := range 200 {
		k := l.Ask(start, Attempt{Addr: host(300 * (i % (sourcesKept + 1))), Account: "insider"})
		k.Settle(start, Accepted)
	}
	for i := range sourcesKept + 1 {
		if n := l.Growth(start, host(300*i)); n != 1 {
			t.Errorf("address %d grows %d times", i, n)
		}
	}
}

// A connection whose login is accepted costs nothing: many people behind one address connect often.
func TestAcceptedLoginGivesConnectTokenBack(t *testing.T) {
	p := policy()
	p.Connect = Rate{2, time.Minute}
	runScript(t, p, `
		0s  connect a 192.0.2.1  = pass none
		0s  connect b 192.0.2.1  = pass none
		0s  connect c 192.0.2.1  = refuse connect
		0s  login a
		0s  login a
		0s  connect c 192.0.2.1  = pass none
		0s  connect d 192.0.2.1  = refuse connect
	`)
}

// Abandon charges a stranger by the time for which they held a slot, at source, network and pair; the account is not
// charged. An attempt that is near is not charged.
func TestAbandonChargesSlotTime(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	spent := func(kd kind, block netip.Prefix) time.Duration {
		return sr.epoch.ticks(at("0s")).until(ticks(sr.inside(kd, block).denials))
	}
	sr.run(t, `0s  ask a 192.0.2.1 u  = pass none`)
	sr.tickets["a"].Abandon(at("0s"), time.Second)
	if got := spent(kindSource, netip.MustParsePrefix("192.0.2.1/32")); got != 30*time.Second {
		t.Errorf("half a token of the source refills in %v, want 30s", got)
	}
	sr.run(t, `0s  ask b 192.0.2.1 u  = wait 2s source`)
	sr.tickets["b"].Abandon(at("0s"), time.Hour)
	if got := spent(kindSource, netip.MustParsePrefix("192.0.2.1/32")); got != 10*time.Minute {
		t.Errorf("an hour's refills in %v, want 10m", got)
	}
	sr.run(t, `
		0s  ask c 192.0.2.1 v   = refuse source
		0s  ask d 203.0.113.1 u = pass none          # the account is not charged
		0s  ask e 198.51.100.1 u = pass none
	`)
	sr.tickets["e"].Abandon(at("0s"), time.Hour)
	sr.run(t, `0s  ask f 198.51.100.1 u = pass none`)
}

// A password that was denied at twenty accounts is denied for strangers without a backend, unless it is known for the
// account.
func TestSprayedPassword(t *testing.T) {
	sr := runScript(t, defaultPolicy(), `
		-25h  ask a 198.51.100.1 u/summer  = pass none
		-25h  accepted a
	`)
	reached := 0
	for i := range 100 {
		sr.run(t, fmt.Sprintf(`0s  ask s 10.%d.0.1 victim%d/summer`, i, i))
		if sr.tickets["s"].Verdict().Action == Pass {
			reached++
		}
		sr.run(t, `0s  denied s`)
	}
	if reached < 17 || reached > 40 {
		t.Errorf("%d of 100 reach a backend, want about 20", reached)
	}
	sr.run(t, `
		1s   ask b 192.0.2.1 v/summer     = repeat spray
		1s   ask c 192.0.2.1 v/summer     = repeat 2s spray      # of one more denial
		1s   ask d 192.0.3.1 u/summer     = pass none          # the owner from elsewhere
		1s   ask e 198.51.100.1 w/winter  = pass none
		1s   ask f 192.0.4.1 v/token      = pass none
		2h   ask g 192.0.2.1 v/summer     = pass none
	`)
}

// While the site is under attack, new sources of one wide prefix share a budget; sources where somebody was accepted,
// known credentials and tokens do not need it.
func TestPrefixBudget(t *testing.T) {
	p := defaultPolicy()
	p.Attack = true
	p.Network = Rate{10, 10 * time.Minute}
	sr := runScript(t, p, `
		-25h  ask a 10.1.200.1 u/x  = pass none
		-25h  accepted a
	`)
	for i := range 10 {
		sr.run(t, fmt.Sprintf(`
			0s  ask s 10.1.%d.1 victim%d/%d
			0s  denied s
		`, i, i, i))
	}
	sr.run(t, `
		0s  ask b 10.1.99.1 new/x     = refuse prefix
		0s  ask c 10.2.99.1 new/x     = pass none
		0s  ask d 10.1.99.2 u/x       = pass none
		0s  ask e 10.1.200.1 new/x    = pass none
		0s  ask f 10.1.99.3 new/token = pass none
	`)
	for i := range 40 {
		sr.run(t, fmt.Sprintf(`
			0s  ask s 2001:db8:%x%02x::1 victim%d/six%d
			0s  denied s
		`, i%5, i, i, i))
	}
	sr.run(t, `0s  ask g 2001:db8:900::1 new/y  = refuse prefix`) // of the /32
	p.Attack = false
	if err := sr.SetPolicy(at("0s"), p); err != nil {
		t.Fatal(err)
	}
	sr.run(t, `0s  ask h 10.1.99.1 new/z  = pass none`)
}

// In the known lane the account that has logged in least lately goes first, and one attempt in eight is a stranger's.
func TestKnownLaneIsFairByAccount(t *testing.T) {
	p := reservePolicy()
	p.Global, p.WaitMax = Rate{4, 4 * time.Second}, 15*time.Second
	sr := runScript(t, p, "")
	for i, account := range []string{"busy", "idle"} {
		sr.run(t, fmt.Sprintf(`
			-25h  ask k 198.51.%d.1 %s/x
			-25h  accepted k
		`, 100+i, account))
	}
	for i := range 4 {
		sr.run(t, fmt.Sprintf(`
			0s  ask b%d 198.51.100.1 busy/x  = pass none
			0s  enter b%d                    = pass none
		`, i, i))
	}
	sr.run(t, `
		0s  ask b5 198.51.100.1 busy/x  = pass none
		0s  enter b5                    = wait 1s global
		0s  ask i1 198.51.101.1 idle/x  = pass none
		0s  enter i1                    = wait 1s global   # before b5
		1s  dispatch                    = i1 pass
		2s  dispatch                    = b5 pass
	`)
}
