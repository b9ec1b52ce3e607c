package limiter

import (
	"net/netip"
	"testing"
	"time"
)

// The first example of the package comment.
func TestPackageExampleOfOneSource(t *testing.T) {
	runScript(t, policy(), `
		0s     ask a 192.0.2.1  = pass none
		0s     ask b 192.0.2.1  = pass none
		1s     denied a
		2s     accepted b
		3s     ask c 192.0.2.1  = wait 2s source
		5s     denied c
		6s     ask d 192.0.2.1  = wait 4s source
		7s     void d
		1m10s  ask e 192.0.2.1  = wait 2s source
		1m12s  void e
		2m5s   ask f 192.0.2.1  = pass none
	`)
}

// The second example of the package comment.
func TestPackageExampleOfAllSources(t *testing.T) {
	sr := runScript(t, reservePolicy(), "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  ask a 192.0.2.1 a      = pass none
		0s  enter a                = pass none
		0s  ask b 192.0.3.1 b      = pass none
		0s  enter b                = pass none
		0s  ask c 192.0.4.1 c      = pass none
		0s  enter c                = wait 1s global
		0s  ask k 203.0.113.1 u/x  = pass none
		0s  enter k                = pass none
		1s  dispatch               =
		2s  dispatch               = c pass
	`)
}

func TestSourceEmpties(t *testing.T) {
	p := policy()
	p.Source = Rate{4, 4 * time.Minute}
	runScript(t, p, `
		0s   ask a 192.0.2.1     = pass none
		0s   denied a
		1s   ask b 192.0.2.1     = wait 2s source
		1s   denied b
		2s   ask c 192.0.2.1     = wait 4s source
		2s   denied c
		3s   ask d 192.0.2.1     = wait 8s source
		4s   ask e 192.0.2.1     = refuse source     # d holds the last token
		5s   void d
		6s   ask f 192.0.2.1     = wait 8s source
		6s   denied f
		7s   ask g 192.0.2.1     = refuse source
		7s   denied g
		8s   ask h 192.0.2.2     = pass none         # a neighbour is another source
		59s  ask i 192.0.2.1     = refuse source
		60s  ask j 192.0.2.1     = wait 8s source
		60s  accepted j
		60s  ask k 192.0.2.1     = wait 8s source    # an accepted login does not clear the source
		61s  void k
		4m6s ask l 192.0.2.1     = pass none
	`)
}

func TestSourceIsABlock(t *testing.T) {
	p := policy()
	p.Source = Rate{1, time.Minute}
	runScript(t, p, `
		0s  ask a 2001:db8:0:1::1            = pass none
		0s  denied a
		0s  ask b 2001:db8:0:1:ffff::        = refuse source
		0s  ask c 2001:db8:0:2::1            = pass none
		0s  ask d ::ffff:192.0.2.1           = pass none
		0s  denied d
		0s  ask e 192.0.2.1                  = refuse source
	`)
}

// A third of the tokens may be held at once; the next attempt asks again until one is free, or its time is up.
func TestStrangersBehindOneAddressTakeTurns(t *testing.T) {
	runScript(t, policy(), `
		0s     ask a 192.0.2.1  = pass none
		0s     ask b 192.0.2.1  = pass none
		0s     ask c 192.0.2.1  = pass none
		0s     ask d 192.0.2.1  = again 250ms source
		0s     ask e 192.0.2.1  = again 250ms source
		300ms  again d          = again 250ms source
		400ms  accepted a
		600ms  again d          = pass none
		600ms  again e          = again 250ms source
		900ms  denied b
		900ms  again e          = wait 1300ms source   # of a wait of 2.2 s, 900 ms are over
		900ms  ask f 192.0.2.1  = again 250ms source
		9900ms again f          = again 250ms source
		10800ms again f         = refuse source        # nobody waits for more than WaitMax
	`)
}

func TestNetworkDelays(t *testing.T) {
	p := policy()
	p.Network = Rate{4, 4 * time.Minute}
	sr := runScript(t, p, `
		0s  ask a 192.0.2.1  = pass none
		0s  denied a
		0s  ask b 192.0.2.2  = wait 2s network
		0s  denied b
		0s  ask c 192.0.2.3  = wait 4s network
		0s  denied c
		0s  ask d 192.0.2.4  = wait 8s network
		0s  denied d
		0s  ask e 192.0.2.5  = wait 10s network
		0s  ask f 192.0.2.6  = wait 10s network   # more holds than tokens: never a refusal
		0s  denied e
		0s  denied f
		0s  ask g 192.0.3.1  = pass none          # another network
		0s  ask h 192.0.2.1  = wait 10s network   # source asks for 2s
	`)
	if sr.tickets["h"].Settle(at("0s"), Void); sr.tickets["a"].held != 0 {
		t.Error("a settled ticket still holds")
	}
	// Six denials emptied a bucket of four. It does not go below zero, so a token is back in a minute.
	sr.run(t, `
		1m  ask i 192.0.2.7  = wait 8s network
	`)
}

func TestExempt(t *testing.T) {
	p := policy()
	p.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	p.Connect, p.Open, p.OpenPrelogin, p.Source = Rate{1, time.Hour}, 1, 1, Rate{1, time.Hour}
	p.Global, p.WaitMax = Rate{3, time.Hour}, time.Second
	sr := runScript(t, p, `
		0s  connect v 192.0.2.1          = pass none
		0s  connect w ::ffff:192.0.2.1   = pass none
		0s  login v
		0s  close v
		0s  close v
		0s  ask a 192.0.2.1              = pass none
		0s  denied a
		0s  ask b 192.0.2.1              = pass none
		0s  denied b
		0s  enter a                      = pass none
		0s  enter b                      = pass none
		0s  ask c 192.0.2.1              = pass none
		0s  enter c                      = pass none
		0s  ask d 192.0.2.1              = pass none
		0s  enter d                      = refuse global   # Global applies to exempt addresses
	`)
	if s := sr.Stats(start); s.Sources+s.Networks != 0 {
		t.Errorf("%+v: an exempt address has an entry", s)
	}
}

func TestRulesThatAreOff(t *testing.T) {
	l := newLimiter(t, Policy{WaitMax: 10 * time.Second, TableMax: 10})
	for i := range 1000 {
		if _, v := l.Connect(start, host(1)); v != pass {
			t.Fatalf("connect %d: %v", i, v)
		}
		k := l.Ask(start, Attempt{Addr: host(1)})
		if k.Enter(start, nil); k.Verdict() != pass {
			t.Fatalf("ask %d: %v", i, k.Verdict())
		}
		k.Settle(start, Denied)
	}
	if left := l.Stats(start).GlobalTokens; left != 0 {
		t.Errorf("got %v tokens of a rule that is off, want 0", left)
	}
}

func TestInvalidAddressIsItsOwnSource(t *testing.T) {
	p := policy()
	p.Source = Rate{1, time.Hour}
	l := newLimiter(t, p)
	if _, v := l.Connect(start, netip.Addr{}); v != pass {
		t.Errorf("connect: %v", v)
	}
	k := l.Ask(start, Attempt{})
	k.Settle(start, Denied)
	if v := verdict(l, start, netip.Addr{}); v != refusal(RuleSource) {
		t.Errorf("second attempt: %v", v)
	}
	if v := verdict(l, start, netip.IPv6Unspecified()); v != pass {
		t.Errorf("the unspecified address is charged for it: %v", v)
	}
}

func TestTimesOutOfOrder(t *testing.T) {
	p := policy()
	p.Source = Rate{2, 2 * time.Minute}
	runScript(t, p, `
		10m    ask a 192.0.2.1  = pass none
		10m    denied a
		10m    ask b 192.0.2.1  = wait 2s source
		9m59s  denied b                           # an earlier time, from a goroutine that got the lock late
		10m    ask c 192.0.2.1  = refuse source
		 1m    ask d 192.0.2.1  = refuse source   # a clock that is set back refills nothing
		12m    ask e 192.0.2.1  = pass none       # and delays nothing
	`)
}
