package limiter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestBlocked(t *testing.T) {
	l := newLimiter(t, policy())
	l.SetLists(Lists{
		Blocked: append(networks("192.0.2.0/24,192.0.2.9/16,198.51.100.7/32,2001:db8::/32,2001:db9:0:1::/64,::ffff:203.0.113.0/120"), netip.Prefix{}),
		Allowed: append(networks("192.0.2.128/25,198.51.0.0/16,2001:db8:1::/48"), netip.Prefix{}),
	})
	for addr, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.127": true, "192.0.2.128": false, "192.0.3.1": true, "192.1.0.0": false,
		"198.51.100.7": false, "203.0.113.255": true, "203.0.114.0": false,
		"::ffff:192.0.2.1": true, "::ffff:192.0.2.200": false, "::192.0.2.1": false,
		"2001:db8::1": true, "2001:db8:1::1": false, "2001:db8:2::1%eth0": true, "2001:db9:0:1:ffff::": true, "2001:db9:0:2::": false,
	} {
		if got := l.Blocked(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Blocked(%s) = %v, want %v", addr, got, want)
		}
	}
	if l.Blocked(netip.Addr{}) {
		t.Error("an invalid address is blocked")
	}
	l.SetLists(Lists{Blocked: networks("0.0.0.0/0")})
	if !l.Blocked(netip.MustParseAddr("192.0.2.1")) || l.Blocked(netip.MustParseAddr("2001:db8::1")) || l.Blocked(netip.Addr{}) {
		t.Error("0.0.0.0/0 is not exactly the addresses of IPv4")
	}
	l.SetLists(Lists{})
	if l.Blocked(netip.MustParseAddr("192.0.2.1")) {
		t.Error("an address is blocked after the lists were emptied")
	}
}

// Lookups in random lists find what a search of each network finds.
func TestListsAgreeWithASearch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 15))
	randomPrefix := func() netip.Prefix {
		addr := randomAddr(rnd)
		if !addr.IsValid() {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(addr, rnd.IntN(addr.BitLen()+1))
	}
	found := 0
	for range 200 {
		var all []netip.Prefix
		for range rnd.IntN(20) {
			all = append(all, randomPrefix())
		}
		s := newNetworkSet(all)
		for range 200 {
			addr := randomAddr(rnd).Unmap()
			var want netip.Prefix
			for _, p := range all {
				if p = unmapped(p); p.Contains(addr) && (!want.IsValid() || p.Bits() < want.Bits()) {
					want = p
				}
			}
			if got := s.widest(addr); got != want {
				t.Fatalf("the widest network of %v with %v is %v, want %v", all, addr, got, want)
			}
			if want.IsValid() {
				found++
			}
		}
	}
	if found < 1000 {
		t.Errorf("%d addresses were found, want 1000: the test does not test enough", found)
	}
}

func TestBlockedIsRefused(t *testing.T) {
	p := defaultPolicy()
	p.Exempt = networks("203.0.113.0/24")
	sr := runScript(t, p, `
		-1h  ask k 192.0.2.1 u/x          = pass none
		-1h  accepted k
		0s   connect a 192.0.2.1          = pass none
		0s   lists 192.0.2.0/24,203.0.113.0/24 192.0.2.64/26
		1s   connect b 192.0.2.1          = refuse blocked
		1s   connect c 192.0.2.64         = pass none        # allow wins
		1s   connect d 203.0.113.1        = refuse blocked   # exempt
		1s   connect e 192.0.3.1          = pass none
		1s   ask f 192.0.2.1 u/x          = refuse blocked   # known
		1s   enter f                      = refuse blocked
		1s   void f
		1s   peek 192.0.2.1 v             = refuse blocked
		1s   peek 192.0.2.64 v            = pass none
		1s   ask g 203.0.113.1 u/x        = refuse blocked
		1s   void g
		2s   close a
		2s   lists - -
		3s   connect h 192.0.2.1          = pass none
		3s   ask i 192.0.2.1 u/x          = pass none
	`)
	if f := sr.tickets["f"].Verdict(); !f.Known || !f.Near {
		t.Errorf("the verdict on a known user who is blocked: %+v", f)
	}
}

// A client whose network is blocked while it waits is refused when it asks again, and holds nothing.
func TestBlockedWhileWaiting(t *testing.T) {
	sr := runScript(t, policy(), `
		0s     ask a 192.0.2.1  = pass none
		0s     ask b 192.0.2.1  = pass none
		0s     ask c 192.0.2.1  = pass none
		0s     ask d 192.0.2.1  = again 250ms source
		100ms  lists 192.0.2.1/32 -
		300ms  again d          = refuse blocked
		400ms  denied a
		400ms  void b
		400ms  void c
		400ms  void d
		500ms  lists - -
		500ms  ask e 192.0.2.1  = wait 2s source
		500ms  void e
	`)
	if o := sr.openEverywhere(); o != (open{}) {
		t.Errorf("%+v is open", o)
	}
}

