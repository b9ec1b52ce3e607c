package limiter

import (
	"net/netip"
	"testing"
	"time"
)

// valid30Days returns the validity at d after start under the default KnownTTL.
func valid30Days(d string) validity { return validityAt(at(d), 720*time.Hour) }

// accepted learns a login with f at d after start.
func (n *knownTable) accepted(d string, account key, m fingerprints) {
	n.learn(at(d), account, m, valid30Days(d), 0, 1000)
}

// trusted returns the trust after a look at the credential.
func (n *knownTable) trusted(account key, f fingerprints, v validity) trust {
	t, m := n.lookup(account, f, v)
	t.credential = m.known
	return t
}

func TestKnown(t *testing.T) {
	var n knownTable
	alice, home := key{1, 1}, fingerprints{credential: 7, source: 70, network: 700}
	if s := n.trusted(alice, home, valid30Days("0s")); s != (trust{}) {
		t.Errorf("known before any accepted login: %+v", s)
	}
	n.accepted("0s", alice, home)
	for _, tc := range []struct {
		at   string
		m    fingerprints
		want trust
	}{
		{"0s", home, trust{source: true, network: true, credential: true, secrets: true}},
		{"0s", fingerprints{credential: 7, source: 71, network: 701}, trust{credential: true, secrets: true}}, // by credential from elsewhere
		{"0s", fingerprints{credential: 8, source: 70, network: 700}, trust{source: true, network: true, secrets: true}},
		{"0s", fingerprints{credential: 8, source: 71, network: 700}, trust{network: true, secrets: true}},
		{"0s", fingerprints{}, trust{secrets: true}},
		{"719h", home, trust{source: true, network: true, credential: true, secrets: true}},
		{"720h", home, trust{}},
	} {
		if s := n.trusted(alice, tc.m, valid30Days(tc.at)); s != tc.want {
			t.Errorf("%s %v: %+v, want %+v", tc.at, tc.m, s, tc.want)
		}
	}
	if s := n.trusted(key{1, 2}, home, valid30Days("0s")); s != (trust{}) {
		t.Errorf("another account is known as well: %+v", s)
	}
}

// The password database may be at fault: the credential that was accepted last stays known for a day while it is denied.
// One that was accepted before another is forgotten at once.
func TestKnownCredentialDenied(t *testing.T) {
	const old, changed = 7, 8
	account := key{1, 1}
	type step struct {
		at     string
		f      uint16
		denied bool
	}
	for name, tc := range map[string]struct {
		steps        []step
		at           string
		old, changed match
	}{
		"accepted":                 {[]step{{"0s", old, false}}, "1h", match{known: true, latest: true}, match{}},
		"denied":                   {[]step{{"0s", old, false}, {"1h", old, true}}, "1h", match{known: true, latest: true}, match{}},
		"denied, 23 h later again": {[]step{{"0s", old, false}, {"1h", old, true}, {"24h", old, true}}, "24h", match{known: true, latest: true}, match{}},
		"denied, 24 h later again": {[]step{{"0s", old, false}, {"1h", old, true}, {"25h", old, true}}, "25h", match{former: true}, match{}},
		"the fault is over": {
			[]step{{"0s", old, false}, {"1h", old, true}, {"2h", old, false}, {"26h", old, true}},
			"26h", match{known: true, latest: true}, match{},
		},
		"another accepted":             {[]step{{"0s", old, false}, {"1h", changed, false}}, "1h", match{known: true, former: true}, match{known: true, latest: true}},
		"another accepted, old denied": {[]step{{"0s", old, false}, {"1h", changed, false}, {"1h", old, true}}, "1h", match{former: true}, match{known: true, latest: true}},
		"denied, then another accepted": {
			[]step{{"0s", old, false}, {"1h", old, true}, {"2h", changed, false}},
			"2h", match{former: true}, match{known: true, latest: true},
		},
		"changed and changed back": {
			[]step{{"0s", old, false}, {"1h", old, true}, {"2h", changed, false}, {"3h", changed, true}, {"4h", old, false}},
			"4h", match{known: true, latest: true}, match{former: true},
		},
	} {
		var n knownTable
		for _, s := range tc.steps {
			if s.denied {
				n.credentialDenied(account, s.f, hourOf(at(s.at)))
			} else {
				n.accepted(s.at, account, fingerprints{credential: s.f})
			}
		}
		for f, want := range map[uint16]match{old: tc.old, changed: tc.changed} {
			if _, m := n.lookup(account, fingerprints{credential: f}, valid30Days(tc.at)); m != want {
				t.Errorf("%s: credential %d: got %+v, want %+v", name, f, m, want)
			}
		}
	}
}

// A user who logs in from everywhere evicts their own fingerprints only.
func TestFingerprintsAreBoundedByAccount(t *testing.T) {
	var n knownTable
	honest, insider := key{1, 1}, key{65, 1} // in the same shard
	home := fingerprints{credential: 7, source: 70, network: 700}
	n.accepted("0s", honest, home)
	for i := range 100_000 {
		n.accepted("1h", insider, fingerprints{credential: uint16(i + 1), source: uint32(i + 1000), network: uint32(i + 1000)})
	}
	if s := n.trusted(honest, home, valid30Days("1h")); s != (trust{source: true, network: true, credential: true, secrets: true}) {
		t.Errorf("the other account is %+v", s)
	}
	if s := n.trusted(insider, fingerprints{credential: 1, source: 1000, network: 1000}, valid30Days("1h")); s.known() {
		t.Errorf("the first address of the insider is still %+v", s)
	}
	if accounts, sources := n.count.Load(), len(n.sources.entries); accounts != 2 || sources != 1+sourcesKept {
		t.Errorf("%d accounts, %d sources", accounts, sources)
	}
}

