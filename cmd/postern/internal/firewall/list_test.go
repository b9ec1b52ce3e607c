package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"postern/limiter"
)

// began is when the tests begin.
var began = time.Date(2026, 3, 29, 8, 0, 0, 0, time.UTC)

// A fixture is a list with what its guard says.
type fixture struct {
	*List
	now      time.Time
	known    map[netip.Addr]bool
	unlocked bool // the operator has ended the block
	networks map[Reason][]netip.Prefix
	pause    Reason
}

func newFixture() *fixture {
	f := &fixture{now: began, known: map[netip.Addr]bool{}}
	f.List = New(Guard{
		Known:    func(_ time.Time, addr netip.Addr) bool { return f.known[addr] },
		Blocked:  func(netip.Addr) bool { return !f.unlocked },
		Networks: func() map[Reason][]netip.Prefix { return f.networks },
		Pause:    func(time.Time) Reason { return f.pause },
	})
	return f
}

// refuse has addr refused n times in each of some minutes, and updates the list after each.
func (f *fixture) refuse(addr string, rule limiter.Rule, minutes, n int) {
	for range minutes {
		for range n {
			f.Refused(f.now, netip.MustParseAddr(addr), rule, LoginCost)
		}
		f.pass(time.Minute)
	}
}

// pass updates the list as the gateway does, for a time.
func (f *fixture) pass(d time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(min(UpdateEvery*6, end.Sub(f.now)))
		f.Update(f.now)
	}
}

// listed are the names of the listed sources, the most costly first.
func (f *fixture) listed() (names []string) {
	for _, e := range f.Entries(f.now) {
		names = append(names, limiter.BlockName(e.Source))
	}
	return names
}

// expect compares what is listed.
func (f *fixture) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := f.listed(); !slices.Equal(got, want) {
		t.Errorf("got %q listed, want %q", got, want)
	}
	if n := f.Stats().Listed; n != len(want) {
		t.Errorf("got %d listed in Stats, want %d", n, len(want))
	}
}

// TestListsSourcesRefusedForMinutes, and none that was refused seldom, at once or by another rule.
func TestListsSourcesRefusedForMinutes(t *testing.T) {
	for name, tt := range map[string]struct {
		rule       limiter.Rule
		minutes, n int
		want       []string
	}{
		"source":             {limiter.RuleSource, 3, 10, []string{"192.0.2.1"}},
		"connect":            {limiter.RuleConnect, 3, 10, []string{"192.0.2.1"}},
		"blocked":            {limiter.RuleBlocked, 3, 10, []string{"192.0.2.1"}},
		"in two minutes":     {limiter.RuleSource, 2, 500, nil},
		"seldom":             {limiter.RuleSource, 9, 3, nil},
		"slowly":             {limiter.RuleSource, 60, 2, nil},
		"repeat":             {limiter.RuleRepeat, 3, 100, nil},
		"open":               {limiter.RuleOpen, 3, 100, nil},
		"account":            {limiter.RuleAccount, 3, 100, nil},
		"network":            {limiter.RuleNetwork, 3, 100, nil},
		"pair":               {limiter.RulePair, 3, 100, nil},
		"tarpit":             {limiter.RuleTarpit, 3, 100, nil},
		"max_connections":    {limiter.RuleMaxConnections, 3, 100, nil},
		"no rule":            {limiter.RuleNone, 3, 100, nil},
		"global, for nobody": {limiter.RuleGlobal, 3, 100, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.refuse("192.0.2.1", tt.rule, tt.minutes, tt.n)
			f.expect(t, tt.want...)
		})
	}
}