// A blocked client learns nothing from how it is refused: the right password, a wrong one, and an account that is not known
// have the same verdict, and leave no entry. One that is let through in observe mode is learned.
func TestBlockedLearnsNothing(t *testing.T) {
	sr := runScript(t, defaultPolicy(), `
		-1h  ask k 198.51.100.1 u/x  = pass none
		-1h  accepted k
		0s   lists 192.0.2.0/24 -
	`)
	entries := sr.table.used.Load()
	sr.run(t, `
		0s   ask a 192.0.2.1 u/x     = refuse blocked
		0s   void a
		0s   ask b 192.0.2.1 u/y     = refuse blocked
		0s   denied b
		0s   ask c 192.0.2.1 nobody/y = refuse blocked
		0s   void c
	`)
	if n := sr.table.used.Load(); n != entries {
		t.Errorf("%d entries, want %d as before", n, entries)
	}
	sr.run(t, `
		0s   ask d 192.0.2.1 u/x     = refuse blocked
		0s   accepted d
		0s   lists - -
		0s   ask e 192.0.2.1 u       = pass none
	`)
	if !sr.tickets["e"].Verdict().Near {
		t.Error("a blocked login that was accepted all the same is not known")
	}
}

// strictPolicy returns a policy under which one denial closes everything but a pair, which has two.
func strictPolicy() Policy {
	p, one := defaultPolicy(), Rate{1, time.Hour}
	p.Source, p.Account, p.Pair, p.Network, p.Attack = one, one, Rate{2, time.Hour}, one, true
	return p
}

func TestAllowedMeetsOnlyPairAndRepeat(t *testing.T) {
	sr := runScript(t, strictPolicy(), `
		0s  lists - 192.0.2.0/24
		0s  ask a 192.0.2.1 u/1  = pass none
		0s  denied a
		0s  ask b 192.0.2.1 v/2  = pass none         # not source, network and prefix
		0s  denied b
		0s  ask c 192.0.2.1 u/1  = repeat 2s repeat
		0s  ask d 198.51.100.1 u/3 = pass none       # what is denied there does not close the account to others
		0s  void d
		0s  ask e 192.0.2.2 u/4  = wait 2s pair      # one for the network
		0s  denied e
		1s  ask f 192.0.2.3 u/5  = refuse pair
		1s  release 192.0.2.9 u  = 1
		1s  ask f 192.0.2.3 u/5  = pass none
		1s  denied f
		1s  ask g 203.0.113.1 u/6 = pass none        # nothing of that counts for others
		1s  void g
		2s  ask h 192.0.2.1 w/7  = pass none
		2s  accepted h                               # learned
		2s  lists - -
		3s  ask i 192.0.2.1 w/7  = pass none
		3s  void i
		3s  ask j 192.0.2.1 x/8  = pass none         # what was denied while it was allowed did not count
		3s  denied j
		4s  ask k 192.0.2.1 y/9  = refuse source
	`)
	if i := sr.tickets["i"].Verdict(); !i.Known || !i.Near {
		t.Errorf("an accepted login of an allowed network was not learned: %+v", i)
	}
	if h := sr.tickets["h"].Verdict(); h.Known || h.Near {
		t.Errorf("an allowed stranger is known: %+v", h)
	}
}

// Of an allowed network, passwords that were sprayed are answered as denied.
func TestAllowedMeetsSpray(t *testing.T) {
	p := defaultPolicy()
	p.Network, p.Source = Rate{}, Rate{}
	sr := runScript(t, p, "0s lists - 192.0.2.0/24")
	for i := range 40 {
		sr.run(t, fmt.Sprintf(`
			%[1]ds  ask a 192.0.2.%[2]d u%[1]d/summer
			%[1]ds  denied a
		`, i, i%200+1))
	}
	sr.run(t, `41s ask b 192.0.2.1 v/summer = repeat spray`)
}

func TestExemptStaysExemptWhereAllowed(t *testing.T) {
	p := strictPolicy()
	p.Exempt = networks("192.0.2.0/24")
	runScript(t, p, `
		0s  lists 192.0.2.0/23 192.0.2.0/23
		0s  connect a 192.0.2.1   = pass none
		0s  ask a 192.0.2.1 u/1   = pass none
		0s  denied a
		1s  ask b 192.0.2.1 u/2   = refuse account
		1s  ask c 192.0.3.1 u/2   = pass none
	`)
}

