package limiter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dchest/siphash"
)

// An Attempt is one login a client asks for.
type Attempt struct {
	Addr       netip.Addr // of the client
	Account    string     // the user name as sent; empty if there is none yet, and then no rule about accounts applies
	Credential Credential // made by [Limiter.Credential] from that name and the secret; zero if no secret was shown
	Digest     Credential // made by [Limiter.DigestCredential] where only a short digest of the secret was shown, else zero
	Token      bool       // the secret is a token, which nobody can guess: XOAUTH2 and OAUTHBEARER
	Device     Device     // in the session ticket of the client's TLS connection; zero if there is none
	Resumed    bool       // the client resumed with a ticket that had Device, so it is not new
	JA4        string     // fingerprint of the client's TLS; empty if there is none, and then no rule about it applies
}

// A Device identifies a TLS client that resumes its sessions: a random number that the proxy puts into the session
// tickets of a client, and keeps over resumptions. Only the proxy can read and make tickets, so nobody can guess one.
// Zero means none.
type Device uint64

// Source returns the block that attempts from addr are charged to: the address itself for IPv4; its /64 for IPv6,
// because one customer usually has a whole /64. An IPv4 address mapped into IPv6 counts as IPv4, and zones are dropped.
// All invalid addresses share one source, the zero Prefix.
func Source(addr netip.Addr) netip.Prefix {
	return block(addr, 32, 64)
}