func TestMoveToFront(t *testing.T) {
	list, when := make([]uint16, 3), make([]hour, 3)
	for i, step := range []struct {
		m, left uint16
		isNew   bool
		want    [3]uint16
	}{
		{5, 0, true, [3]uint16{5}},
		{6, 0, true, [3]uint16{6, 5}},
		{5, 0, false, [3]uint16{5, 6}},
		{7, 0, true, [3]uint16{7, 5, 6}},
		{6, 0, false, [3]uint16{6, 7, 5}},
		{8, 5, true, [3]uint16{8, 6, 7}},
	} {
		left, _, isNew := moveToFront(list, when, step.m, hour(i))
		if left != step.left || isNew != step.isNew || [3]uint16(list) != step.want || when[0] != hour(i) {
			t.Errorf("step %d: %d left, new %v, %v at %v", i, left, isNew, list, when)
		}
	}
	if remove(list, when, 6); [3]uint16(list) != [3]uint16{8, 7} {
		t.Errorf("without 6: %v", list)
	}
}

func TestKnownIsBounded(t *testing.T) {
	var n knownTable
	for i := range 5000 {
		n.accepted("0s", key{uint64(i), 0}, fingerprints{source: uint32(i + 1)})
	}
	if got := n.count.Load(); got != 1000 {
		t.Errorf("%d accounts, want 1000", got)
	}
	if !n.trusted(key{0, 0}, fingerprints{source: 1}, valid30Days("0s")).known() {
		t.Error("a flood of accounts evicted a known one")
	}
	// After KnownTTL, expired accounts are dropped as new ones are added.
	for i := range 1000 {
		n.accepted("721h", key{uint64(i), 1}, fingerprints{source: uint32(i + 10_000)})
	}
	rejected := 0
	for i := range 1000 {
		if !n.trusted(key{uint64(i), 1}, fingerprints{source: uint32(i + 10_000)}, valid30Days("721h")).known() {
			rejected++
		}
	}
	if rejected > 20 {
		t.Errorf("%d of 1000 accounts were rejected although others had expired", rejected)
	}
	if accounts, sources := n.count.Load(), len(n.sources.entries); accounts > 1000 || sources > 1000 {
		t.Errorf("%d accounts, %d sources", accounts, sources)
	}
}

func TestHourWraps(t *testing.T) {
	for _, tc := range []struct {
		h, now hour
		want   int
	}{{0, 0, 0}, {10, 15, 5}, {65_530, 4, 10}, {15, 10, 0}} { // the last: the clock was set back
		if got := tc.h.since(tc.now); got != tc.want {
			t.Errorf("from %d to %d: got %d hours, want %d", tc.h, tc.now, got, tc.want)
		}
	}
}

func TestKnownSource(t *testing.T) {
	p := defaultPolicy()
	p.Exempt = append(p.Exempt, Source(host(9)))
	l := newLimiter(t, p)
	for i, account := range []string{"u", "v"} {
		k := l.Ask(at("0s"), Attempt{Addr: host(i), Account: account})
		k.Settle(at("0s"), Accepted)
	}
	for i, want := range map[int]bool{0: true, 1: true, 2: false, 9: true} {
		if got := l.KnownSource(at("0s"), host(i)); got != want {
			t.Errorf("source %d: %v, want %v", i, got, want)
		}
	}
	if l.KnownSource(at("721h"), host(0)) {
		t.Error("a source is known after KnownTTL")
	}
}

// Known: by credential from anywhere, or by address. Near: the account was accepted from the same source or network.
// NetworkOnly: from the network, and by nothing else.
func TestNear(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	right, wrong := l.Credential("u", []byte("right")), l.Credential("u", []byte("wrong"))
	home, neighbour, abroad := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("198.51.100.1")
	k := l.Ask(at("0s"), Attempt{Addr: home, Account: "u", Credential: right})
	if v := k.Verdict(); v.Known || v.Near {
		t.Errorf("before: %+v", v)
	}
	k.Settle(at("0s"), Accepted)
	for _, tt := range []struct {
		addr                     netip.Addr
		credential               Credential
		known, near, networkOnly bool
	}{
		{home, right, true, true, false}, {home, wrong, true, true, false},
		{neighbour, right, true, true, false}, {neighbour, wrong, true, true, true},
		{abroad, right, true, false, false}, {abroad, wrong, false, false, false},
	} {
		k := l.Ask(at("1s"), Attempt{Addr: tt.addr, Account: "u", Credential: tt.credential})
		k.Enter(at("1s"), nil)
		if v := k.Verdict(); v.Known != tt.known || v.Near != tt.near {
			t.Errorf("%v: %+v", tt.addr, v)
		}
		if got := k.Traits(); got.NetworkOnly != tt.networkOnly || got.Worked != (tt.credential == right) {
			t.Errorf("%v: got %+v", tt.addr, got)
		}
		k.Settle(at("1s"), Void)
	}
}
