package watch

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postern/limiter/watch/internal/codec"
)

// watches are the watches of some gateways.
type watches []*Watch

// newWatches returns the watches of n gateways that share their ticks from Monday on.
func newWatches(n int) (all watches) {
	for range n {
		w := New(Config{Location: monday.Location()})
		w.Tick(monday.Add(-2 * tick))
		w.TakeTick()
		w.Tick(monday)
		w.TakeTick()
		all = append(all, w)
	}
	return all
}

// exchange ends the tick at t and gives each watch the ticks of the others.
func (all watches) exchange(tb testing.TB, t time.Time) (readings []Reading) {
	tb.Helper()
	for _, w := range all {
		readings = append(readings, w.Tick(t))
	}
	for i, from := range all {
		data := from.TakeTick()
		if len(data) == 0 || len(data) > tickSize {
			tb.Fatalf("a tick of %d octets", len(data))
		}
		for k, to := range all {
			if k == i {
				continue
			}
			if err := to.AddTick(t, data); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return readings
}

// guessed is an attempt of a stranger that is denied, from the network and the host with these numbers.
func guessed(network uint32, host byte, account string) Attempt {
	a := Attempt{Account: account, Outcome: Denied, Credential: uint64(network)<<8 | uint64(host) | 1<<40, Rule: "network", Waited: time.Second}
	a.Source, a.Network = blocks(network, host)
	return a
}

// TestGatewaysSeeTheSum: each gateway has the attempts, networks and sessions of all in its minutes, and nothing twice.
func TestGatewaysSeeTheSum(t *testing.T) {
	all, now, sums := newWatches(3), monday, make([]Minute, 3)
	for range 12 {
		for i, w := range all {
			for n := range uint32(i + 1) {
				w.Attempt(now, guessed(n, byte(i), "kari"))
				w.Attempt(now, Attempt{Outcome: Accepted, Known: true, Greeting: time.Second})
				w.Opened(now)
			}
			w.Closed(now)
		}
		now = now.Add(tick)
		for i, r := range all.exchange(t, now) {
			for _, m := range r.Minutes {
				sums[i].Add(m)
			}
		}
	}
	for i, w := range all {
		sum := sums[i]
		last, _ := w.Partial(now)
		sum.Add(last)
		if sum.Stranger.Denied != 72 || sum.Known.Accepted != 72 || sum.Opened != 72 || sum.Closed != 36 || sum.Users.Good != 72 || sum.Users.Greeted.total() != 72 {
			t.Errorf("gateway %d: got %+v, want 72 of each and 36 closed", i, sum)
		}
		if sum.Networks > 6 { // a network at two gateways is one, and repeated guesses count once
			t.Errorf("gateway %d: got %d networks", i, sum.Networks)
		}
	}
}

// TestGatewaysShareHours: the lists of an hour are of the whole site, with accounts that a network attacked at one gateway
// and that were accepted from it at another.
func TestGatewaysShareHours(t *testing.T) {
	all, now := newWatches(2), monday
	for n := range uint32(300) { // more than are listed: one in two or three is
		all[0].Attempt(now, guessed(7, byte(n), fmt.Sprint("user", n)))
	}
	all[0].habits.hours = abuseHours
	for range abuseFloor + 5 {
		all[0].Attempt(now, Attempt{Account: "often", Outcome: Accepted, Known: true, Network: netip.MustParsePrefix("10.0.0.0/24")})
	}
	all.exchange(t, now.Add(tick))
	stolen := guessed(7, 1, "stolen")
	stolen.Outcome, stolen.Rule = Accepted, ""
	all[1].Attempt(now.Add(tick), stolen)
	all.exchange(t, now.Add(2*tick))
	for i, w := range all {
		_, h := w.Partial(now.Add(2 * tick))
		if len(h.Networks) != 1 || h.Networks[0].Denials != 300 || len(h.Sources) == 0 || h.Distinct.Networks.Count() != 1 {
			t.Errorf("gateway %d: networks %+v", i, h.Networks)
		}
		if n := h.Distinct.Accounts.Count(); n < 270 || n > 330 {
			t.Errorf("gateway %d: %d accounts, want about 300", i, n)
		}
		if len(h.Rules) != 1 || h.Rules[0].StrangerWaited != 300 || h.Rules[0].Longest != time.Second || h.Rules[0].First.IsZero() {
			t.Errorf("gateway %d: rules %+v", i, h.Rules)
		}
		if len(h.Accepted) != 1 || h.Accepted[0].Account != "stolen" || h.Accepted[0].Time.IsZero() {
			t.Errorf("gateway %d: accepted %+v", i, h.Accepted)
		}
		if len(h.Abused) != 1 || h.Abused[0].Account != "often" {
			t.Errorf("gateway %d: abused %+v", i, h.Abused)
		}
	}
}

// TestGatewaysFindFaultTogether: a password database that refuses some users is found although each gateway sees fewer of
// them than it takes, and it is not found without the others.
func TestGatewaysFindFaultTogether(t *testing.T) {
	for _, c := range []struct {
		gateways int
		want     bool
	}{{3, true}, {1, false}} {
		all, now := newWatches(c.gateways), monday
		found := make([]bool, c.gateways)
		for n := range 30 {
			for i, w := range all {
				for user := range 20 {
					a := Attempt{Account: fmt.Sprint(i, "-", user), Known: true, Worked: true, Credential: 1, Outcome: Accepted}
					if user < 5 && n > 10 {
						a.Outcome = Denied
					}
					w.Attempt(now, a)
				}
			}
			now = now.Add(tick)
			for i, r := range all.exchange(t, now) {
				found[i] = found[i] || r.State.AuthFault
			}
		}
		for i, fault := range found {
			if fault != c.want {
				t.Errorf("gateway %d of %d: fault %v", i, c.gateways, fault)
			}
		}
	}
}

// TestGatewaysCountQuietNetworksTogether: a network that is quiet at each of two gateways is not if it is not at both.
func TestGatewaysCountQuietNetworksTogether(t *testing.T) {
	all, now := newWatches(2), monday.Add(tick)
	all.exchange(t, now) // 10 min begin
	for i, w := range all {
		for n := range uint32(100) {
			w.Attempt(now, guessed(n+uint32(1000*i), 1, "kari"))
		}
		for host := range byte(sprayQuiet) { // six in all
			w.Attempt(now, guessed(5000, host, "kari"))
		}
	}
	all.exchange(t, now.Add(tick))
	for i, w := range all {
		if w.spray.found != 200 {
			t.Errorf("gateway %d: %v quiet networks, want 200", i, w.spray.found)
		}
	}
}

// TestAbuseAtAnotherGateway is an alarm at all of them, until it ends there.
func TestAbuseAtAnotherGateway(t *testing.T) {
	all, now := newWatches(2), monday
	all[0].habits.hours = abuseHours
	for n := range 3 * abusedFloor {
		for range abuseFloor + 1 {
			all[0].Attempt(now, Attempt{Account: fmt.Sprint(n), Outcome: Accepted, Known: true, Usual: true})
		}
	}
	var readings []Reading
	for range 4 {
		now = now.Add(tick)
		readings = all.exchange(t, now)
	}
	for i, r := range readings {
		s := r.State
		if !s.AccountAbuse || s.Abused != 3*abusedFloor {
			t.Errorf("gateway %d: abuse %v of %d accounts", i, s.AccountAbuse, s.Abused)
		}
	}
	for range 6 {
		now = now.Add(tick)
		readings[1] = all[1].Tick(now)
	}
	if readings[1].State.AccountAbuse {
		t.Error("the alarm of a gateway that has left remains")
	}
}

// TestTicksAreBounded: a flood from more networks than fit makes a tick of 32 KB, with all suspects in it.
func TestTicksAreBounded(t *testing.T) {
	const n = 10_000
	all := newWatches(2)
	for i := range n {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, byte(i >> 8), byte(i), 1})
		a := Attempt{Account: strings.Repeat("å", 40), Outcome: Denied, Credential: uint64(i + 1), Source: netip.PrefixFrom(addr, 64), Network: netip.PrefixFrom(addr, 48).Masked()}
		all[0].Attempt(monday, a)
		all[0].Attempt(monday, Attempt{Account: fmt.Sprint(i), Outcome: Outcome(1 + i%2), Worked: true, Known: true, Credential: 1})
		all[0].Attempt(monday, Attempt{Account: fmt.Sprint(i), Outcome: Accepted, Known: true, Credential: 1})
	}
	all.exchange(t, monday.Add(tick))
	o := all[1].others
	listed, sum := len(o.networks), o.beyond.guesses
	for _, s := range o.networks {
		sum += s.guesses
	}
	if sum != n || listed+o.more != n || listed < 500 {
		t.Errorf("got %d suspects of %d networks, %d of them listed; want %d of as many, and 500 listed", sum, listed+o.more, listed, n)
	}
	observed := o.observation(1, &pace{}, func(netip.Prefix) uint64 { return 1 })
	if got := observed.rates[ofNetworks]; got != n {
		t.Errorf("%v networks observed", got)
	}
	var size int
	all[0].Tick(monday.Add(2 * tick))
	if size = len(all[0].TakeTick()); size > 100 {
		t.Errorf("an idle tick has %d octets", size)
	}
}