// BlockName returns p in text, such as a source or a network: without the length of the prefix if p has one address only.
func BlockName(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Network returns the wider block around addr: /24 for IPv4, /48 for IPv6. It treats mapped and invalid addresses as
// [Source] does.
func Network(addr netip.Addr) netip.Prefix {
	return block(addr, 24, 48)
}

func block(addr netip.Addr, bits4, bits6 int) netip.Prefix {
	addr = addr.Unmap()
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	p, _ := addr.Prefix(bits) // fails only for invalid addresses, with the zero Prefix
	return p
}

// A subject is an attempt as the rules see it: the entries it is charged to and what is known of it.
type subject struct {
	network      netip.Prefix
	keys         [kindCount]key // of the entries it is charged to; zero where there is none
	fingerprints fingerprints
	trust        trust
	match        match // only look may use it
	exempt       bool
	blocked      bool
	allowed      netip.Prefix // the allowed network that it is in; zero if it is in none, or exempt
	token        bool         // the secret cannot be guessed
	shown        bool         // the secret was shown and can be guessed
	digested     bool         // a short digest of the secret was shown instead
	password     uint32       // digest of a shown secret
	growth       int          // how many times the limits of the source apply
	denied       bool         // its source or network was denied lately
	attackJA4    bool         // attackers use its TLS fingerprint, and hardly anybody else
}

// subject returns a as the rules r see it at time t.
func (l *Limiter) subject(t time.Time, a Attempt, r *rules) subject {
	source := Source(a.Addr)
	s := subject{network: Network(a.Addr), exempt: r.exempts(a.Addr), token: a.Token, growth: 1}
	if s.blocked, s.allowed = l.lists.Load().lookup(a.Addr); s.exempt {
		s.allowed = netip.Prefix{}
	}
	s.shown, s.password = a.Credential.shown() && !a.Token, a.Credential.password()
	s.digested = !a.Credential.shown() && a.Digest.shown()
	sourceKey, networkKey := l.hasher.block(kindSource, source), l.hasher.block(kindNetwork, s.network)
	s.keys[kindSource], s.keys[kindNetwork] = sourceKey, networkKey
	if a.Token { // counted apart: guessed passwords must not delay those who need none
		s.keys[kindSource] = l.hasher.block(kindSource|tokens, source)
		s.keys[kindNetwork] = l.hasher.block(kindNetwork|tokens, s.network)
	}
	v := validityAt(t, r.KnownTTL)
	if a.Account != "" {
		if !s.exempt { // many users share the address of a webmail server: it says nothing about an account
			s.fingerprints.source, s.fingerprints.network = blockFingerprint(sourceKey), blockFingerprint(networkKey)
			s.fingerprints.device, s.fingerprints.resumed = l.hasher.device(a.Device), a.Resumed
		}
		s.setAccount(l, source, a, v)
	}
	if s.exempt || s.allowed.IsValid() || s.trust.near() {
		return s
	}
	s.setStranger(l, a, blockFingerprint(sourceKey), v, r)
	s.attackJA4 = l.hasAttackJA4(l.epoch.ticks(t), a)
	return s
}

// setStranger sets what only the rules about strangers use, except the priority. source is the fingerprint of the source
// of a.
func (s *subject) setStranger(l *Limiter, a Attempt, source uint32, v validity, r *rules) {
	s.growth = l.known.sources.growth(source, v.now)
	if r.Attack && a.Account != "" && !s.token && !l.known.sources.has(source, v) {
		s.setPrefixKeys(l, a.Addr)
	}
}

// setAccount sets what depends on the account.
func (s *subject) setAccount(l *Limiter, source netip.Prefix, a Attempt, v validity) {
	s.keys[kindAccount] = l.hasher.account(a.Account)
	s.fingerprints.credential = credentialFingerprint(a.Credential)
	s.trust, s.match = l.known.lookup(s.keys[kindAccount], s.fingerprints, v)
	s.setPairKeys(l, source, a)
}

// setPrefixKeys sets the keys of the wide prefixes around a source from which no login was accepted.
func (s *subject) setPrefixKeys(l *Limiter, addr netip.Addr) {
	s.keys[kindPrefix] = l.hasher.block(kindPrefix, block(addr, 16, 40))
	if !addr.Unmap().Is4() {
		s.keys[kindWidePrefix] = l.hasher.block(kindWidePrefix, block(addr, 16, 32))
	}
}

// setPairKeys sets the keys that depend on the account and on where the attempt comes from. A known device has a pair
// of its own, at whatever address it is. All sources of a network share one pair if only the network is known, or if it
// is allowed and nothing is known, so that a neighbour gains nothing by changing addresses.
func (s *subject) setPairKeys(l *Limiter, source netip.Prefix, a Attempt) {
	account, pair := s.keys[kindAccount], kindPair
	if a.Token {
		pair |= tokens
	}
	from := source
	switch {
	case s.trust.device:
		from = deviceBlock(a.Device)
	case s.sharesNetworkPair():
		from = s.network
	case s.sharesAllowedPair():
		from = s.allowed
	}
	s.keys[kindPair] = l.hasher.pair(pair, account, from, Credential{})
	if s.trust.known() || s.match.known {
		s.keys[kindUse] = l.hasher.pair(kindUse, account, from, Credential{})
	}
	if c := a.Credential; c.shown() || s.digested {
		if s.digested {
			c = a.Digest
		}
		s.keys[kindRepeat] = l.hasher.pair(kindRepeat, account, source, c)
	}
}

// applies reports whether the rule about denials of kind k applies to s.
//
// An attempt known by address or device may be the owner who mistypes, or a neighbour who guesses: attacks from
// elsewhere must not slow it, and its own denials count, in the pair. From an allowed network, many new users may come. A
// token cannot be guessed, so no account is closed to it.
func (s *subject) applies(k kind) bool {
	switch {
	case s.keys[k] == key{}:
		return false
	case s.exempt:
		return k == kindAccount && !s.token
	case s.trust.near() || s.allowed.IsValid():
		return k == kindPair
	case s.token:
		return k != kindAccount
	}
	return true
}

// onlyDelays reports whether the rule about denials of kind k never refuses s.
func (s *subject) onlyDelays(k kind) bool {
	return k == kindNetwork || k == kindSource && s.token
}

// paysAlways reports whether s pays for a denial even if an earlier one of the same credential is still charged. That is so
// if its credential is a digest that several secrets may have, because a stranger could choose such secrets. Only an attempt
// that is near, such as a program with an old password, pays once.
func (s *subject) paysAlways() bool {
	return s.digested && !s.trust.near()
}

// sharesNetworkPair reports whether s uses the pair of its network instead of the pair of its source.
func (s *subject) sharesNetworkPair() bool {
	return s.trust.network && !s.trust.source && !s.trust.device
}

// sharesAllowedPair reports whether s uses the pair of its allowed network.
func (s *subject) sharesAllowedPair() bool {
	return s.allowed.IsValid() && !s.trust.near()
}

// priority returns the priority of s before penalties are taken into account.
func (s *subject) priority() Priority {
	switch {
	case s.trust.known() || s.allowed.IsValid():
		return Priority{class: classKnown}
	case s.exempt: // each account behind a webmail server is a flow of its own
		return Priority{class: classUnpenalized, flow: s.keys[kindAccount]}
	}
	return s.strangerPriority(s.keys[kindNetwork])
}

// strangerPriority returns the priority of a stranger whose source and network have no penalty, in the given flow.
func (s *subject) strangerPriority(flow key) Priority {
	switch {
	case s.attackJA4:
		return Priority{class: classPenalized, flow: flow}
	case !s.shown && !s.digested && !s.token:
		return Priority{class: classExchange, flow: flow}
	}
	return Priority{class: classUnpenalized, flow: flow}
}

// onlyAllowed reports whether s has the priority of the known only because its network is allowed.
func (s *subject) onlyAllowed() bool {
	return s.allowed.IsValid() && !s.trust.known()
}

// A Key is the secret of one installation: 32 random octets. Without it, what a [Limiter] stores is useless, and nobody
// can choose which entries of its table collide. A snapshot can only be restored under the key it was made with.
type Key [32]byte

// derive returns the key for one purpose.
func (k Key) derive(purpose string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("postern " + purpose))
	return [sha256.Size]byte(mac.Sum(nil))
}

// A Credential identifies an account together with a secret. The zero value means that no secret was shown: SCRAM,
// CRAM-MD5 and OAuth hide or change the secret, so such attempts cannot be known by it and are never repeats. The first
// 16 octets stand for account and secret, the last 4 for the secret alone.
type Credential [20]byte

// shown reports whether c stands for a secret.
func (c Credential) shown() bool {
	return c != Credential{}
}

