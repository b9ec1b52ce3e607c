package notices

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/geoip"
	"postern/cmd/postern/internal/notify"
	"postern/cmd/postern/internal/testbed"
)

// noon is when the tests begin.
var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// The places of the tests. The MMDB files have the first three.
var (
	norway  = netip.MustParseAddr("203.0.113.5")
	brazil  = netip.MustParseAddr("198.51.100.7")
	kenya   = netip.MustParseAddr("2001:db8:254::1")
	unknown = netip.MustParseAddr("192.0.2.7")
)

// newManager returns a Manager with the files of the tests, and its log.
func newManager(t *testing.T, change func(*Config)) (*Manager, *testbed.Log) {
	t.Helper()
	log := testbed.NewLog()
	c := Config{Key: [32]byte{1}, Kinds: notify.NoticeKinds(), Gateway: "mx1", Max: 100 * shardCount, Log: eventlog.New(log, "text", 0).Logger}
	var err error
	if c.Countries, err = geoip.Open(CountryFile(t)); err != nil {
		t.Fatal(err)
	}
	if c.Systems, err = geoip.Open(SystemFile(t)); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	m, err := New(noon, c)
	if err != nil {
		t.Fatal(err)
	}
	return m, log
}

// kinds returns the kinds of all notices that wait.
func (m *Manager) kinds() (kinds []notify.NoticeKind) {
	for _, n := range m.queue.all() {
		kinds = append(kinds, n.Kind)
	}
	return kinds
}

// want requires notices of these kinds, in this order.
func (m *Manager) want(t *testing.T, kinds ...notify.NoticeKind) {
	t.Helper()
	if got := m.kinds(); !slices.Equal(got, kinds) {
		t.Errorf("got %q, want %q", got, kinds)
	}
}

// accept is an accepted login of anna.
func accept(from netip.Addr) Attempt {
	return Attempt{Addr: from, Account: "anna", Protocol: "imap", Accepted: true}
}

// step is one login of anna, so many hours after the one before.
type step struct {
	hours   int
	attempt Attempt
}

// usual is a with a place that the account is known from.
func usual(a Attempt) Attempt {
	a.Usual = true
	return a
}

// TestNewPlaces: which logins are the first from a country or an operator.
func TestNewPlaces(t *testing.T) {
	elsewhere := netip.MustParseAddr("203.0.113.250") // Norway, another operator
	for name, tt := range map[string]struct {
		steps []step
		want  []notify.NoticeKind
	}{
		"the first login is learned":           {[]step{{0, accept(norway)}}, nil},
		"places of the first day are learned":  {[]step{{0, accept(norway)}, {23, accept(brazil)}}, nil},
		"a new country":                        {[]step{{0, accept(norway)}, {24, accept(brazil)}}, []notify.NoticeKind{notify.NewCountry}},
		"a new operator in a known country":    {[]step{{0, accept(norway)}, {24, accept(elsewhere)}}, []notify.NoticeKind{notify.NewOperator}},
		"the same country again":               {[]step{{0, accept(norway)}, {24, accept(brazil)}, {48, accept(norway)}, {48, accept(brazil)}}, []notify.NoticeKind{notify.NewCountry}},
		"one of a kind in a day":               {[]step{{0, accept(norway)}, {24, accept(brazil)}, {1, accept(kenya)}}, []notify.NoticeKind{notify.NewCountry}},
		"a second country on the next day":     {[]step{{0, accept(norway)}, {24, accept(brazil)}, {24, accept(kenya)}}, []notify.NoticeKind{notify.NewCountry, notify.NewCountry}},
		"a device or network that is known":    {[]step{{0, accept(norway)}, {24, usual(accept(brazil))}, {24, accept(brazil)}}, nil},
		"an address that is in no file":        {[]step{{0, accept(norway)}, {24, accept(unknown)}}, nil},
		"a country after one that was unknown": {[]step{{0, accept(unknown)}, {48, accept(norway)}, {1, accept(brazil)}}, nil},
		"a clock that is set back":             {[]step{{0, accept(norway)}, {-48, accept(brazil)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newManager(t, nil)
			at := noon
			for _, s := range tt.steps {
				at = at.Add(time.Duration(s.hours) * time.Hour)
				m.Attempt(at, s.attempt)
			}
			m.want(t, tt.want...)
		})
	}
}

// TestUnwantedKinds are not sent.
func TestUnwantedKinds(t *testing.T) {
	m, _ := newManager(t, func(c *Config) { c.Kinds = []notify.NoticeKind{notify.OldPassword} })
	m.Attempt(noon, accept(norway))
	guess(m, noon, 20, brazil)
	m.Attempt(noon.Add(25*time.Hour), accept(brazil))
	m.want(t)
}

// guess has logins to n accounts denied, from addr.
func guess(m *Manager, at time.Time, n int, addr netip.Addr) {
	for i := range n {
		m.Attempt(at, Attempt{Addr: addr, Account: fmt.Sprint("user", i), Denied: true})
	}
}

// TestAttackingNetworks: from which networks a login calls for a notice.
func TestAttackingNetworks(t *testing.T) {
	neighbour := netip.MustParseAddr("192.0.2.200") // in the network of unknown
	attack := []notify.NoticeKind{notify.AttackingNetwork}
	for name, tt := range map[string]struct {
		do   func(*Manager)
		want []notify.NoticeKind
	}{
		"a login after guesses":  {func(m *Manager) { guess(m, noon, 10, unknown); m.Attempt(noon, accept(neighbour)) }, attack},
		"a login before guesses": {func(m *Manager) { m.Attempt(noon, accept(neighbour)); guess(m, noon, 12, unknown) }, attack},
		"a login long before":    {func(m *Manager) { m.Attempt(noon, accept(neighbour)); guess(m, noon.Add(61*time.Minute), 20, unknown) }, nil},
		"a login long after":     {func(m *Manager) { guess(m, noon, 20, unknown); m.Attempt(noon.Add(time.Hour), accept(neighbour)) }, nil},
		"another network":        {func(m *Manager) { guess(m, noon, 20, unknown); m.Attempt(noon, accept(brazil)) }, nil},
		"a few guesses":          {func(m *Manager) { guess(m, noon, 9, unknown); m.Attempt(noon, accept(neighbour)) }, nil},
		"one person who mistypes": {func(m *Manager) {
			for range 50 {
				guess(m, noon, 1, unknown)
			}
			m.Attempt(noon, accept(neighbour))
		}, nil},
		"a user at a usual place": {func(m *Manager) { guess(m, noon, 20, unknown); m.Attempt(noon, usual(accept(neighbour))) }, nil},
		"an office in which some mistype": {func(m *Manager) {
			for i := range 100 {
				m.Attempt(noon, Attempt{Addr: unknown, Account: fmt.Sprint("colleague", i), Accepted: true, Usual: true})
			}
			guess(m, noon, 12, unknown)
			m.Attempt(noon, accept(neighbour))
		}, nil},
		"one notice in a day": {func(m *Manager) {
			guess(m, noon, 20, unknown)
			m.Attempt(noon, accept(neighbour))
			guess(m, noon, 20, kenya)
			m.Attempt(noon, accept(kenya))
		}, attack},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newManager(t, nil)
			tt.do(m)
			m.want(t, tt.want...)
		})
	}
}