// TestNeverListed has a row for each source that must not be listed, and a source beside it that is.
// A source that is listed already is removed.
func TestNeverListed(t *testing.T) {
	prefix := netip.MustParsePrefix
	for name, tt := range map[string]struct {
		addr    string
		rule    limiter.Rule
		protect func(*fixture)
		reason  Reason
	}{
		"accepted login at any gateway": {"192.0.2.1", limiter.RuleSource, func(f *fixture) { f.known[netip.MustParseAddr("192.0.2.1")] = true }, ReasonKnown},
		"EXEMPT":                        {"192.0.2.1", limiter.RuleConnect, func(f *fixture) { f.networks = map[Reason][]netip.Prefix{ReasonExempt: {prefix("192.0.2.0/24")}} }, ReasonExempt},
		"one address of it in EXEMPT":   {"2001:db8::1", limiter.RuleConnect, func(f *fixture) { f.networks = map[Reason][]netip.Prefix{ReasonExempt: {prefix("2001:db8::ff/128")}} }, ReasonExempt},
		"mapped EXEMPT": {"192.0.2.1", limiter.RuleConnect, func(f *fixture) {
			f.networks = map[Reason][]netip.Prefix{ReasonExempt: {prefix("::ffff:192.0.2.0/120")}}
		}, ReasonExempt},
		"PROXY_FROM":           {"192.0.2.1", limiter.RuleConnect, func(f *fixture) { f.networks = map[Reason][]netip.Prefix{ReasonProxy: {prefix("192.0.2.1/32")}} }, ReasonProxy},
		"backend":              {"192.0.2.1", limiter.RuleConnect, func(f *fixture) { f.networks = map[Reason][]netip.Prefix{ReasonBackend: {prefix("192.0.2.1/32")}} }, ReasonBackend},
		"engine":               {"192.0.2.1", limiter.RuleConnect, func(f *fixture) { f.networks = map[Reason][]netip.Prefix{ReasonEngine: {prefix("192.0.2.1/32")}} }, ReasonEngine},
		"own address":          {"2001:db8::1", limiter.RuleConnect, func(f *fixture) { f.networks = map[Reason][]netip.Prefix{ReasonGateway: {prefix("2001:db8::1/128")}} }, ReasonGateway},
		"operator":             {"192.0.2.1", limiter.RuleSource, func(f *fixture) { f.networks = map[Reason][]netip.Prefix{ReasonOperator: {prefix("192.0.2.1/32")}} }, ReasonOperator},
		"block that was ended": {"192.0.2.1", limiter.RuleBlocked, func(f *fixture) { f.unlocked = true }, ReasonReleased},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			tt.protect(f)
			for range 3 {
				f.Refused(f.now, netip.MustParseAddr("198.51.100.9"), limiter.RuleSource, LoginCost)
				f.refuse("198.51.100.9", limiter.RuleSource, 1, 10)
				f.refuse(tt.addr, tt.rule, 1, 100)
			}
			f.expect(t, "198.51.100.9")
			if n := f.Stats().Withheld[tt.reason]; n != 1 {
				t.Errorf("got %d withheld because of %s, want 1", n, tt.reason)
			}
			f = newFixture()
			f.refuse(tt.addr, tt.rule, 3, 100)
			if len(f.listed()) != 1 {
				t.Fatalf("got %q listed, want %s as long as nothing protects it", f.listed(), tt.addr)
			}
			tt.protect(f)
			f.pass(UpdateEvery)
			f.expect(t)
		})
	}
}

// TestUnroutedAddressesAreNeverListed, whatever the guard says.
func TestUnroutedAddressesAreNeverListed(t *testing.T) {
	f := newFixture()
	for _, addr := range []string{"127.0.0.1", "::1", "fe80::1", "169.254.1.1", "0.0.0.0", "::", "224.0.0.1", "::ffff:127.0.0.1"} {
		f.refuse(addr, limiter.RuleSource, 3, 100)
	}
	f.Refused(f.now, netip.Addr{}, limiter.RuleSource, LoginCost)
	f.expect(t)
}

