package limiter

import (
	"net/netip"
	"testing"
	"time"
)

func TestReleaseOfAnAddress(t *testing.T) {
	p := strictPolicy()
	p.Pair, p.Account, p.Connect = Rate{}, Rate{}, Rate{1, time.Hour}
	runScript(t, p, `
		0s  release 192.0.2.1 -       = 0
		0s  connect a 192.0.2.1       = pass none
		0s  connect b 192.0.2.1       = refuse connect
		0s  ask a 192.0.2.1 u/1       = pass none
		0s  denied a
		1s  ask b 192.0.2.1 v/1       = refuse source
		1s  ask c 192.0.2.9 v/2       = refuse prefix
		1s  release 192.0.2.9 -       = 3            # network and prefix, and the source, which has paid for a look
		1s  ask d 192.0.2.9 v/2       = pass none
		1s  denied d
		1s  ask e 192.0.2.1 v/1       = refuse source
		1s  release 192.0.2.1 -       = 3
		1s  connect b 192.0.2.1       = pass none
		1s  ask f 192.0.2.1 v/1       = pass none
		1s  denied f
		2s  release 192.0.2.1 -       = 3
		2s  release 192.0.2.1 -       = 0
	`)
}

func TestReleaseOfTokens(t *testing.T) {
	p := strictPolicy()
	p.Pair, p.Attack = Rate{}, false
	runScript(t, p, `
		0s  ask a 192.0.2.1 u/token   = pass none
		0s  denied a
		1s  ask b 192.0.2.1 v/token   = wait 2s source
		1s  void b
		1s  release 192.0.2.1 -       = 2
		1s  ask c 192.0.2.1 v/token   = pass none
	`)
}

func TestReleaseOfAnAccount(t *testing.T) {
	p := strictPolicy()
	p.Source, p.Network, p.Pair = Rate{}, Rate{}, Rate{}
	runScript(t, p, `
		0s  release - u               = 0
		0s  ask a 192.0.2.1 u/1       = pass none
		0s  denied a
		1s  ask b 203.0.113.1 u/2     = refuse account  # which costs a look
		1s  release - v               = 0
		1s  release - U               = 1
		1s  ask c 203.0.113.2 u/3     = pass none
	`)
}

// The pair of a source, that of a known network, and that of a device; not the account and the source.
func TestReleaseOfAPair(t *testing.T) {
	p := defaultPolicy()
	p.Pair, p.Network, p.RepeatTTL = Rate{1, time.Hour}, Rate{}, 0
	runScript(t, p, `
		-1h  ask k 192.0.2.1 u/x@d     = pass none
		-1h  accepted k
		0s   ask a 203.0.113.1 u/1     = pass none
		0s   denied a
		0s   ask b 192.0.2.9 u/2       = pass none       # near by its network
		0s   denied b
		0s   ask c 198.51.100.1 u/3@d  = pass none       # near by its device
		0s   denied c
		1s   ask d 203.0.113.1 u/4     = refuse pair
		1s   ask e 198.51.100.1 u/5@d  = refuse pair
		1s   release 203.0.113.1 v     = 0
		1s   release 203.0.113.1 u     = 1
		1s   ask f 203.0.113.1 u/4     = wait 2s source  # its denial still counts there
		1s   void f
		1s   release 192.0.2.9 u       = 1
		1s   release 198.51.100.1 u@d  = 1
		1s   ask g 198.51.100.1 u/5@d  = pass none
	`)
}

// Holds and open connections remain.
func TestReleaseKeepsWhatIsOpen(t *testing.T) {
	p := policy()
	p.Source, p.Open = Rate{2, time.Hour}, 1
	sr := runScript(t, p, `
		0s  connect a 192.0.2.1  = pass none
		0s  ask a 192.0.2.1      = pass none
		0s  release 192.0.2.1 -  = 1
		0s  connect b 192.0.2.1  = refuse open
		0s  ask b 192.0.2.1      = again 250ms source
		0s  denied a
		1s  ask c 192.0.2.1      = wait 2s source
		1s  void c
		1s  close a
		1s  release 192.0.2.1 -  = 2
		1s  ask d 192.0.2.1      = pass none
		1s  void d
	`)
	if o := sr.openEverywhere(); o != (open{}) {
		t.Errorf("%+v is open", o)
	}
}

