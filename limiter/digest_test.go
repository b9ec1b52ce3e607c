package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// digestAttempt is a login of which a short digest was shown, to the account kari.
func digestAttempt(l *Limiter, addr, digest string) Attempt {
	return Attempt{Addr: netip.MustParseAddr(addr), Account: "kari", Digest: l.DigestCredential("kari", []byte(digest))}
}

// newDigestLimiter makes a limiter at which kari logged in from 192.0.2.1 with the password "right", and with the digest
// "a1".
func newDigestLimiter(t *testing.T, now time.Time) *Limiter {
	t.Helper()
	p := defaultPolicy()
	p.RepeatTTL = time.Minute
	l, err := New(p, Key{1})
	if err != nil {
		t.Fatal(err)
	}
	a := digestAttempt(l, "192.0.2.1", "a1")
	k := l.Ask(now, a)
	k.Settle(now, Accepted)
	a.Digest, a.Credential = Credential{}, l.Credential("kari", []byte("right"))
	k = l.Ask(now, a)
	k.Settle(now, Accepted)
	return l
}

// A digest is repeated, and never known: not even one that was accepted makes a stranger known elsewhere.
func TestDigestIsNeverKnown(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	l := newDigestLimiter(t, now)
	for _, tc := range []struct {
		name, addr string
		known      bool
	}{
		{"from where the user is known", "192.0.2.1", true},
		{"from another place", "198.51.100.1", false},
	} {
		k := l.Ask(now, digestAttempt(l, tc.addr, "a1"))
		if got := k.Verdict().Known; got != tc.known {
			t.Errorf("%s: known is %v, want %v", tc.name, got, tc.known)
		}
		if k.Traits() != (Traits{}) {
			t.Errorf("%s: got %+v, want no traits", tc.name, k.Traits())
		}
		if k.Priority().class == classExchange {
			t.Errorf("%s: got the priority of an exchange", tc.name)
		}
		k.Settle(now, Void)
	}
	k := l.Ask(now, Attempt{Addr: netip.MustParseAddr("198.51.100.1"), Account: "kari", Credential: l.Credential("kari", []byte("right"))})
	if !k.Verdict().Known {
		t.Error("the credential is no longer known after a digest was")
	}
	k.Settle(now, Void)
}

// The credential of a password that has the text of a digest is not that of the digest.
func TestDigestHasItsOwnDomain(t *testing.T) {
	l := newDigestLimiter(t, time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	if l.DigestCredential("kari", []byte("a1")) == l.Credential("kari", []byte("a1")) {
		t.Error("a digest and a password have the same credential")
	}
	if l.DigestCredential("kari", []byte("a1")) != l.DigestCredential("KARI", []byte("a1")) {
		t.Error("the case of the account makes a difference")
	}
	if l.DigestCredential("kari", []byte("a1")) == l.DigestCredential("ola", []byte("a1")) {
		t.Error("two accounts have the same credential")
	}
}

// A stranger who chooses passwords with the same digest pays for each of them, and a program with an old password from
// where its user is known pays once.
func TestDigestIsChargedToStrangers(t *testing.T) {
	for _, tc := range []struct {
		name, addr string
		want       string
	}{
		{"stranger", "198.51.100.1", "3 of 5 denials"},
		{"user", "192.0.2.1", "1 of 5 denials"},
	} {
		now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		l := newDigestLimiter(t, now)
		p := defaultPolicy()
		p.RepeatTTL, p.Pair = time.Minute, Rate{5, 1000 * time.Hour}
		if err := l.SetPolicy(now, p); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			k := l.Ask(now, digestAttempt(l, tc.addr, "ff"))
			if v := k.Verdict(); v.Action >= Repeat {
				t.Fatalf("%s, attempt %d: %+v", tc.name, n, v)
			}
			k.Settle(now, Denied)
			if k = l.Ask(now, digestAttempt(l, tc.addr, "ff")); k.Verdict().Action != Repeat {
				t.Errorf("%s, attempt %d again: got %+v, want a repeat", tc.name, n, k.Verdict())
			}
			k.Settle(now, Denied)
			now = now.Add(61 * time.Second)
		}
		if got := l.Explain(now, digestAttempt(l, tc.addr, "ff"), RulePair); fmt.Sprintf("%.14s", got) != tc.want {
			t.Errorf("%s: got %q, want %s", tc.name, got, tc.want)
		}
	}
}