// TestNothingNewWhilePaused: what is listed stays, and ends by itself.
func TestNothingNewWhilePaused(t *testing.T) {
	for _, reason := range []Reason{ReasonHindered, ReasonLearning} {
		f := newFixture()
		f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
		f.pause = reason
		f.refuse("192.0.2.2", limiter.RuleSource, 3, 20)
		f.expect(t, "192.0.2.1")
		if n := f.Stats().Withheld[reason]; n != 1 {
			t.Errorf("got %d withheld, want 1", n)
		}
		f.pass(FirstTime)
		f.expect(t)
		f.pause = ""
		f.refuse("192.0.2.2", limiter.RuleSource, 3, 20)
		f.expect(t, "192.0.2.2")
	}
}

// TestIPv6IsListedBySlash64.
func TestIPv6IsListedBySlash64(t *testing.T) {
	f := newFixture()
	for i := range 30 {
		f.Refused(f.now.Add(time.Duration(i)*6*time.Second), netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i)), limiter.RuleConnect, ConnectCost)
	}
	f.pass(3 * time.Minute)
	f.expect(t, "2001:db8::/64")
	if _, ok := f.Find(f.now, netip.MustParseAddr("2001:db8::ffff:1")); !ok {
		t.Error("another address of the /64 is not found")
	}
	if _, ok := f.Find(f.now, netip.MustParseAddr("2001:db8:0:1::1")); ok {
		t.Error("an address of another /64 is found")
	}
}

// TestTimeDoublesWhileItGoesOn, up to a day, and begins anew after a break.
func TestTimeDoublesWhileItGoesOn(t *testing.T) {
	f := newFixture()
	want := FirstTime
	for range 12 {
		f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
		e, ok := f.Find(f.now, netip.MustParseAddr("192.0.2.1"))
		if got := e.Until.Sub(e.Listed); !ok || got != want {
			t.Fatalf("got %v, %v, want %v", got, ok, want)
		}
		f.now = e.Until.Add(-UpdateEvery)
		f.pass(2 * UpdateEvery)
		f.expect(t)
		want = min(2*want, LongestTime)
	}
	f.pass(LongestTime + time.Minute)
	if n := len(f.sources); n != 0 {
		t.Errorf("got %d sources remembered, want none", n)
	}
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	if e, _ := f.Find(f.now, netip.MustParseAddr("192.0.2.1")); e.Until.Sub(e.Listed) != FirstTime {
		t.Errorf("got %v after a break, want %v", e.Until.Sub(e.Listed), FirstTime)
	}
}

// TestListedTimeIsNotProlonged while refusals go on: a firewall may not be able to.
func TestListedTimeIsNotProlonged(t *testing.T) {
	f := newFixture()
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	before, _ := f.Find(f.now, netip.MustParseAddr("192.0.2.1"))
	f.refuse("192.0.2.1", limiter.RuleSource, 5, 100)
	if after, _ := f.Find(f.now, netip.MustParseAddr("192.0.2.1")); after.Until != before.Until || after.ID != before.ID {
		t.Errorf("got %+v, want %+v", after, before)
	}
}

// TestMostCostlyAreListedFirst if there is no room for all, and the table is bounded.
func TestMostCostlyAreListedFirst(t *testing.T) {
	f := newFixture()
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) }
	const sources = EntriesMax + 500
	for minute := range 3 {
		for i := range sources {
			for range 10 {
				cost := ConnectCost
				if i >= 500 {
					cost = LoginCost
				}
				f.Refused(f.now.Add(time.Duration(minute)*time.Minute), addr(i), limiter.RuleConnect, cost)
			}
		}
	}
	f.now = f.now.Add(3 * time.Minute)
	f.Update(f.now)
	if s := f.Stats(); s.Listed != EntriesMax || s.Withheld[ReasonFull] != 500 {
		t.Errorf("got %d listed, %d withheld; want %d, 500", s.Listed, s.Withheld[ReasonFull], EntriesMax)
	}
	for i := range 500 {
		if _, ok := f.Find(f.now, addr(i)); ok {
			t.Fatal("one of the least costly is listed")
		}
	}
	for i := range sourcesMax {
		f.Refused(f.now, netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}), limiter.RuleSource, ConnectCost)
	}
	if n := len(f.sources); n > sourcesMax {
		t.Errorf("got %d sources, want at most %d", n, sourcesMax)
	}
	if n := f.Stats().Listed; n != EntriesMax || len(f.Entries(f.now)) != EntriesMax {
		t.Errorf("got %d listed after a flood of sources, want %d", n, EntriesMax)
	}
}

