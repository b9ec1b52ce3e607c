package limiter

import (
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"postern/limiter/internal/hyperloglog"
)

// A ja4Table counts logins by the TLS fingerprint (JA4) of the client, to find fingerprints of attacks: with one, nearly all
// attempts are denied, these come from many prefixes, and hardly any account is accepted. Strangers with such a fingerprint
// have the priority of penalized ones.
//
// Accepted accounts and denials have separate parts, so that nobody can use denials to remove what protects the fingerprint
// of users. Each account counts once for a fingerprint, so that one stolen account cannot make that of an attacker look
// usual.
type ja4Table struct {
	mu       sync.Mutex
	days     ja4Clock // of what is accepted
	hours    ja4Clock // of what is denied
	accounts ja4Accounts
	accepted map[key]*ja4Accepted
	denied   map[key]*ja4Denied
}

// The bounds of a ja4Table, and when a fingerprint is one of an attack. A period begins with the first use after the end of the one
// before; what counts is the present period and the one before it.
const (
	ja4Kept = 512 // fingerprints in each part

	ja4AcceptedTime = 24 * time.Hour // a period of what is accepted
	ja4DeniedTime   = time.Hour      // of what is denied

	ja4DenialsMin  = 100 // denials with a fingerprint
	ja4Prefixes    = 25  // of 64 bits, which are those of about 32 prefixes
	ja4DeniedTimes = 9   // as many denials as accounts accepted: 90 % of both
	ja4AcceptedPer = 100 // at most one of so many accounts was accepted with it
	ja4Spare       = 2   // accounts more than were counted: of a site with few accounts, nothing can be said
)

// A ja4Clock says when a period ends.
type ja4Clock struct{ end ticks }

// advance returns how many periods of length d have ended since the last call, at most two.
func (c *ja4Clock) advance(now ticks, d time.Duration) (ended int) {
	if now < c.end {
		return 0
	}
	ended = 1
	if c.end == 0 || now >= c.end.add(d) {
		ended = 2
	}
	c.end = now.add(d)
	return ended
}

// A ja4Accepted has the accounts that were accepted with one fingerprint.
type ja4Accepted struct {
	now, before ja4Registers
	accounts    float64 // an estimate
	last        ticks   // when one was accepted
}

// A ja4Denied has what was denied with one fingerprint.
type ja4Denied struct {
	now, before         uint32
	prefixes, prefixes2 uint64 // bitmaps, of the present period and the one before
	last                ticks
}

// ja4Accounts are all accounts that were accepted with some fingerprint.
type ja4Accounts struct {
	now, before [1024]uint8
	accounts    float64
}

// ja4Registers estimates a number of accounts to about 13 %; fewer than 30 to about one.
type ja4Registers [64]uint8

func (a *ja4Accepted) end(periods int) {
	a.before, a.now = a.now, ja4Registers{}
	if periods > 1 {
		a.before = ja4Registers{}
	}
	a.accounts = distinctIn(a.now[:], a.before[:])
}

func (a *ja4Accounts) end(periods int) {
	a.before, a.now = a.now, [1024]uint8{}
	if periods > 1 {
		a.before = a.now
	}
	a.accounts = distinctIn(a.now[:], a.before[:])
}

func (d *ja4Denied) end(periods int) {
	d.before, d.prefixes2, d.now, d.prefixes = d.now, d.prefixes, 0, 0
	if periods > 1 {
		d.before, d.prefixes2 = 0, 0
	}
}

// denials is how many denials count.
func (d *ja4Denied) denials() int { return int(d.now) + int(d.before) }

// ja4 returns the key of a fingerprint.
func (h hasher) ja4(fingerprint string) key { return h.sum([]byte(fingerprint)) }

// advance ends periods. t must be locked.
func (t *ja4Table) advance(now ticks) {
	if n := t.days.advance(now, ja4AcceptedTime); n > 0 {
		t.accounts.end(n)
		for k, a := range t.accepted {
			if a.end(n); a.accounts == 0 {
				delete(t.accepted, k)
			}
		}
	}
	if n := t.hours.advance(now, ja4DeniedTime); n > 0 {
		for k, d := range t.denied {
			if d.end(n); d.denials() == 0 {
				delete(t.denied, k)
			}
		}
	}
}