// The connections of an allowed address are limited like those of one that as many people share as the limits know of.
func TestAllowedConnections(t *testing.T) {
	p := policy()
	p.Connect, p.Open, p.OpenPrelogin = Rate{2, time.Hour}, 3, 1
	sr := runScript(t, p, "0s lists - 192.0.2.0/24")
	addr := netip.MustParseAddr("192.0.2.1")
	if g, ok := sr.Growth(start, addr), sr.KnownSource(start, addr); g != maxGrowth || !ok {
		t.Errorf("growth %d, known source %v; want %d, true", g, ok, maxGrowth)
	}
	var open []*Connection
	for range maxOpenGrowth {
		c, v := sr.Connect(start, addr)
		if v.Action == Refuse {
			t.Fatalf("%d connections, then refused by %s", len(open), v.Rule)
		}
		open = append(open, c)
	}
	sr.run(t, "0s connect a 192.0.2.1 = refuse open_prelogin")
	for _, c := range open {
		c.LoggedIn(start)
		c.Close(start)
	}
	for range 2 * maxConnectGrowth {
		c, v := sr.Connect(start, addr)
		if v.Action == Refuse {
			t.Fatalf("refused by %s", v.Rule)
		}
		c.Close(start)
	}
	sr.run(t, `
		0s  connect b 192.0.2.1  = refuse connect
		0s  lists - -
		0s  connect c 192.0.2.1  = refuse connect
	`)
	if g, ok := sr.Growth(start, addr), sr.KnownSource(start, addr); g != 1 || ok {
		t.Errorf("growth %d, known source %v once it is not allowed; want 1, false", g, ok)
	}
}

// An allowed network has the priority of the known for as many logins a minute as its bucket has, then for one with each
// token; its attempts queue as strangers otherwise.
func TestAllowedShareOfTheReserve(t *testing.T) {
	p := defaultPolicy()
	p.Global, p.KnownShare = Rate{60, time.Minute}, 50
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	sr.run(t, "0s lists - 192.0.2.0/24,192.0.0.0/16,203.0.113.0/24")
	for i := range 30 { // strangers leave the reserve
		sr.run(t, fmt.Sprintf(`
			0s  ask s 198.51.%d.1 s%[1]d = pass none
			0s  enter s               = pass none
		`, i+101))
	}
	sr.run(t, `
		0s  ask t 100.64.0.1 t  = pass none
		0s  enter t             = wait 1s global
	`)
	const share = 12 // a fifth
	for i := range share {
		sr.run(t, fmt.Sprintf(`
			0s  ask a 192.0.%d.1 a%d  = pass none
			0s  enter a             = pass none
		`, i%3, i))
		if v := sr.tickets["a"].Verdict(); v.Known {
			t.Errorf("the verdict on an allowed stranger: %+v", v)
		}
	}
	sr.run(t, `
		0s  ask b 192.0.9.1 b    = pass none         # of the widest allowed network
		0s  enter b              = refuse global     # like a stranger
		0s  ask c 203.0.113.1 c  = pass none         # another network
		0s  enter c              = pass none
		5s  ask d 192.0.2.1 d    = pass none         # a token of the network is back
		5s  enter d              = pass none
		5s  ask e 192.0.2.1 e    = pass none
		5s  enter e              = refuse global
	`)
	if p := sr.tickets["d"].Priority(); !p.Known() {
		t.Errorf("priority %v, want that of the known", p)
	}
	if p := sr.tickets["e"].Priority(); p.Known() {
		t.Error("an allowed network has more than its share")
	}
}

// The share counts although the rule global is off: backends have queues as well.
func TestAllowedShareWithoutGlobal(t *testing.T) {
	p := defaultPolicy()
	p.Global = Rate{}
	sr := runScript(t, p, "0s lists - 192.0.2.0/24")
	var known []bool
	for range 12 {
		sr.run(t, `
			0s  ask a 192.0.2.1 a = pass none
			0s  enter a           = pass none
			0s  void a
		`)
		known = append(known, sr.tickets["a"].Priority().Known())
	}
	if n := slices.Index(known, false); n != 10 || slices.Contains(known[n:], true) {
		t.Errorf("priority of the known: %v, want it ten times", known)
	}
}

// With a full table, an allowed network that cannot be counted has no priority.
func TestAllowedInAFullTable(t *testing.T) {
	p := defaultPolicy()
	p.TableMax = 8
	sr := runScript(t, p, "0s lists - 192.0.2.0/24,203.0.113.0/24")
	for i := range 9 {
		k := sr.Ask(start, Attempt{Addr: host(i * 1000)})
		defer k.Settle(start, Void)
	}
	sr.run(t, `
		0s  ask a 192.0.2.1 a    = pass none
		0s  enter a              = pass none
		0s  ask b 203.0.113.1 b  = pass none
		0s  enter b              = pass none
	`)
	a, b := sr.tickets["a"].Priority(), sr.tickets["b"].Priority()
	if !a.Known() || b.Known() {
		t.Errorf("priorities %v and %v, want that of the known for the last that could be counted alone", a, b)
	}
}

// A known user from an allowed network is as known as anywhere else, and the share of the network is not used.
func TestKnownInAnAllowedNetwork(t *testing.T) {
	p := defaultPolicy()
	p.Network = Rate{}
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  lists - 192.0.2.0/24
		0s  ask a 192.0.2.1 u/x  = pass none
		0s  enter a              = pass none
		0s  accepted a
	`)
	if v := sr.tickets["a"].Verdict(); !v.Known {
		t.Errorf("verdict %+v, want known by its password", v)
	}
	if e, _ := sr.table.find(sr.hasher.block(kindUse, netip.MustParsePrefix("192.0.2.0/24"))); e != nil {
		t.Error("the login of a known user used the share of the network")
	}
}
