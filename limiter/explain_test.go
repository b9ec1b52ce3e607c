package limiter

import (
	"net/netip"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	p := site()
	p.Exempt = append(p.Exempt, netip.MustParsePrefix("192.0.9.0/24"))
	tl := statement(t, p, "")
	tl.resident(t)
	tl.play(t, `
		0s  ask a 192.0.2.1 u/1
		0s  denied a
		0s  ask b 192.0.2.1 u/2   # under way
	`)
	for _, tc := range []struct{ addr, account, want string }{
		{"192.0.2.1", "u", `
			known: the account was not accepted from here
			known: with a credential that was accepted lately no rule about denials applies
			connections: 0 open of 200, 0 of them before login of 30, 0 new of 60/12s
			source: 1 of 10 denials spent, 1 held, full again in 1m0s, goes behind others
			network: 1 of 100 denials spent, 1 held, full again in 6s
			pair: 1 of 5 denials spent, 1 held, full again in 2m0s
			account: 1 of 10 denials spent, 1 held, full again in 6m0s
			now: waits 2s by rule source, then for its turn behind other strangers
			global: 200 of 200 logins free, 120 of them for the known alone; 0 known and 0 strangers wait
		`},
		{"198.51.100.1", "u", `
			known: the account was accepted from this source
			known: with a credential that was accepted lately no rule about denials applies
			connections: 0 open of 200, 0 of them before login of 30, 0 new of 60/12s
			source: 0 of 10 denials spent, 0 held
			network: 0 of 100 denials spent, 0 held (does not apply)
			pair: 0 of 5 denials spent, 0 held
			account: 1 of 10 denials spent, 1 held, full again in 6m0s (does not apply)
			now: passes, to wait for its turn among the known
			global: 200 of 200 logins free, 120 of them for the known alone; 0 known and 0 strangers wait
		`},
		{"192.0.9.1", "v", `
			address: exempt from connect, source, network and pair
			known: the account was not accepted from here
			connections: 0 open of any number, 0 of them before login of 30, 0 new of 60/12s
			source: 0 of 10 denials spent, 0 held (does not apply)
			network: 0 of 100 denials spent, 0 held (does not apply)
			pair: 0 of 5 denials spent, 0 held (does not apply)
			account: 0 of 10 denials spent, 0 held
			now: passes, to wait for its turn among strangers
			global: 200 of 200 logins free, 120 of them for the known alone; 0 known and 0 strangers wait
		`},
	} {
		if tc.account == "v" {
			p.Open = 0
			if err := tl.SetPolicy(start, p); err != nil {
				t.Fatal(err)
			}
		}
		got := tl.Explain(start, netip.MustParseAddr(tc.addr), tc.account)
		if want := strings.ReplaceAll(strings.TrimSpace(tc.want), "\t", "") + "\n"; got != want {
			t.Errorf("%s %s:\n%swant\n%s", tc.addr, tc.account, got, want)
		}
	}
	if s := tl.Stats(start); s.Sources != 1 {
		t.Errorf("%+v: explaining left something behind", s)
	}
}

func TestExplainRefusals(t *testing.T) {
	p := site()
	p.Source, p.Global = Rate{1, 60_000_000_000}, Rate{}
	tl := statement(t, p, `
		0s  ask a 192.0.2.1 u/1
		0s  denied a
	`)
	got := tl.Explain(start, netip.MustParseAddr("192.0.2.1"), "u")
	for _, want := range []string{"now: refused by rule source\n", "global: off\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	p.Global = Rate{10, 1_000_000_000}
	if err := tl.SetPolicy(start, p); err != nil {
		t.Fatal(err)
	}
	if got, want := tl.Explain(start, netip.MustParseAddr("192.0.2.1"), "u"), "nothing is reserved until"; !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
}
