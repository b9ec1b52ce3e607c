package limiter

import (
	"net/netip"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	p := defaultPolicy()
	p.Exempt = append(p.Exempt, netip.MustParsePrefix("192.0.9.0/24"))
	sr := runScript(t, p, "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  ask a 192.0.2.1 u/1
		0s  denied a
		0s  ask b 192.0.2.1 u/2   # not settled
	`)
	for _, tc := range []struct{ addr, account, want string }{
		{"192.0.2.1", "u", `
			known: the account was not accepted from here
			known: a credential that was accepted lately passes as long as there are looks
			connections: 0 open of 200, 0 of them before login of 30, 0 new of 60/12s
			source: 1 of 10 denials spent, 1 held, full again in 1m0s, 0 of 10 looks spent, penalized
			network: 1 of 100 denials spent, 1 held, full again in 6s
			pair: 1 of 5 denials spent, 1 held, full again in 2m0s, 0 of 5 looks spent
			account: 1 of 10 denials spent, 1 held, full again in 6m0s, 0 of 100 looks spent
			spray: 0 passwords were denied at many accounts within 1h0m0s; strangers with one reach no backend
			now: waits 2s by rule source, then needs a global token (priority: penalized stranger)
			global: 200 of 200 tokens left, 120 reserved for the known; 0 known and 0 strangers wait
		`},
		{"198.51.100.1", "u", `
			known: the account was accepted from this source
			known: a credential that was accepted lately passes as long as there are looks
			connections: 0 open of 200, 0 of them before login of 30, 0 new of 60/12s
			source: 0 of 10 denials spent, 0 held, 0 of 10 looks spent (does not apply)
			network: 0 of 100 denials spent, 0 held (does not apply)
			pair: 0 of 5 denials spent, 0 held, 0 of 5 looks spent
			account: 1 of 10 denials spent, 1 held, full again in 6m0s, 0 of 100 looks spent (does not apply)
			spray: 0 passwords were denied at many accounts within 1h0m0s; strangers with one reach no backend
			now: passes, then needs a global token (priority: known)
			global: 200 of 200 tokens left, 120 reserved for the known; 0 known and 0 strangers wait
		`},
		{"192.0.9.1", "v", `
			address: exempt from connect, source, network and pair
			known: the account was not accepted from here
			connections: 0 open of any number, 0 of them before login of 30, 0 new of 60/12s
			source: 0 of 10 denials spent, 0 held, 0 of 10 looks spent (does not apply)
			network: 0 of 100 denials spent, 0 held (does not apply)
			pair: 0 of 5 denials spent, 0 held, 0 of 5 looks spent (does not apply)
			account: 0 of 10 denials spent, 0 held, 0 of 100 looks spent
			spray: 0 passwords were denied at many accounts within 1h0m0s; strangers with one reach no backend
			now: passes, then needs a global token (priority: stranger)
			global: 200 of 200 tokens left, 120 reserved for the known; 0 known and 0 strangers wait
		`},
	} {
		if tc.account == "v" {
			p.Open = 0
			if err := sr.SetPolicy(start, p); err != nil {
				t.Fatal(err)
			}
		}
		got := sr.Explain(start, netip.MustParseAddr(tc.addr), tc.account)
		if want := strings.ReplaceAll(strings.TrimSpace(tc.want), "\t", "") + "\n"; got != want {
			t.Errorf("%s %s:\n%swant\n%s", tc.addr, tc.account, got, want)
		}
	}
	if s := sr.Stats(start); s.Sources != 1 {
		t.Errorf("%+v: Explain added entries", s)
	}
}

func TestExplainRefusals(t *testing.T) {
	p := defaultPolicy()
	p.Source, p.Global = Rate{1, 60_000_000_000}, Rate{}
	sr := runScript(t, p, `
		0s  ask a 192.0.2.1 u/1
		0s  denied a
	`)
	got := sr.Explain(start, netip.MustParseAddr("192.0.2.1"), "u")
	for _, want := range []string{"now: refused by rule source\n", "global: off\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p.Global = Rate{10, 1_000_000_000}
	if err := sr.SetPolicy(start, p); err != nil {
		t.Fatal(err)
	}
	if got, want := sr.Explain(start, netip.MustParseAddr("192.0.2.1"), "u"), "nothing is reserved until"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