// password returns the digest of the secret alone.
func (c Credential) password() uint32 {
	return binary.BigEndian.Uint32(c[16:])
}

// Credential returns the credential of account and secret: their HMAC-SHA-256 under the key of l, cut to 16 octets, and
// 32 bits of a SipHash of the secret alone. At most 16 bits of the former are ever written to a file, and nothing of the
// latter. Credential keeps no copy of secret and does not wipe it.
func (l *Limiter) Credential(account string, secret []byte) Credential {
	d := l.digests.Get().(*digest)
	defer d.release(&l.digests)
	name := l.hasher.account(account) // of fixed length, so that (ab, c) and (a, bc) differ
	d.mac.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(d.octets[:0], name.hi), name.lo))
	d.mac.Write(secret)
	sum := d.mac.Sum(d.octets[:0])
	binary.BigEndian.PutUint32(sum[16:], uint32(l.passwords.sum(secret).hi))
	return Credential(sum[:len(Credential{})])
}

// A digest makes one credential at a time. Reusing it costs a third of making a new HMAC, and allocates nothing.
type digest struct {
	mac    hash.Hash
	octets [sha256.Size]byte // of the name, then of the sum
}

func newDigest(key []byte) *digest {
	d := &digest{mac: hmac.New(sha256.New, key)}
	d.mac.Reset() // from the first Reset on, hmac saves its initial state and Reset restores it
	return d
}

// release wipes d and returns it to pool.
func (d *digest) release(pool *sync.Pool) {
	d.mac.Reset()
	clear(d.octets[:])
	pool.Put(d)
}

// A kind says what an entry of the table counts.
type kind uint8

const (
	kindNone       kind = iota // an empty entry
	kindSource                 // denials and connections of a source
	kindNetwork                // denials of a network
	kindPair                   // denials of a source, or of a network, on one account
	kindAccount                // denials of strangers on one account
	kindRepeat                 // one credential denied from one source
	kindUse                    // logins of a source or device to one account to which it is known, or of an allowed network
	kindPrefix                 // denials of new sources in a wide prefix, during an attack
	kindWidePrefix             // likewise, in a wider one
	kindCount

	tokens kind = 1 << 7 // in the key of a kind, not in an entry: what counts for tokens instead of passwords
)

// A key finds an entry: 128 bits of SipHash under a secret, over the kind and what the entry stands for. Without the
// secret, nobody can construct a collision with the entry of another, or fill one part of the table.
type key struct{ hi, lo uint64 }

// hasher makes keys.
type hasher struct{ k0, k1 uint64 }

func newHasher(secret [sha256.Size]byte) hasher {
	return hasher{binary.BigEndian.Uint64(secret[:]), binary.BigEndian.Uint64(secret[8:])}
}

func (h hasher) sum(b []byte) key {
	hi, lo := siphash.Hash128(h.k0, h.k1, b)
	return key{hi, lo}
}

// blockLen is the length of a block in a key: address and prefix length.
const blockLen = 17

func appendBlock(b []byte, p netip.Prefix) []byte {
	addr := p.Addr().As16() // IPv4 and IPv6 blocks cannot collide: their prefix lengths differ
	if !p.IsValid() {
		addr = [16]byte{}
	}
	return append(append(b, addr[:]...), byte(p.Bits()))
}

// block returns the key of a source or a network.
func (h hasher) block(k kind, p netip.Prefix) key {
	var b [1 + blockLen]byte
	return h.sum(appendBlock(append(b[:0], byte(k)), p))
}

// device returns the fingerprint of d, zero if d is.
func (h hasher) device(d Device) uint32 {
	if d == 0 {
		return 0
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(d))
	return blockFingerprint(h.sum(b[:]))
}

// deviceBlock returns a block that stands for d in the key of a pair: one of 2^64 prefixes that no source can have.
func deviceBlock(d Device) netip.Prefix {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], uint64(d))
	return netip.PrefixFrom(netip.AddrFrom16(a), 128)
}

// accountMax is how many octets of a name count. No mail address is longer.
const accountMax = 320

// account returns the key of the account with the given name, ignoring case.
func (h hasher) account(name string) key {
	var b [1 + accountMax + utf8.UTFMax]byte
	return h.sum(appendFolded(append(b[:0], byte(kindAccount)), name))
}

// appendFolded appends at most accountMax octets of name in lower case.
func appendFolded(b []byte, name string) []byte {
	for _, r := range name {
		if len(b) > accountMax {
			break
		}
		b = utf8.AppendRune(b, unicode.ToLower(r))
	}
	return b
}

// pair returns the key of kind k for an account and a block, and for a repeat also a credential.
func (h hasher) pair(k kind, account key, p netip.Prefix, c Credential) key {
	var b [1 + 16 + blockLen + 16]byte
	s := append(b[:0], byte(k))
	s = binary.BigEndian.AppendUint64(s, account.hi)
	s = binary.BigEndian.AppendUint64(s, account.lo)
	s = appendBlock(s, p)
	if k == kindRepeat {
		s = append(s, c[:16]...)
	}
	return h.sum(s)
}
