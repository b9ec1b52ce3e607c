package limiter

import (
	"encoding/hex"
	"testing"
)

func TestCredential(t *testing.T) {
	l := newLimiter(t, policy())
	of := func(account, secret string) Credential { return l.Credential(account, []byte(secret)) }
	if c := of("alice", "secret"); c != of("ALICE", "secret") || !c.shown() {
		t.Errorf("%x and %x: case of the account must not matter", c, of("ALICE", "secret"))
	}
	for _, other := range []Credential{of("alice", "Secret"), of("alices", "ecret"), of("bob", "secret"), of("alice", ""), {}} {
		if other == of("alice", "secret") {
			t.Errorf("two credentials are both %x", other)
		}
	}
	another, err := New(policy(), Key{1})
	if err != nil {
		t.Fatal(err)
	}
	if another.Credential("alice", []byte("secret")) == of("alice", "secret") {
		t.Error("a credential must differ under another key")
	}
}

// Fingerprints of credentials are kept in snapshots across versions, so credentials must never change.
func TestCredentialIsStable(t *testing.T) {
	l, err := New(policy(), Key{1})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, tt := range []struct{ account, secret, want string }{
			{"Alice@example.org", "correct horse", "c9ca010db2900d59288593523580f32d"},
			{"bob", "", "f68a3fd3828b9272ffd513e81c367612"},
		} {
			if c := l.Credential(tt.account, []byte(tt.secret)); hex.EncodeToString(c[:]) != tt.want {
				t.Errorf("%s: got %x, want %s", tt.account, c, tt.want)
			}
		}
	}
}