// TestTicksOfOtherVersions are refused, also those that are cut; octets after the last field are ignored.
func TestTicksOfOtherVersions(t *testing.T) {
	all := newWatches(2)
	all[0].Attempt(monday, guessed(1, 1, "kari"))
	all[0].Tick(monday.Add(tick))
	data := all[0].TakeTick()
	if len(all[0].TakeTick()) != 0 {
		t.Error("a tick is returned twice")
	}
	changed := append([]byte{9}, data[1:]...)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"none": {nil, "no octets"}, "a later version": {changed, "got version 9, want 1"}, "cut": {data[:len(data)-1], "too early"},
		"too long": {append(bytes.Clone(data), make([]byte, tickSize)...), "at most 32768"},
	} {
		if err := all[1].AddTick(monday.Add(tick), c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if err := all[1].AddTick(monday.Add(tick), append(bytes.Clone(data), "later fields"...)); err != nil || all[1].others.stranger.Denied != 1 {
		t.Errorf("got %v, %+v", err, all[1].others)
	}
	all[1].Tick(monday.Add(2 * time.Minute))
	before := all[1].others
	if err := all[1].AddTick(monday.Add(59*time.Second), data); err != nil || all[1].others.stranger != before.stranger {
		t.Errorf("an old tick: %v, %+v", err, all[1].others.stranger)
	}
}

// TestPartOfTheSite: what is expected by a gateway that sees a part of the site, as a share of what was learned.
func TestPartOfTheSite(t *testing.T) {
	logins := func(n float64) (r rates) { r[ofKnown] = n; return r }
	for name, c := range map[string]struct {
		view             view
		recent, expected float64
		want             float64
	}{
		"the whole site":                        {view{whole: true}, 10, 100, 1},
		"alone with a third":                    {view{true, true, 1.0 / 3}, 30, 100, 1.0 / 3},
		"alone, and clients of others come":     {view{true, true, 1.0 / 3}, 80, 100, 0.8},
		"alone, and more than ever":             {view{true, true, 1.0 / 3}, 300, 100, 1},
		"alone, nothing expected":               {view{true, true, 1.0 / 3}, 30, 0, 1.0 / 3},
		"has learned its part, meets the other": {view{false, false, 0.25}, 100, 25, 4},
	} {
		if got := c.view.part(logins(c.recent), logins(c.expected)); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestWholeSiteIsKept: a snapshot says that it is of the whole site. It replaces what a gateway has learned alone, but not
// what is of the whole site too.
func TestWholeSiteIsKept(t *testing.T) {
	site, alone := New(Config{}), New(Config{})
	site.Assume(monday, Signals{Logins: 600, Suspects: 6, Networks: 6})
	alone.Assume(monday, Signals{Logins: 60, Suspects: 6, Networks: 6})
	alone.detector.view.whole = false
	if again := New(Config{}); again.Restore(monday, alone.Snapshot(monday)) != nil || again.detector.view.whole {
		t.Error("a snapshot of one gateway is restored as one of the site")
	}
	if err := alone.Merge(monday, site.Snapshot(monday)); err != nil || !alone.detector.view.whole {
		t.Fatalf("got %v, whole %v", err, alone.detector.view.whole)
	}
	if got := alone.detector.baseline.week[0][ofLogins]; got != 100 {
		t.Errorf("got %v logins in a tick, want those of the site", got)
	}
	again := New(Config{})
	if err := again.Restore(monday, alone.Snapshot(monday)); err != nil || !again.detector.view.whole {
		t.Errorf("restored: %v, whole %v", err, again.detector.view.whole)
	}
}

// TestImportOfFormerVersions: a process of before there were other gateways, or of before TLS fingerprints were counted, hands
// over to this one.
func TestImportOfFormerVersions(t *testing.T) {
	for version := 1; version < exportVersion; version++ {
		w := New(Config{})
		w.Attempt(monday, Attempt{Outcome: Denied})
		later := codec.Encoder(nil, w.location)
		if version < 2 {
			w.codeSharing(later)
		}
		w.codeJA4(later)
		data := bytes.Replace(w.Export(monday), []byte(exportHeader(exportVersion)), []byte(exportHeader(version)), 1)
		with := New(Config{})
		if err := with.Import(monday, withChecksum(data[:len(data)-len(later.Data())])); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if m, _ := with.Partial(monday); m.Stranger.Denied != 1 {
			t.Errorf("version %d: got %+v", version, m)
		}
	}
}

// FuzzAddTick: no tick makes AddTick or what follows it panic, and a tick that is accepted is kept within its bounds.
func FuzzAddTick(f *testing.F) {
	all := newWatches(2)
	all[0].habits.hours = abuseHours
	for n := range uint32(200) {
		all[0].Attempt(monday, guessed(n%20, byte(n), fmt.Sprint(n)))
		all[0].Attempt(monday, Attempt{Account: "often", Outcome: Accepted, Known: true, Worked: n%2 == 0, Credential: 1})
	}
	all[0].Tick(monday.Add(tick))
	f.Add(all[0].TakeTick())
	all[0].Tick(monday.Add(2 * tick))
	f.Add(all[0].TakeTick())
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, err := decodeTick(data); err == nil {
			if again := k.encode(); len(again) > tickSize {
				t.Fatalf("encoded again in %d octets", len(again))
			}
			for _, g := range k.guesses {
				if !utf8.ValidString(g.account) {
					t.Fatalf("name %q", g.account)
				}
			}
		}
		w := newWatches(1)[0]
		if w.AddTick(monday, data) != nil {
			return
		}
		w.Tick(monday.Add(2 * tick))
		w.Partial(monday.Add(2 * tick))
		w.Snapshot(monday.Add(2 * tick))
	})
}
