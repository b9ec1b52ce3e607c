package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// inside returns a copy of the entry of kind kd for block.
func (l *Limiter) inside(kd kind, block netip.Prefix) entry {
	e, mu := l.table.find(l.hasher.block(kd, block))
	if e == nil {
		return entry{}
	}
	defer mu.Unlock()
	return *e
}

func TestPair(t *testing.T) {
	runScript(t, defaultPolicy(), `
		0s   ask a 192.0.2.1 u/1   = pass none
		0s   denied a
		1s   ask b 192.0.2.1 U/2   = wait 2s source   # the same account; of equal rules the first is named
		1s   denied b
		2s   ask c 192.0.2.1 u/3   = wait 4s source
		2s   denied c
		3s   ask d 192.0.2.1 u/4   = wait 8s source
		3s   denied d
		4s   ask e 192.0.2.1 u/5   = wait 10s source
		4s   denied e
		5s   ask f 192.0.2.1 u/6   = refuse pair
		5s   ask g 192.0.2.1 v/1   = wait 10s source  # another account
		5s   void g
		5s   ask h 192.0.2.2 u/1   = wait 10s account # another source: five of ten denials are spent on the account
		5s   void h
		3m   ask i 192.0.2.1 u/6   = wait 10s pair
	`)
}

// An attack on an account delays only strangers, and no source is charged for the denials of another.
func TestAccountUnderAttackDelaysOnlyStrangers(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t) // u/x, from 198.51.100.1
	for i := range 10 {
		sr.run(t, fmt.Sprintf(`
			0s  ask a 192.%d.2.1 u/guess
			0s  denied a
		`, i))
	}
	sr.run(t, `
		1s   ask a 192.0.9.1 u/guess     = refuse account
		1s   ask b 203.0.113.1 u/x       = pass none        # the owner from elsewhere
		1s   void b
		1s   ask c 198.51.100.1 u/new    = pass none        # at home, with an unknown password
		1s   void c
		1s   ask d 198.51.100.9 u/new    = pass none        # or from another address of the same network
		1s   void d
		1s   ask e 203.0.113.1 u/new     = refuse account   # the same from elsewhere: a stranger
		1s   ask f 203.0.113.1 v/new     = pass none
		1s   void f
		6m1s ask g 203.0.113.1 u/new     = refuse account   # its source has shown a wrong password: it leaves a quarter
		6m1s ask h 203.0.114.1 u/new     = wait 10s account
	`)
}