// accept records that an account was accepted with the fingerprint k.
func (t *ja4Table) accept(now ticks, k, account key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	if addDistinct(t.accounts.now[:], account.hi) {
		t.accounts.accounts = distinctIn(t.accounts.now[:], t.accounts.before[:])
	}
	a := t.accepted[k]
	if a == nil {
		if t.accepted == nil {
			t.accepted = map[key]*ja4Accepted{}
		}
		if len(t.accepted) >= ja4Kept {
			deleteLeast(t.accepted, func(a *ja4Accepted) (float64, ticks) { return a.accounts, a.last })
		}
		a = &ja4Accepted{}
		t.accepted[k] = a
	}
	a.last = now
	if addDistinct(a.now[:], account.hi) {
		a.accounts = distinctIn(a.now[:], a.before[:])
	}
}

// deny records a denial with the fingerprint k, from a prefix whose hash is given.
func (t *ja4Table) deny(now ticks, k key, prefix uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	d := t.denied[k]
	if d == nil {
		if t.denied == nil {
			t.denied = map[key]*ja4Denied{}
		}
		if len(t.denied) >= ja4Kept {
			deleteLeast(t.denied, func(d *ja4Denied) (float64, ticks) { return float64(d.denials()), d.last })
		}
		d = &ja4Denied{}
		t.denied[k] = d
	}
	d.last = now
	d.now = min(d.now, math.MaxUint32-1) + 1
	d.prefixes |= 1 << (prefix % 64)
}

// deleteLeast deletes the value of the least count, and of several the oldest.
func deleteLeast[V any](m map[key]V, count func(V) (float64, ticks)) {
	var least key
	n, last := math.Inf(1), ticks(0)
	for k, v := range m {
		if c, at := count(v); c < n || c == n && at < last {
			least, n, last = k, c, at
		}
	}
	delete(m, least)
}

// attacks reports whether attackers use the fingerprint k, and hardly anybody else.
func (t *ja4Table) attacks(now ticks, k key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	d := t.denied[k]
	if d == nil || d.denials() < ja4DenialsMin || bits.OnesCount64(d.prefixes|d.prefixes2) < ja4Prefixes {
		return false
	}
	accounts := 0.
	if a := t.accepted[k]; a != nil {
		accounts = a.accounts
	}
	return ja4AcceptedPer*(accounts+ja4Spare) <= t.accounts.accounts && float64(d.denials()) >= ja4DeniedTimes*accounts
}

// addDistinct adds a hash to registers, of which there must be a power of two, and reports whether it changed one.
func addDistinct(registers []uint8, hash uint64) bool {
	register, rank := hyperloglog.Rank(hash, bits.Len(uint(len(registers)))-1)
	if rank <= registers[register] {
		return false
	}
	registers[register] = rank
	return true
}

// distinctIn estimates how many hashes were added to a or b, which are of the same length, at most 1024.
func distinctIn(a, b []uint8) float64 {
	var both [1024]uint8
	for i := range a {
		both[i] = max(a[i], b[i])
	}
	return hyperloglog.Estimate(both[:len(a)])
}

// ja4Prefix returns the prefix that an address counts for: one that is wide, because an attacker may have very many networks
// of one hoster.
func ja4Prefix(addr netip.Addr) netip.Prefix { return block(addr, 16, 32) }

// acceptedJA4 records that the attempt was accepted. Clients behind an exempt address, such as a webmail server, have the
// fingerprint of that.
func (k *Ticket) acceptedJA4(now ticks) {
	if s := &k.subject; k.attempt.JA4 != "" && !s.exempt && s.keys[kindAccount] != (key{}) {
		k.limiter.ja4s.accept(now, k.limiter.hasher.ja4(k.attempt.JA4), s.keys[kindAccount])
	}
}

// deniedJA4 records that the attempt of a stranger was denied. A token is no guess.
func (k *Ticket) deniedJA4(now ticks) {
	if s, l := &k.subject, k.limiter; k.attempt.JA4 != "" && !s.exempt && !s.token && !s.allowed.IsValid() && !s.trust.known() {
		l.ja4s.deny(now, l.hasher.ja4(k.attempt.JA4), l.hasher.block(kindWidePrefix, ja4Prefix(k.attempt.Addr)).hi)
	}
}

// hasAttackJA4 reports whether attackers use the fingerprint of a, and hardly anybody else.
func (l *Limiter) hasAttackJA4(now ticks, a Attempt) bool {
	return a.JA4 != "" && l.ja4s.attacks(now, l.hasher.ja4(a.JA4))
}
