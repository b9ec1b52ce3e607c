package limiter

import (
	"net/netip"
	"time"
)

// Peek says what is certain at time t of an attempt whose credential has yet to come, as at the USER of POP3. It
// charges and holds nothing. It refuses only if no credential could lift the refusal, and else passes.
func (l *Limiter) Peek(t time.Time, addr netip.Addr, account string) Verdict {
	_, _, _ = t, addr, account
	return pass
}

// KnownSource reports whether a login from the source of addr was accepted within KnownTTL before t, whatever the
// account. It is no reason to let anybody in, only to let them stay when somebody must go.
func (l *Limiter) KnownSource(t time.Time, addr netip.Addr) bool {
	_, _ = t, addr
	return false
}

// Explain tells in words what the rules hold against a login to account from addr at time t, and what would happen now.
func (l *Limiter) Explain(t time.Time, addr netip.Addr, account string) string {
	_, _, _ = t, addr, account
	return ""
}

// Snapshot returns what l knows at time t, for [Limiter.Restore] after a restart. It holds nothing but keyed digests.
func (l *Limiter) Snapshot(t time.Time) []byte {
	_ = t
	return nil
}

// Restore adds what is known by a snapshot that was made under the same key. If it is damaged, too new or made under
// another key, the error says so and nothing changes. What was not accepted within KnownTTL before t is left out.
func (l *Limiter) Restore(t time.Time, snapshot []byte) error {
	_, _ = t, snapshot
	return nil
}
