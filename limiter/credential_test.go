package limiter

import "testing"

func TestCredential(t *testing.T) {
	l := newLimiter(t, policy())
	of := func(account, secret string) Credential { return l.Credential(account, []byte(secret)) }
	if c := of("alice", "secret"); c != of("ALICE", "secret") || !c.shown() {
		t.Errorf("%x and %x: an account is the same in capitals", c, of("ALICE", "secret"))
	}
	for _, other := range []Credential{of("alice", "Secret"), of("alices", "ecret"), of("bob", "secret"), of("alice", ""), {}} {
		if other == of("alice", "secret") {
			t.Errorf("%x stands for two credentials", other)
		}
	}
	another, err := New(policy(), Key{1})
	if err != nil {
		t.Fatal(err)
	}
	if another.Credential("alice", []byte("secret")) == of("alice", "secret") {
		t.Error("a credential is the same under another key")
	}
}