// TestUsersAndReleasedNetworksAreRemovedAtOnce.
func TestUsersAndReleasedNetworksAreRemovedAtOnce(t *testing.T) {
	f := newFixture()
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1"} {
		for i := range 30 {
			f.Refused(f.now.Add(time.Duration(i)*6*time.Second), netip.MustParseAddr(addr), limiter.RuleSource, LoginCost)
		}
	}
	f.pass(3 * time.Minute)
	f.expect(t, "192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1")
	f.Accepted(f.now, netip.MustParseAddr("192.0.2.1"))
	f.expect(t, "192.0.2.2", "192.0.2.3", "198.51.100.1")
	f.Release(f.now, netip.MustParsePrefix("192.0.2.0/24"))
	f.expect(t, "198.51.100.1")
	f.Release(f.now, netip.MustParsePrefix("198.51.100.1/32"))
	f.expect(t)
	f.Release(f.now, netip.Prefix{})
}

// TestModeBeginsAnew: what was listed in one mode is not in the other.
func TestModeBeginsAnew(t *testing.T) {
	f := newFixture()
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	f.SetObserve(f.now, true)
	f.expect(t)
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	if e, ok := f.Find(f.now, netip.MustParseAddr("192.0.2.1")); !ok || !e.Observe || !f.Stats().Observe {
		t.Errorf("got %+v, %v", e, ok)
	}
	f.SetObserve(f.now, true)
	f.expect(t, "192.0.2.1")
	f.SetObserve(f.now, false)
	f.expect(t)
}

// TestExportGoesOn in another list: with the same entries, IDs and times.
func TestExportGoesOn(t *testing.T) {
	f := newFixture()
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	f.pass(FirstTime)
	f.refuse("192.0.2.2", limiter.RuleConnect, 3, 20)
	data, err := f.Export()
	if err != nil {
		t.Fatal(err)
	}
	next := newFixture()
	next.now = f.now
	if err := next.Import(f.now, data); err != nil {
		t.Fatal(err)
	}
	if got, want := next.Entries(f.now), f.Entries(f.now); len(got) != 1 || got[0].Source != want[0].Source || got[0].ID != want[0].ID || !got[0].Until.Equal(want[0].Until) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	next.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	if e, _ := next.Find(next.now, netip.MustParseAddr("192.0.2.1")); e.Until.Sub(e.Listed) != 2*FirstTime || e.ID <= 2 {
		t.Errorf("got %+v, want an ID above 2 and twice %v", e, FirstTime)
	}
	for _, wrong := range []string{`{`, `{"Sources":[{"Source":"192.0.2.0/24"}]}`, `{"Sources":[{"Source":"192.0.2.1/32"},{"Source":"192.0.2.1/32"}]}`} {
		if err := newFixture().Import(f.now, []byte(wrong)); err == nil {
			t.Errorf("%s: got no error", wrong)
		}
	}
}

// TestClockGoesBack: refusals count in the latest minute until the clock has reached it again.
func TestClockGoesBack(t *testing.T) {
	f := newFixture()
	f.refuse("192.0.2.1", limiter.RuleSource, 1, 10)
	f.now = f.now.Add(-time.Hour)
	f.refuse("192.0.2.1", limiter.RuleSource, 5, 10)
	f.expect(t)
	f.now = began.Add(2 * time.Minute)
	f.refuse("192.0.2.1", limiter.RuleSource, 1, 10)
	f.expect(t, "192.0.2.1")
}
