package limiter

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func inspect(l *Limiter, t time.Time, addr, account string) Inspection {
	a := Attempt{Account: account}
	if addr != "" {
		a.Addr = netip.MustParseAddr(addr)
	}
	return l.Inspect(t, a)
}

func TestInspectBuckets(t *testing.T) {
	p := defaultPolicy()
	p.Source, p.Network, p.Pair, p.Account = Rate{2, time.Minute}, Rate{10, 10 * time.Minute}, Rate{2, time.Hour}, Rate{4, time.Hour}
	p.Attack, p.Open, p.OpenPrelogin = true, 20, 0
	sr := runScript(t, p, `
		-49h  ask k 192.0.2.7 u/x      = pass none
		-49h  accepted k
		0s    connect a 192.0.2.1      = pass none
		0s    connect b 192.0.2.1      = pass none
		0s    login b
		0s    ask a 192.0.2.1 v/1      = pass none
		0s    denied a
		0s    ask b 192.0.2.1 v/2      = wait 2s source   # not settled
		0s    ask c 198.51.100.1 v/3   = wait 2s account
		0s    denied c
	`)
	for _, tt := range []struct {
		addr, account string
		want          []Bucket
	}{
		{"192.0.2.1", "", []Bucket{
			{RuleSource, "source", 2, 1, 1, 30 * time.Second, 2, 0},
			{RuleNetwork, "network", 10, 1, 1, time.Minute, 0, 0},
		}},
		{"", "v", []Bucket{{RuleAccount, "account", 4, 2, 1, 30 * time.Minute, 40, 0}}},
		{"192.0.2.1", "v", []Bucket{
			{RuleSource, "source", 2, 1, 1, 30 * time.Second, 2, 0},
			{RuleNetwork, "network", 10, 1, 1, time.Minute, 0, 0},
			{RulePrefix, "prefix", 10, 1, 1, time.Minute, 0, 0},
			{RulePair, "source on the account", 2, 1, 1, 30 * time.Minute, 2, 0},
			{RuleAccount, "account", 4, 2, 1, 30 * time.Minute, 40, 0},
		}},
		{"192.0.2.1", "u", []Bucket{ // near by its network
			{RulePair, "network on the account", 2, 0, 0, 0, 2, 0},
			{RuleSource, "source", 2, 1, 1, 30 * time.Second, 2, 0},
			{RuleNetwork, "network", 10, 1, 1, time.Minute, 0, 0},
			{RulePrefix, "prefix", 10, 1, 1, time.Minute, 0, 0},
			{RulePair, "source on the account", 2, 0, 0, 0, 2, 0},
			{RuleAccount, "account", 4, 0, 0, 0, 40, 0},
		}},
		{"2001:db8::1", "w", []Bucket{
			{RuleSource, "source", 2, 0, 0, 0, 2, 0},
			{RuleNetwork, "network", 10, 0, 0, 0, 0, 0},
			{RulePrefix, "prefix", 10, 0, 0, 0, 0, 0},
			{RulePrefix, "prefix", 40, 0, 0, 0, 0, 0},
			{RulePair, "source on the account", 2, 0, 0, 0, 2, 0},
			{RuleAccount, "account", 4, 0, 0, 0, 40, 0},
		}},
	} {
		before := sr.Stats(start)
		if got := inspect(sr.Limiter, start, tt.addr, tt.account); !slices.Equal(got.Buckets, tt.want) {
			t.Errorf("buckets of %q and %q:\ngot  %+v\nwant %+v", tt.addr, tt.account, got.Buckets, tt.want)
		}
		if sr.Stats(start) != before {
			t.Errorf("inspecting %q and %q changed the limiter", tt.addr, tt.account)
		}
	}
	v := inspect(sr.Limiter, start, "192.0.2.1", "")
	want := Bucket{RuleConnect, "source", 60, 2 - 1, 0, 200 * time.Millisecond, 0, 0}
	if v.Open != 2 || v.Prelogin != 1 || v.OpenMax != 20 || v.PreloginMax != 0 || v.Connect != want || v.Growth != 1 || v.KnownSource {
		t.Errorf("connections: got %+v", v)
	}
}

func TestInspectKnowledge(t *testing.T) {
	p := defaultPolicy()
	p.Exempt = networks("203.0.113.0/24")
	sr := runScript(t, p, `
		-30h  ask a 192.0.2.1 u/x@d     = pass none
		-30h  accepted a
		-5h   ask b 192.0.2.9 u/y       = pass none
		-5h   accepted b
		-1h   ask c 192.0.2.9 u/y       = pass none
		-1h   denied c
		0s    lists 198.51.100.0/24,203.0.113.0/24 198.51.100.128/25
	`)
	last := start.Add(-5 * time.Hour).Truncate(time.Hour)
	want := AccountKnowledge{Known: true, Credentials: 2, Sources: 2, Networks: 1, Devices: 1, Last: last, CredentialDenied: true}
	got := inspect(sr.Limiter, start, "192.0.2.200", "U")
	if got.Account.Last = got.Account.Last.UTC(); got.Account != want {
		t.Errorf("account: got %+v, want %+v", got.Account, want)
	}
	if got.NearSource || !got.NearNetwork || got.KnownSource || got.Growth != 1 {
		t.Errorf("address in the network of a user: got %+v", got)
	}
	if got := inspect(sr.Limiter, start, "192.0.2.9", "u"); !got.NearSource || !got.KnownSource {
		t.Errorf("address of a user: got %+v", got)
	}
	if got := inspect(sr.Limiter, start.Add(2*p.KnownTTL), "192.0.2.9", "u"); got.Account != (AccountKnowledge{}) {
		t.Errorf("after KnownTTL: got %+v", got.Account)
	}
	if got := inspect(sr.Limiter, start, "192.0.2.9", "w"); got.Account != (AccountKnowledge{}) || got.NearSource {
		t.Errorf("another account: got %+v", got)
	}
	blocked := Verdict{Action: Refuse, Rule: RuleBlocked}
	if got := inspect(sr.Limiter, start, "198.51.100.1", ""); !got.Blocked || got.Allowed || got.Stranger != blocked || got.Known != blocked {
		t.Errorf("blocked: got %+v", got)
	}
	if got := inspect(sr.Limiter, start, "198.51.100.200", ""); got.Blocked || !got.Allowed || got.Growth != maxGrowth || !got.KnownSource || len(got.Buckets) != 0 {
		t.Errorf("allowed: got %+v", got)
	}
	if got := inspect(sr.Limiter, start, "203.0.113.1", "u"); !got.Blocked || !got.Exempt || len(got.Buckets) != 1 {
		t.Errorf("exempt: got %+v", got)
	}
}

// BenchmarkInspect is what one row of a table for operators costs.
func BenchmarkInspect(b *testing.B) {
	l := newLimiter(b, defaultPolicy())
	a := Attempt{Addr: netip.MustParseAddr("192.0.2.1"), Account: "a"}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		a.Credential[3] = byte(rnd.Uint32())
		logIn(l, start, a, Denied)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Inspect(start, a)
	}
}
