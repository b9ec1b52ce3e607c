package limiter

import (
	"fmt"
	"testing"
)

// After the denials of the pair, an attacker goes on guessing. As many guesses as the pair allows are looked at; then
// the right password is refused as any other, so the attacker does not learn that it is the right one.
func TestRefusedGuessesAreLookedAtUpToALimit(t *testing.T) {
	for looked := range 8 {
		sr := runScript(t, defaultPolicy(), "")
		sr.addKnownUser(t)
		for i := range 5 {
			sr.run(t, fmt.Sprintf(`
				0s  ask a 192.0.2.1 u/denied%d
				0s  denied a
			`, i))
		}
		for i := range looked {
			sr.run(t, fmt.Sprintf(`
				1s  ask a 192.0.2.1 u/guess%d  = refuse pair
				1s  ask a 192.0.2.1 u/guess%d  = refuse pair   # the same again costs nothing
			`, i, i))
		}
		want := "pass none"
		if looked >= 5 {
			want = "refuse pair"
		}
		sr.run(t, "1s  ask b 192.0.2.1 u/x  = "+want)
	}
}

// An attacker who leaves while they wait has seen that the password is not the right one, which need not wait.
func TestLeavingWhileWaitingCostsALook(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	sr.run(t, `
		0s  ask a 192.0.2.1 u/1  = pass none
		0s  denied a
	`)
	for i := range 5 {
		sr.run(t, fmt.Sprintf(`
			1s  ask a 192.0.2.1 u/guess%d  = wait 2s source
			1s  void a
		`, i))
	}
	sr.run(t, `1s  ask b 192.0.2.1 u/x  = wait 2s source`) // the right one waits as well
}

// While an account is closed to strangers, a traveller without a token for a look waits for one, and sources that have
// shown a wrong password leave a quarter of them.
func TestTravellerWaitsForALook(t *testing.T) {
	sr := runScript(t, defaultPolicy(), "")
	sr.addKnownUser(t)
	guess := func(at string, i int) {
		sr.run(t, fmt.Sprintf(`
			%s  ask a 10.%d.%d.1 u/%d
			%s  denied a
		`, at, i/200, i%200, i, at))
	}
	for i := range 10 {
		guess("0s", i)
	}
	for i := range 99 { // each from a source of its own
		sr.run(t, fmt.Sprintf(`0s  ask a 11.0.%d.1 u/%d  = refuse account`, i, i))
	}
	sr.run(t, `
		0s   ask a 11.0.1.1 u/another  = refuse account   # penalized
		0s   ask b 11.1.0.1 u/x        = pass none
		0s   void b
		0s   ask c 11.2.0.1 u/last     = refuse account
		27s  ask d 11.3.0.1 u/x        = again 9s account # a token is due at 36 s
		36s  again d                   = pass none
		36s  accepted d
	`)
}

// A stranger cannot make the owner a stranger by hitting the fingerprint of their password.
func TestCollidingPasswordIsNotForgotten(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	right := l.Credential("u", []byte("right"))
	k := l.Ask(at("-25h"), Attempt{Addr: host(1), Account: "u", Credential: right})
	k.Settle(at("-25h"), Accepted)
	colliding := right
	colliding[15]++
	k = l.Ask(at("0s"), Attempt{Addr: host(100_000), Account: "u", Credential: colliding})
	if !k.Verdict().Known {
		t.Fatal("the credential does not collide")
	}
	k.Settle(at("0s"), Denied)
	if k = l.Ask(at("1s"), Attempt{Addr: host(100_000), Account: "u", Credential: colliding}); k.Verdict().Action != Repeat {
		t.Errorf("the same credential again: %+v, want a repeat", k.Verdict())
	}
	if k = l.Ask(at("1s"), Attempt{Addr: host(200_000), Account: "u", Credential: right}); !k.Verdict().Known {
		t.Errorf("the owner from a new place: %+v, want known", k.Verdict())
	}
}