// TestNetworksAreBounded: a flood of networks, or of logins in them, stays within its bounds,
// and does not displace the networks with most denials.
func TestNetworksAreBounded(t *testing.T) {
	m, _ := newManager(t, nil)
	for i := range networksMax + 1000 {
		addr := netip.AddrFrom4([4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), 1})
		m.Attempt(noon, Attempt{Addr: addr, Account: "anna", Accepted: true})
	}
	n := &m.networks
	if len(n.table) > networksMax || n.logins > networksLogins || n.logins == 0 {
		t.Errorf("got %d networks and %d logins, want at most %d and %d", len(n.table), n.logins, networksMax, networksLogins)
	}
	n.expire(noon.Add(2 * time.Hour))
	if len(n.table) != 0 || n.logins != 0 {
		t.Errorf("got %d networks and %d logins two hours later, want none", len(n.table), n.logins)
	}
}

// TestOldPasswords: when a program that tries an old password calls for a notice.
func TestOldPasswords(t *testing.T) {
	try := Attempt{Addr: brazil, Account: "anna", Denied: true, Former: true}
	old := notify.OldPassword
	for name, tt := range map[string]struct {
		every time.Duration
		tries int
		want  []notify.NoticeKind
	}{
		"a person for a minute":        {10 * time.Second, 6, nil},
		"a program for a quarter":      {5 * time.Minute, 4, []notify.NoticeKind{old}},
		"two tries":                    {time.Hour, 2, nil},
		"once a week is one notice":    {time.Hour, 7 * 24, []notify.NoticeKind{old}},
		"the next one is a week later": {time.Hour, 7*24 + 4, []notify.NoticeKind{old, old}},
		"a try in eight days":          {8 * 24 * time.Hour, 5, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newManager(t, nil)
			for i := range tt.tries {
				m.Attempt(noon.Add(time.Duration(i)*tt.every), try)
			}
			m.want(t, tt.want...)
			for _, n := range m.queue.all() {
				if !n.First.Equal(noon) || n.Tries < 3 {
					t.Errorf("got %+v, want it since noon", n)
				}
			}
		})
	}
}

// TestOldPasswordsAreNoAttack: a network in which programs try old passwords does
// not attack.
func TestOldPasswordsAreNoAttack(t *testing.T) {
	m, _ := newManager(t, nil)
	for i := range 20 {
		m.Attempt(noon, Attempt{Addr: unknown, Account: fmt.Sprint("user", i), Denied: true, Former: true})
	}
	m.Attempt(noon, accept(unknown))
	m.want(t)
}

// TestNamesThatMayDeceive are in no notice.
func TestNamesThatMayDeceive(t *testing.T) {
	for _, name := range []string{"", "an\u200bna", "anna\n", " anna", "an\xffna", string(make([]byte, 257))} {
		if isName(name) {
			t.Errorf("%q may be in a notice", name)
		}
	}
	for _, name := range []string{"anna@example.org", "Zoë Ødegård", "a=b\"c\\d"} {
		if !isName(name) {
			t.Errorf("%q may not be in a notice", name)
		}
	}
}

// TestAccountsAreBounded: the account that was used least recently goes first, as far as
// some accounts tell.
func TestAccountsAreBounded(t *testing.T) {
	m, _ := newManager(t, func(c *Config) { c.Max = 10 * shardCount })
	for i := range 2000 {
		a := accept(norway)
		a.Account = fmt.Sprint("user", i)
		m.Attempt(noon.Add(time.Duration(i)*time.Hour), a)
	}
	kept, latest := 0, 0
	for i := range m.shards {
		kept += len(m.shards[i].accounts)
	}
	for i := range 2000 {
		key := m.keyOf(fmt.Sprint("user", i))
		if _, ok := m.shard(key).accounts[key]; ok && i >= 1000 {
			latest++
		}
	}
	if kept > 640 || latest < kept*9/10 {
		t.Errorf("got %d accounts, %d of them from the latest half, want at most 640, nearly all from there", kept, latest)
	}
}