// Guesses by an attempt known by address alone count against the source, and against one pair for the whole network.
func TestNeighboursAreChargedForGuesses(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  ask a 198.51.100.1 u/1   = pass none
		0s  denied a
		0s  ask b 198.51.100.1 u/2
		0s  denied b
		0s  ask b 198.51.100.1 u/3
		0s  denied b
		0s  ask b 198.51.100.1 u/4
		0s  denied b
		0s  ask b 198.51.100.1 u/5
		0s  denied b
		0s  ask c 198.51.100.1 u/6   = refuse pair
		0s  ask d 198.51.100.1 u/x   = pass none         # the owner, behind the same address
		0s  accepted d
		0s  ask e 198.51.100.1 u/6   = refuse pair       # the neighbour gains nothing by it
		0s  void e
	`)
	for i := range 5 {
		sr.run(t, fmt.Sprintf(`
			1s  ask a 198.51.100.%d u/guess%d
			1s  denied a
		`, 10+i, i))
	}
	sr.run(t, `
		1s  ask f 198.51.100.99 u/guess  = pass none     # a stranger as from anywhere, see below
		1s  ask g 198.51.100.99 v/guess  = pass none
	`)
}

func TestRepeat(t *testing.T) {
	runScript(t, defaultPolicy(), `
		0s    ask a 192.0.2.1 u/old   = pass none
		0s    denied a
		10s   ask b 192.0.2.1 u/old   = repeat 2s repeat   # the wait of a denial
		12s   denied b
		59s   ask c 192.0.2.1 u/old   = repeat 2s repeat   # not renewed
		59s   denied c
		59s   ask d 192.0.2.1 u/new   = wait 2s source     # another credential
		59s   void d
		59s   ask e 192.0.2.2 u/old   = wait 2s account    # another source
		59s   void e
		60s   ask f 192.0.2.1 u/old   = wait 2s pair       # tried again, and not charged: what it cost is not back
		62s   denied f
		63s   ask g 192.0.2.1 u/old   = repeat 2s repeat
		2m2s  ask h 192.0.2.1 u/old   = wait 2s account
		2m4s  accepted h                                   # the password was changed back
		2m5s  ask i 192.0.2.1 u/old   = pass none
	`)
}

// A phone with a stale password never has more than one token spent, however often it tries.
func TestStaleTelephone(t *testing.T) {
	l, charged, asked := newLimiter(t, defaultPolicy()), 0, 0
	a := Attempt{Addr: host(0), Account: "u", Credential: l.Credential("u", []byte("old"))}
	for d := time.Duration(0); d < 24*time.Hour; d += 20 * time.Second {
		t0 := start.Add(d)
		e, limit := l.inside(kindSource, Source(host(0))), l.rules.Load().denials[kindSource]
		before := e.denials
		k := l.Ask(t0, a)
		switch k.Verdict().Action {
		case Refuse:
			t.Fatalf("after %v: %+v", d, k.Verdict())
		case Pass, Wait:
			asked++
		}
		k.Settle(t0, Denied)
		if e = l.inside(kindSource, Source(host(0))); e.denials > before {
			charged++
		}
		if spent := e.denials.spent(l.epoch.ticks(t0), &limit); spent > 1 {
			t.Fatalf("after %v: %d tokens are spent", d, spent)
		}
	}
	if asked > 24*60 || asked < 24*50 || charged > 24*10 {
		t.Errorf("%d attempts reached a backend in a day, and %d tokens were charged", asked, charged)
	}
}

// A denied credential remains known, because the password database may be at fault, until another one is accepted: a
// stolen password that was changed must not use the reserved lane. A stranger who hits the fingerprint of another
// credential changes nothing for its owner.
func TestDeniedCredentialBecomesUnknown(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  ask a 203.0.113.1 u/x   = pass none
		0s  denied a
		0s  ask b 203.0.113.1 u/x   = repeat 2s repeat   # the denial was charged
		0s  ask c 203.0.113.2 u/x   = pass none
		0s  void c
		0s  ask d 198.51.100.1 u/x  = pass none
		0s  denied d
		2m  ask e 203.0.113.3 u/x   = pass none
		2m  denied e
		3m  ask f 198.51.100.1 u/y  = pass none
		3m  accepted f
		5m  ask g 203.0.113.4 u/x   = wait 4s account
	`)
	for name, want := range map[string]Traits{
		"a": {Worked: true, Compared: true}, "c": {Worked: true, Compared: true}, "e": {Worked: true, Compared: true},
		"f": {Compared: true}, "g": {Former: true, Compared: true},
	} {
		k := sr.tickets[name]
		if known := name != "g"; k.Verdict().Known != known {
			t.Errorf("%s: got %+v, want Known %t", name, k.Verdict(), known)
		}
		got := k.Traits()
		if got.Credential == 0 {
			t.Errorf("%s: got no credential", name)
		}
		if got.Credential = 0; got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// Parallel attempts with one wrong credential are one denial.
func TestDoubleDenialIsChargedOnce(t *testing.T) {
	sr := runScript(t, defaultPolicy(), `
		0s  ask a 192.0.2.1 u/old  = pass none
		0s  ask b 192.0.2.1 u/old  = pass none
		1s  denied a
		1s  denied b
	`)
	limit := sr.rules.Load().denials[kindSource]
	e := sr.inside(kindSource, netip.MustParsePrefix("192.0.2.1/32"))
	if e.denials.spent(sr.epoch.ticks(at("1s")), &limit) != 1 || e.holds != 0 {
		t.Errorf("%+v", e)
	}
}

// Without a secret to compare, every denial counts.
func TestHiddenSecretsAreNeverRepeats(t *testing.T) {
	runScript(t, defaultPolicy(), `
		0s  ask a 192.0.2.1 u  = pass none
		0s  denied a
		0s  ask b 192.0.2.1 u  = wait 2s source
		0s  denied b
		0s  ask c 192.0.2.1 u  = wait 4s source
		0s  accepted c
		0s  ask d 192.0.2.1 u  = pass none         # known by address; the pair is cleared
		0s  ask e 192.0.2.1 v  = wait 4s source    # the source is not
	`)
}

// An exempt address makes no account known, and the account rule applies to it.
func TestAccountRuleAppliesToExempt(t *testing.T) {
	p := defaultPolicy()
	p.Exempt = append(p.Exempt, netip.MustParsePrefix("192.0.2.0/24"))
	sr := runScript(t, p, `
		0s  ask a 192.0.2.1 u/x      = pass none
		0s  accepted a
	`)
	for i := range 10 {
		sr.run(t, fmt.Sprintf(`
			0s  ask a 192.0.2.1 u/guess%d
			0s  denied a
		`, i))
	}
	sr.run(t, `
		1s  ask b 192.0.2.1 u/guess  = refuse account
		1s  ask c 192.0.2.1 u/x      = pass none
		1s  ask d 192.0.2.1 v/guess  = pass none
	`)
}

// In observe mode a refused attempt continues; if it is accepted, it becomes known.
func TestAcceptedAfterRefusalBecomesKnown(t *testing.T) {
	p := defaultPolicy()
	p.Source = Rate{1, time.Hour}
	runScript(t, p, `
		0s  ask a 192.0.2.1 u/1  = pass none
		0s  denied a
		0s  ask b 192.0.2.1 u/2  = refuse source
		0s  denied b
		0s  ask c 192.0.2.1 u/x  = refuse source
		0s  accepted c
		0s  ask d 192.0.2.1 u/x  = pass none
	`)
}

func TestPeek(t *testing.T) {
	p := defaultPolicy()
	p.Pair, p.Account, p.Source = Rate{1, time.Hour}, Rate{2, time.Hour}, Rate{3, time.Hour}
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  peek 192.0.2.1 v        = pass none
		0s  ask a 192.0.2.1 v/1     = pass none
		0s  peek 192.0.2.1 v        = refuse pair     # a holds the token
		0s  denied a
		0s  peek 192.0.2.1 v        = refuse pair
		0s  peek 192.0.2.2 v        = pass none
		0s  ask b 192.0.2.2 v/1     = wait 2s account
		0s  denied b
		0s  peek 192.0.9.9 v        = refuse account
		0s  ask c 192.0.2.1 u/1     = wait 2s source
		0s  denied c
		0s  peek 192.0.2.1 u        = pass none       # the right password would pass
		0s  ask d 192.0.2.1 w/1     = wait 4s source
		0s  denied d
		0s  peek 192.0.2.1 x        = pass none       # the source is empty and learns nothing
		1h  peek 192.0.9.9 v        = pass none
	`)
	if s := sr.Stats(start); s.Pairs > 4 {
		t.Errorf("%+v: Peek added entries", s)
	}
}

// The strictest rule wins, and is named.
func TestStrictestRuleWins(t *testing.T) {
	p := defaultPolicy()
	p.Network = Rate{4, 4 * time.Minute}
	runScript(t, p, `
		0s  ask a 192.0.2.1 u/1  = pass none
		0s  denied a
		0s  ask b 192.0.2.2 v/1  = wait 2s network
		0s  denied b
		0s  ask c 192.0.2.1 v/2  = wait 4s network   # rule source asks for 2s
		0s  void c
	`)
}
