package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// passwordGuesses are the guesses that show a password.
func passwordGuesses() map[string]guess {
	all := map[string]guess{}
	for way, g := range guesses {
		if g.rounds == 0 {
			all[way] = g
		}
	}
	return all
}

// denials are the proxy's own answers.
var denials = map[string]string{
	"imap": "a1 NO [AUTHENTICATIONFAILED] Authentication failed.",
	"pop3": "-ERR [AUTH] Authentication failed.",
}

// A guess that is made again, in any way, is denied without a backend in the same
// words, and charged once. Another password goes to the backend, and so does the same
// one once RepeatTTL has passed.
func TestRepeat(t *testing.T) {
	for way, first := range passwordGuesses() {
		for again, second := range passwordGuesses() {
			if first.protocol != second.protocol {
				continue // another protocol has other backends; the limiter is the same
			}
			t.Run(way+", "+again, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := &fakeBackend{delay: 2 * time.Second}
					proxy := newTestProxy(t, first.protocol, fake.protocolFunc(first.protocol.Name()))
					proxy.setPolicy(allRules())
					ln := proxy.listen(Listener{Name: "clear", Protocol: first.protocol})
					guessAndExpectDenial(proxy, ln, first)
					for range 3 {
						guessAndExpectDenial(proxy, ln, second)
					}
					if n := proxy.charged(clientIP); n != 1 || len(fake.checked()) != 1 {
						t.Errorf("got %d tokens charged and passwords %q checked, want one of each", n, fake.checked())
					}
					for _, a := range proxy.settledAttempts()[1:] {
						if a.Verdict.Action != limiter.Repeat || a.Verdict.Rule != limiter.RuleRepeat || a.Outcome != limiter.Denied || a.Backend != "" || a.Waited != a.Verdict.Wait {
							t.Errorf("got attempt %+v, want Outcome %v", a, limiter.Denied)
						}
					}
					<-time.After(time.Minute)
					guessAndExpectDenial(proxy, ln, second)
					if n := proxy.charged(clientIP); n != 1 || len(fake.checked()) != 2 {
						t.Errorf("after a minute: got %d tokens charged and passwords %q checked, want 1 and 2", n, fake.checked())
					}
					client := proxy.connect(clientAddr, ln)
					proxy.awaitGreeting(client, Listener{Protocol: first.protocol})
					sendLogin(client, Listener{Protocol: first.protocol}, "right")
					client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[first.protocol.Name()])
				})
			})
		}
	}
}

// guessAndExpectDenial makes a guess on a connection of its own.
func guessAndExpectDenial(proxy *testProxy, ln *memListener, guess guess) {
	proxy.t.Helper()
	client := proxy.connect(clientAddr, ln)
	proxy.awaitGreeting(client, Listener{Protocol: guess.protocol})
	guess.send(client)
	client.expect(denials[guess.protocol.Name()])
	client.Close()
	synctest.Wait()
}

// A client that closes before the denial arrives has been denied, and its next guess is
// a repeat.
func TestRepeatAfterClosing(t *testing.T) {
	for how, action := range actionsAfterGuess {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{delay: 2 * time.Second}
				proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
				proxy.setPolicy(allRules())
				ln := proxy.listen(imapListener)
				near, _ := ln.dial(clientAddr)
				client := newClient(t, near)
				proxy.awaitGreeting(client, imapListener)
				guesses["LOGIN"].send(client)
				action(client, guesses["LOGIN"], near)
				<-time.After(10 * time.Second)
				guessAndExpectDenial(proxy, ln, guesses["LOGIN"])
				if n := proxy.charged(clientIP); n != 1 || len(fake.checked()) != 1 {
					t.Errorf("got %d tokens charged and passwords %q checked, want one of each", n, fake.checked())
				}
			})
		})
	}
}

// A repeat counts as one of the tries that a connection has.
func TestRepeatsCountAsTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{}
		proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
		proxy.setPolicy(allRules())
		client := proxy.connectGreeted(imapListener)
		for range 3 {
			client.send("a1 LOGIN u wrong")
			client.expect(denials["imap"])
		}
		client.expect("* BYE Too many failed logins. (…")
		client.expectEOF()
		if len(fake.checked()) != 1 {
			t.Errorf("got passwords %q checked", fake.checked())
		}
	})
}

// Only a password can be a repeat: not a token, not an answer to a challenge, and not a
// password with which somebody acts for another account.
func TestOnlyPasswordsRepeat(t *testing.T) {
	for name, sends := range map[string]string{
		"a token":                    "a1 AUTHENTICATE XOAUTH2 " + b64("user=u\x01auth=Bearer wrong\x01\x01"),
		"another authorization name": "a1 AUTHENTICATE PLAIN " + b64("v\x00u\x00wrong"),
		"a challenge":                "a1 AUTHENTICATE CRAM-MD5",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{}
				proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
				proxy.setPolicy(allRules())
				ln := proxy.listen(imapListener)
				for range 2 {
					client := proxy.connect(clientAddr, ln)
					client.expect("* OK …")
					client.send(sends)
					if name != "another authorization name" {
						client.expect("+ …")
						client.send(b64("u wrong"))
					}
					client.expect("a1 NO …")
				}
				if len(fake.checked()) != 2 {
					t.Errorf("got passwords %q checked", fake.checked())
				}
			})
		})
	}
}
