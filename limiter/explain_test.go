package limiter

import (
	"net/netip"
	"testing"
)

func TestExplain(t *testing.T) {
	p := defaultPolicy()
	p.Source, p.Pair, p.Account = Rate{2, 60_000_000_000}, Rate{1, 60_000_000_000}, Rate{4, 60_000_000_000}
	p.Open, p.OpenPrelogin, p.Attack = 2, 1, true
	sr := runScript(t, p, `
		0s  connect v 192.0.2.1
		0s  ask a 192.0.2.1 u/1
		0s  denied a
		0s  ask b 192.0.2.1 v/1
		0s  denied b
		0s  ask c 192.0.2.2 u/2
		0s  denied c
		0s  ask d 192.0.2.3 u/3
		0s  denied d
		0s  ask e 192.0.2.4 u/4   # refused after a look
		0s  ask f 203.0.113.1 w/5 # not settled
	`)
	for _, tc := range []struct {
		rule          Rule
		addr, account string
		want          string
	}{
		{RuleSource, "192.0.2.1", "u", "2 of 2 denials of the source spent, full again in 1m0s"},
		{RuleSource, "192.0.2.9", "u", ""},
		{RuleSource, "203.0.113.1", "w", "0 of 2 denials of the source spent, 1 held"},
		{RuleNetwork, "192.0.2.9", "u", "4 of 100 denials of the network spent, full again in 24s"},
		{RulePrefix, "192.0.2.9", "u", "4 of 100 denials of the prefix spent, 25 only for sources without denials, full again in 24s"},
		{RulePair, "192.0.2.1", "u", "1 of 1 denials of the source on the account spent, full again in 1m0s"},
		{RulePair, "192.0.2.1", "w", ""},
		{RuleAccount, "192.0.2.1", "u", "3 of 4 denials of the account spent, 1 only for sources without denials, full again in 45s, 1 of 40 looks spent"},
		{RuleAccount, "198.51.100.1", "u", "3 of 4 denials of the account spent, full again in 45s, 1 of 40 looks spent"},
		{RuleConnect, "192.0.2.1", "", ""},
		{RuleOpen, "192.0.2.1", "", ""},
		{RuleOpenPrelogin, "192.0.2.1", "", "1 of 1 connections of the source open before login"},
		{RuleGlobal, "192.0.2.1", "u", "200 of 200 tokens for logins left, 0 reserved for the known, 0 known and 0 strangers wait"},
		{RuleSpray, "192.0.2.1", "u", ""},
		{RuleNone, "192.0.2.1", "u", ""},
	} {
		before := sr.Stats(start)
		if got := sr.Explain(start, Attempt{Addr: netip.MustParseAddr(tc.addr), Account: tc.account}, tc.rule); got != tc.want {
			t.Errorf("%s for %s at %q: got %q, want %q", tc.rule, tc.addr, tc.account, got, tc.want)
		}
		if sr.Stats(start) != before {
			t.Errorf("%s: the explanation changed the limiter", tc.rule)
		}
	}
}

func TestExplainConnections(t *testing.T) {
	p := defaultPolicy()
	p.Connect, p.Open, p.Global = Rate{2, 60_000_000_000}, 2, Rate{}
	sr := runScript(t, p, `
		0s  connect v 192.0.2.1
		0s  connect w 192.0.2.1
	`)
	for rule, want := range map[Rule]string{
		RuleConnect: "2 of 2 new connections of the source spent, full again in 1m0s", RuleOpen: "2 of 2 connections of the source open", RuleGlobal: "",
	} {
		if got := sr.Explain(start, Attempt{Addr: netip.MustParseAddr("192.0.2.1")}, rule); got != want {
			t.Errorf("%s: got %q, want %q", rule, got, want)
		}
	}
}

// BenchmarkExplain is what a line about a refused attempt costs in addition.
func BenchmarkExplain(b *testing.B) {
	l, err := New(defaultPolicy(), Key{})
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.MustParseAddr("192.0.2.1")
	for i := range 10 {
		account := string(rune('a' + i))
		k := l.Ask(start, Attempt{Addr: addr, Account: account, Credential: l.Credential(account, []byte("x"))})
		k.Settle(start, Denied)
	}
	for b.Loop() {
		l.Explain(start, Attempt{Addr: addr, Account: "a"}, RuleSource)
	}
}