// A released source has no penalty.
func TestReleaseEndsThePenalty(t *testing.T) {
	sr := runScript(t, policy(), `
		0s    ask a 192.0.2.1          = pass none
		0s    denied a
		30m   ask b 192.0.2.1          = pass none
	`)
	if p := sr.tickets["b"].Priority(); p.class != classPenalized {
		t.Fatalf("priority %v, want a penalty", p)
	}
	sr.run(t, `
		30m   void b
		30m   release 192.0.2.1 -      = 1
		30m   ask c 192.0.2.1          = pass none
	`)
	if p := sr.tickets["c"].Priority(); p.class == classPenalized {
		t.Errorf("priority %v, want none with a penalty", p)
	}
}

func TestForgetAccount(t *testing.T) {
	sr := runScript(t, defaultPolicy(), `
		-2h  forget u                 = false
		-1h  ask a 192.0.2.1 u/x@d    = pass none
		-1h  accepted a
		-1h  ask b 192.0.2.1 v/x      = pass none
		-1h  accepted b
	`)
	addr := netip.MustParseAddr("192.0.2.1")
	if g := sr.Growth(start, addr); g != 2 {
		t.Fatalf("growth %d, want 2", g)
	}
	sr.run(t, `
		0s  forget U                  = true
		0s  forget u                  = false
		0s  ask c 192.0.2.1 u/x@d     = pass none
		0s  void c
	`)
	if v := sr.tickets["c"].Verdict(); v.Known || v.Near {
		t.Errorf("verdict %+v, want that of a stranger", v)
	}
	if g, n := sr.Growth(start, addr), sr.known.count.Load(); g != 1 || n != 1 || !sr.KnownSource(start, addr) {
		t.Errorf("growth %d and %d accounts, want one each, of v", g, n)
	}
	sr.run(t, `
		0s  forget v                  = true
		0s  ask d 192.0.2.1 u/x       = pass none
		0s  accepted d
		0s  ask e 203.0.113.1 u/x     = pass none
	`)
	if v := sr.tickets["e"].Verdict(); !v.Known || !sr.KnownSource(start, addr) {
		t.Errorf("verdict %+v, want known by a login accepted later", v)
	}
}

// What an operator does in one process holds in its siblings, and the share of an allowed network is one for all.
func TestSiblingsReleaseAndForget(t *testing.T) {
	p := defaultPolicy()
	p.Source, p.Global = Rate{1, time.Hour}, Rate{60, time.Minute}
	former, next := handOverScript(t, p, `
		-1h  ask k 198.51.100.1 u/x   = pass none
		-1h  accepted k
		0s   ask a 192.0.2.1 u/1      = pass none
		0s   denied a
		0s   lists - 203.0.113.0/24
	`, "1s")
	next.then(t, "1s", `
		1s   ask b 192.0.2.1 v/2      = refuse source
		1s   release 192.0.2.1 -      = 2
		1s   forget u                 = true
		1s   ask c 192.0.2.1 v/2      = pass none
		1s   void c
	`)
	former.then(t, "2s", `
		2s   ask d 192.0.2.1 v/3      = pass none
		2s   void d
		2s   forget u                 = false
	`)
	for range 12 {
		former.then(t, "2s", `
			2s   ask e 203.0.113.1 e  = pass none
			2s   enter e              = pass none
			2s   void e
		`)
	}
	next.then(t, "2s", `
		2s   lists - 203.0.113.0/24
		2s   ask f 203.0.113.1 f      = pass none
		2s   enter f                  = pass none
		2s   void f
	`)
	if p := next.tickets["f"].Priority(); p.Known() {
		t.Errorf("priority %v, want that of a stranger: a sibling has used the share", p)
	}
	requireNothingOpen(t, former.own, next.own)
	requireSame(t, at("2s"), next.Limiter, former.Limiter)
}
