package limiter

import (
	"net/netip"
	"time"
)

// An Attempt is one login a client asks for.
type Attempt struct {
	Addr       netip.Addr // where the client is
	Account    string     // the user name it gave; empty if it has given none yet, and then no rule about accounts applies
	Credential Credential // made by [Limiter.Credential] from that name and the secret; zero if none was shown
}

// A subject is an attempt as the rules see it.
type subject struct {
	network      netip.Prefix
	keys         [kinds]key // of what it falls into; zero where it does not
	fingerprints fingerprints
	trust        trust
	exempt       bool
}

// subject returns a as the rules r see it at time t.
func (l *Limiter) subject(t time.Time, a Attempt, r *rules) subject {
	source := Source(a.Addr)
	s := subject{network: Network(a.Addr), exempt: r.exempts(a.Addr)}
	s.keys[ofSource] = l.hasher.block(ofSource, source)
	s.keys[ofNetwork] = l.hasher.block(ofNetwork, s.network)
	if a.Account == "" {
		return s
	}
	account := l.hasher.account(a.Account)
	s.keys[ofAccount] = account
	s.fingerprints.credential = credentialMark(a.Credential)
	if !s.exempt { // many share a webmail's address: it says nothing of an account
		s.fingerprints.source, s.fingerprints.network = blockMark(s.keys[ofSource]), blockMark(s.keys[ofNetwork])
	}
	s.trust = l.known.look(account, s.fingerprints, keptFor(t, r.KnownTTL))
	s.keys[ofPair] = l.hasher.pair(ofPair, account, source, Credential{})
	if s.pairOfNetwork() {
		s.keys[ofPair] = l.hasher.pair(ofPair, account, s.network, Credential{})
	}
	if s.trust.known() {
		s.keys[ofUse] = l.hasher.pair(ofUse, account, source, Credential{})
	}
	if a.Credential.shown() && r.RepeatTTL > 0 {
		s.keys[ofRepeat] = l.hasher.pair(ofRepeat, account, source, a.Credential)
	}
	return s
}

// applies reports whether the rule about denials of kind k applies to s.
//
// Known by credential, there is nothing to guess. Known by address, an attempt with another credential may be the owner
// who mistypes, or a neighbour who guesses: attacks from elsewhere must not slow it, and its own guesses count. If it is
// the network that is known, all sources in it share one pair, so that a neighbour gains nothing by hopping through it.
func (s *subject) applies(k kind) bool {
	switch {
	case s.trust.credential, s.keys[k] == key{}:
		return false
	case s.exempt:
		return k == ofAccount
	case s.trust.known():
		return k == ofSource || k == ofPair
	}
	return true
}

// pairOfNetwork reports whether it does.
func (s *subject) pairOfNetwork() bool {
	return s.trust.network && !s.trust.source
}

// order returns the place of s among others, before anything is known of where it comes from.
func (s *subject) priority() Priority {
	if s.trust.known() {
		return Priority{class: priorityKnown}
	}
	if s.exempt { // each account behind a webmail is one of its own
		return Priority{class: unpenalized, flow: s.keys[ofAccount]}
	}
	return Priority{class: unpenalized, flow: s.keys[ofNetwork]}
}
