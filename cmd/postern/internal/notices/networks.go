package notices

import (
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"postern/cmd/postern/internal/notify"
	"postern/limiter"
)

// A network is attacking if so many logins of strangers were denied there, to so many
// accounts, within two periods, and to at least as many accounts as were accepted there: in
// the network of an office or a carrier, more people log in than mistype.
const (
	attackLogins   = 10
	attackAccounts = 5
	attackPeriod   = 30 * time.Minute
)

// Bounds of the table: networks, logins that are kept of one network, and of all.
const (
	networksMax     = 1 << 16
	networkLogins   = 4
	networksLogins  = 1 << 12
	networksChecked = 8 // when one must go
)

// networks are the networks from which logins were denied or accepted lately.
type networks struct {
	mu     sync.Mutex
	table  map[netip.Prefix]network
	logins int // of all networks
}

// A network is what happened in one network.
type network struct {
	period   int64 // number of the current one
	current  counts
	previous counts
	logins   []login // accepted lately at places that were new, while the network was not attacking
}

// counts are those of one period.
type counts struct {
	denied           uint32
	deniedAccounts   uint64 // a bit for each account, chosen by its key
	acceptedAccounts uint64
}

// A login was accepted before its network was attacking.
type login struct {
	at      time.Time
	key     accountKey
	attempt Attempt
}

// An attack is what makes a network an attacking one.
type attack struct{ logins, accounts int }

func (n *networks) init() { n.table = map[netip.Prefix]network{} }

// advance moves w to the period of t. It returns how many logins are forgotten.
func (w *network) advance(t time.Time) (forgotten int) {
	period := t.Unix() / int64(attackPeriod/time.Second)
	switch {
	case period <= w.period: // also if the clock was set back
		return 0
	case period == w.period+1:
		w.previous, w.current = w.current, counts{}
	default:
		w.previous, w.current = counts{}, counts{}
	}
	w.period = period
	for len(w.logins) > 0 && t.Sub(w.logins[0].at) > 2*attackPeriod {
		w.logins = w.logins[1:]
		forgotten++
	}
	return forgotten
}

// attack returns what was denied in w, and whether it is attacking.
func (w *network) attack() (a attack, attacking bool) {
	a.logins = int(w.current.denied) + int(w.previous.denied)
	a.accounts = bits.OnesCount64(w.current.deniedAccounts | w.previous.deniedAccounts)
	accepted := bits.OnesCount64(w.current.acceptedAccounts | w.previous.acceptedAccounts)
	return a, a.logins >= attackLogins && a.accounts >= max(attackAccounts, accepted)
}

// find returns the network around addr at time t, which the caller must put into the table.
// n must be locked.
func (n *networks) find(t time.Time, addr netip.Addr) (netip.Prefix, network) {
	prefix := limiter.Network(addr)
	w, ok := n.table[prefix]
	if !ok && len(n.table) >= networksMax {
		n.dropOne()
	}
	n.logins -= w.advance(t)
	return prefix, w
}

// dropOne compares some networks, which a map returns at random, and removes the one that was
// used in the oldest period, and of several the one with the fewest denials.
func (n *networks) dropOne() {
	var least netip.Prefix
	var of network
	compared := 0
	for prefix, w := range n.table {
		if compared == 0 || w.period < of.period || w.period == of.period && w.current.denied+w.previous.denied < of.current.denied+of.previous.denied {
			least, of = prefix, w
		}
		if compared++; compared == networksChecked {
			break
		}
	}
	n.logins -= len(of.logins)
	delete(n.table, least)
}

// expire removes what no longer counts at time t.
func (n *networks) expire(t time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for prefix, w := range n.table {
		n.logins -= w.advance(t)
		if w.current == (counts{}) && w.previous == (counts{}) {
			n.logins -= len(w.logins)
			delete(n.table, prefix)
			continue
		}
		n.table[prefix] = w
	}
}

// accepted takes an accepted login, and returns whether it came from an attacking network
// in which the account is new.
func (n *networks) accepted(t time.Time, key accountKey, a Attempt) (found attack, attacking bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	prefix, w := n.find(t, a.Addr)
	found, attacking = w.attack()
	w.current.acceptedAccounts |= 1 << (key / shardCount % 64)
	if !attacking && !a.Usual && len(w.logins) < networkLogins && n.logins < networksLogins {
		w.logins = append(w.logins, login{t, key, a})
		n.logins++
	}
	n.table[prefix] = w
	return found, attacking && !a.Usual
}

// denied takes a denied login of a stranger. If the network is attacking, it returns the
// logins that were accepted there before at places that were new.
func (n *networks) denied(t time.Time, key accountKey, addr netip.Addr) (found attack, before []login) {
	n.mu.Lock()
	defer n.mu.Unlock()
	prefix, w := n.find(t, addr)
	w.current.denied++
	w.current.deniedAccounts |= 1 << (key / shardCount % 64)
	found, attacking := w.attack()
	if attacking {
		before, w.logins = w.logins, nil
		n.logins -= len(before)
	}
	n.table[prefix] = w
	return found, before
}

// denied takes a denied login of a stranger.
func (m *Manager) denied(t time.Time, key accountKey, a Attempt) {
	if !m.wants(notify.AttackingNetwork) {
		return
	}
	attack, before := m.networks.denied(t, key, a.Addr)
	for _, l := range before {
		if t.Sub(l.at) <= 2*attackPeriod && m.mayNotice(t, l.key, notify.AttackingNetwork) {
			m.queue.add(m.attackNotice(l.at, l.attempt, attack))
		}
	}
}

// mayNotice reports whether a notice of a kind about an account may be sent at time t, and
// records it.
func (m *Manager) mayNotice(t time.Time, key accountKey, kind notify.NoticeKind) bool {
	s, now := m.shard(key), hourOf(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.account(now, key, m.config.Max)
	ok := r.notice(now, kind)
	s.accounts[key] = r
	return ok
}

// attackNotice returns the notice about a login from an attacking network.
func (m *Manager) attackNotice(t time.Time, a Attempt, found attack) notify.Notice {
	n := m.newNotice(t, notify.AttackingNetwork, a)
	n.DeniedLogins, n.DeniedAccounts = found.logins, found.accounts
	return n
}
