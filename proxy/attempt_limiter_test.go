package proxy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// Attempts on an account that is closed to strangers wait for a look, in the tarpit and for
// at most TarpitMax in all. The usual password gets in from a new network.
func TestWaitsForLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{}
		proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
		p := allRules()
		p.Account.Per = 16 * time.Second // five looks a second, 80 at once
		proxy.setPolicy(p)
		makeKnown(proxy, "192.0.2.99:1", "u", "right")
		exhaustAccount(proxy, "u")
		ln := proxy.listen(imapListener)
		start := time.Now()
		var guessing []*peer
		for i := range 100 {
			guessing = append(guessing, proxy.tryPassword(ln, fmt.Sprintf("203.%d.113.1:1", i), fmt.Sprint("wrong", i)))
		}
		owner := proxy.tryPassword(ln, "100.64.0.1:1", "right")
		if n := proxy.Stats().Tarpit; n < 20 {
			t.Errorf("got %d attempts in the tarpit, want at least 20 and the owner's", n)
		}
		owner.expect("a1 OK …")
		for _, client := range guessing {
			client.expect("a1 NO …")
		}
		if took := time.Since(start); took > proxy.TarpitMax+time.Second {
			t.Errorf("took %v, want at most %v", took, proxy.TarpitMax)
		}
		for _, a := range proxy.settledAttempts() {
			if a.Outcome == limiter.Accepted && (a.Waited == 0 || !a.Verdict.Known || a.Verdict.Near) {
				t.Errorf("got attempt %+v of the owner, want one that has waited and is known", a)
			}
		}
	})
}

// A stranger who leaves challenges unanswered is refused after a while, however short each
// exchange is: once the login slots were held for two seconds for each token of the source.
func TestHangUpsAreRefused(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"closes":  func(client *peer) { client.Close() },
		"cancels": func(client *peer) { client.send("*"); client.expect("a1 BAD …"); client.Close() },
	} {
		for _, held := range []time.Duration{100 * time.Millisecond, 1900 * time.Millisecond, 5 * time.Second} {
			t.Run(fmt.Sprintf("%s after %v", name, held), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
					proxy.setPolicy(sourceRule())
					ln := proxy.listen(imapListener)
					exchanges := 0
					for range 20*sourceTokens + 1 {
						client := proxy.connectAndExpect(ln, clientAddr, "* OK …")
						client.send("a1 AUTHENTICATE CRAM-MD5")
						if line, _ := client.readLine(); line[0] != '+' {
							break
						}
						exchanges++
						<-time.After(held)
						leave(client)
						synctest.Wait()
					}
					a := proxy.settledAttempts()
					if last := a[len(a)-1]; last.Verdict.Action != limiter.Refuse || last.Verdict.Rule != limiter.RuleSource {
						t.Errorf("got attempt %+v, want a refusal by rule %v", last, limiter.RuleSource)
					}
					if slot := time.Duration(exchanges) * held; slot > sourceTokens*2*time.Second+held {
						t.Errorf("got %d exchanges, with a slot for %v, want at most %v", exchanges, slot, sourceTokens*2*time.Second)
					}
				})
			})
		}
	}
}

// A stranger who lets the slot wait and then names an account that is closed to them is
// charged for the time as well.
func TestSlowAnswerForClosedAccountIsCharged(t *testing.T) {
	for _, held := range []time.Duration{1900 * time.Millisecond, 9 * time.Second} {
		t.Run(held.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
				proxy.setPolicy(allRules())
				exhaustAccount(proxy, "u")
				client := proxy.connectGreeted(imapListener)
				client.send("a1 AUTHENTICATE CRAM-MD5")
				client.expect("+ …")
				<-time.After(held)
				client.send(b64("u wrong"))
				client.expect("a1 NO [UNAVAILABLE] …")
				synctest.Wait()
				if n := proxy.charged(clientIP); n != tokensForSlot(held) {
					t.Errorf("got %d tokens charged, want %d", n, tokensForSlot(held))
				}
			})
		})
	}
}
