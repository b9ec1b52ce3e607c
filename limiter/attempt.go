package limiter

import (
	"net/netip"
	"time"
)

// An Attempt is one login a client asks for.
type Attempt struct {
	Addr       netip.Addr // of the client
	Account    string     // the user name as sent; empty if there is none yet, and then no rule about accounts applies
	Credential Credential // made by [Limiter.Credential] from that name and the secret; zero if no secret was shown
}

// Source returns the block that attempts from addr are charged to: the address itself for IPv4; its /64 for IPv6,
// because one customer usually has a whole /64. An IPv4 address mapped into IPv6 counts as IPv4, and zones are dropped.
// All invalid addresses share one source, the zero Prefix.
func Source(addr netip.Addr) netip.Prefix {
	return block(addr, 32, 64)
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
	exempt       bool
}

// subject returns a as the rules r see it at time t.
func (l *Limiter) subject(t time.Time, a Attempt, r *rules) subject {
	source := Source(a.Addr)
	s := subject{network: Network(a.Addr), exempt: r.exempts(a.Addr)}
	s.keys[kindSource] = l.hasher.block(kindSource, source)
	s.keys[kindNetwork] = l.hasher.block(kindNetwork, s.network)
	if a.Account == "" {
		return s
	}
	account := l.hasher.account(a.Account)
	s.keys[kindAccount] = account
	s.fingerprints.credential = credentialFingerprint(a.Credential)
	if !s.exempt { // many users share the address of a webmail server: it says nothing about an account
		s.fingerprints.source = blockFingerprint(s.keys[kindSource])
		s.fingerprints.network = blockFingerprint(s.keys[kindNetwork])
	}
	s.trust = l.known.lookup(account, s.fingerprints, validityAt(t, r.KnownTTL))
	s.keys[kindPair] = l.hasher.pair(kindPair, account, source, Credential{})
	if s.sharesNetworkPair() {
		s.keys[kindPair] = l.hasher.pair(kindPair, account, s.network, Credential{})
	}
	if s.trust.known() {
		s.keys[kindUse] = l.hasher.pair(kindUse, account, source, Credential{})
	}
	if a.Credential.shown() && r.RepeatTTL > 0 {
		s.keys[kindRepeat] = l.hasher.pair(kindRepeat, account, source, a.Credential)
	}
	return s
}

// applies reports whether the rule about denials of kind k applies to s.
//
// An attempt known by credential guesses nothing. An attempt known by address with another credential may be the owner
// who mistypes, or a neighbour who guesses: attacks from elsewhere must not slow it, and its own denials count. If only
// the network is known, all sources in it share one pair, so that a neighbour gains nothing by changing addresses.
func (s *subject) applies(k kind) bool {
	switch {
	case s.trust.credential, s.keys[k] == key{}:
		return false
	case s.exempt:
		return k == kindAccount
	case s.trust.known():
		return k == kindSource || k == kindPair
	}
	return true
}

// sharesNetworkPair reports whether s uses the pair of its network instead of the pair of its source.
func (s *subject) sharesNetworkPair() bool {
	return s.trust.network && !s.trust.source
}

// priority returns the priority of s before penalties are taken into account.
func (s *subject) priority() Priority {
	if s.trust.known() {
		return Priority{class: classKnown}
	}
	if s.exempt { // each account behind a webmail server is a flow of its own
		return Priority{class: classUnpenalized, flow: s.keys[kindAccount]}
	}
	return Priority{class: classUnpenalized, flow: s.keys[kindNetwork]}
}
