package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// An account under attack is closed to strangers only. Its owner can log in from a
// known address with any mail program, and from elsewhere with the usual password.
func TestAttackedAccountServesItsOwner(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{}
				proxy := newTestProxy(t, l.Protocol, fake.protocolFunc(l.Protocol.Name()))
				proxy.setPolicy(allRules())
				makeKnown(proxy, clientAddr, "u", "right")
				exhaustAccount(proxy, "u")
				ln := proxy.listen(l)
				for _, from := range []string{clientAddr, "192.0.2.99:1"} {
					client := proxy.connect(from, ln)
					proxy.awaitGreeting(client, l)
					start := time.Now()
					sendLogin(client, l, "right")
					client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
					if time.Since(start) != 0 {
						t.Errorf("from %s: took %v, want 0", from, time.Since(start))
					}
				}
				client := proxy.connect("192.0.3.1:1", ln)
				proxy.awaitGreeting(client, l)
				sendLogin(client, l, "guess") // the owner may know the password, so USER is not refused
				client.expect(map[string]string{"imap": "a1 " + imapBusy, "pop3": pop3Delay}[l.Protocol.Name()])
				client.expectEOF()
				if a := proxy.settledAttempts()[2]; a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}) || len(fake.checked()) != 2 {
					t.Errorf("got attempt %+v, want Verdict %v", a, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount})
				}
			})
		})
	}
}

const pop3Delay = "-ERR [LOGIN-DELAY] " + busyText

// Somebody at a known address who does not know the password can guess no more often
// than a stranger.
func TestKnownAddressGuessesLikeAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{}
		proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
		proxy.setPolicy(allRules())
		makeKnown(proxy, clientAddr, "u", "right")
		ln := proxy.listen(imapListener)
		for i := range 5 {
			client := proxy.connect(clientAddr, ln)
			client.expect("* OK …")
			client.send(fmt.Sprintf("a1 LOGIN u guess%d", i))
			client.expect(denials["imap"])
			client.Close()
		}
		client := proxy.connect(clientAddr, ln)
		client.expect("* OK …")
		client.send("a1 LOGIN u guess6")
		client.expect("a1 " + imapBusy)
		synctest.Wait()
		if a := proxy.settledAttempts()[5]; a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RulePair, Known: true, Near: true}) || len(fake.checked()) != 5 {
			t.Errorf("got attempt %+v, want Verdict %v", a, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RulePair, Known: true, Near: true})
		}
		client = proxy.connect(clientAddr, ln)
		client.expect("* OK …")
		client.send("a1 LOGIN u right")
		client.expect("a1 OK …")
	})
}

// In observe mode every rule is reported and none is enforced.
func TestObserve(t *testing.T) {
	for rule, prepare := range map[limiter.Rule]func(*testProxy){
		limiter.RuleSource:  func(proxy *testProxy) { spendSourceTokens(proxy, sourceTokens) },
		limiter.RuleAccount: func(proxy *testProxy) { exhaustAccount(proxy, "u") },
		limiter.RuleGlobal: func(proxy *testProxy) {
			p := allRules()
			p.Global = limiter.Rate{Tokens: 1, Per: time.Hour}
			proxy.setPolicy(p)
			takeGlobalToken(proxy)
		},
		limiter.RuleRepeat: func(proxy *testProxy) {
			k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP, Account: "u", Credential: proxy.Limiter.Credential("u", []byte("right"))})
			k.Settle(time.Now(), limiter.Denied)
		},
	} {
		for _, l := range []Listener{imapListener, pop3sListener} {
			t.Run(string(rule)+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(l.Protocol.Name()))
					proxy.setPolicy(allRules())
					prepare(proxy)
					proxy.Observe(true)
					client := proxy.connectGreeted(l)
					start := time.Now()
					sendLogin(client, l, "right")
					client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
					if took := time.Since(start); took != 0 {
						t.Errorf("took %v, want %v", took, 0)
					}
					a := proxy.settledAttempts()
					if len(a) != 1 || !a[0].Observed || a[0].Outcome != limiter.Accepted || a[0].Verdict.Rule != rule || a[0].Verdict.Action < limiter.Repeat {
						t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Accepted)
					}
					synctest.Wait()
					client.Close()
					if r := proxy.finalRecord(); !r.Observed || r.Verdict.Rule != rule || r.End != EndClient {
						t.Errorf("got record %+v, want End %v", r, EndClient)
					}
				})
			})
		}
	}
}

// In observe mode a connection that a rule would refuse is accepted and not counted as
// open. The limit of all connections is enforced even so.
func TestObserveAtConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.setPolicy(limiter.Policy{OpenPrelogin: 1})
		proxy.MaxConnections = 3
		proxy.Observe(true)
		ln := proxy.listen(imapListener)
		for range 3 {
			client := proxy.connectAndExpect(ln, clientAddr, "* OK …")
			client.login()
		}
		second := proxy.connectAndExpect(ln, clientAddr, "* BYE [UNAVAILABLE] "+busyText)
		second.expectEOF()
		for _, r := range proxy.finalRecords() {
			if observed := r.Verdict.Rule != limiter.RuleMaxConnections; r.Observed != observed {
				t.Errorf("got record %+v", r)
			}
		}
	})
}

// CRAM-MD5 names the account after the backend was asked for a challenge. The rules
// about accounts apply all the same, and a denial is charged to the account.
func TestAccountNamedInExchange(t *testing.T) {
	for _, l := range []Listener{imapListener, pop3sListener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{}
				proxy := newTestProxy(t, l.Protocol, fake.protocolFunc(l.Protocol.Name()))
				proxy.setPolicy(allRules())
				ln := proxy.listen(l)
				try := func(from, account, password string) (last string) {
					client := proxy.connect(from, ln)
					proxy.awaitGreeting(client, l)
					client.send(map[string]string{"imap": "a1 AUTHENTICATE CRAM-MD5", "pop3": "AUTH CRAM-MD5"}[l.Protocol.Name()])
					client.expect("+ …")
					client.send(b64(account + " " + password))
					last, _ = client.readLine()
					synctest.Wait()
					return last
				}
				for i := range 8 {
					try(fmt.Sprintf("198.51.%d.1:1", i), "u", "wrong")
				}
				if answer := try(clientAddr, "u", "right"); !strings.Contains(answer, "(") || len(fake.checked()) != 8 {
					t.Errorf("got answer %q and %d passwords checked, want a refusal and 8", answer, len(fake.checked()))
				}
				a := proxy.settledAttempts()[8]
				if a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}) || a.Account != "u" || a.Outcome != limiter.Void {
					t.Errorf("got attempt %+v, want Verdict %v, Outcome %v", a, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}, limiter.Void)
				}
				if answer := try(clientAddr, "other", "right"); !strings.Contains(answer, "OK") || proxy.charged(clientIP) != 0 {
					t.Errorf("got answer %q, want OK", answer)
				}
				for i := range 20 { // attempts that name no account are charged to none
					client := proxy.connect(fmt.Sprintf("198.51.%d.2:1", i), ln)
					proxy.awaitGreeting(client, l)
					client.send(map[string]string{"imap": "a1 AUTHENTICATE CRAM-MD5", "pop3": "AUTH CRAM-MD5"}[l.Protocol.Name()])
					client.expect("+ …")
					<-time.After(roundTimeout)
				}
				if answer := try("192.0.2.9:1", "third", "right"); !strings.Contains(answer, "OK") {
					t.Errorf("got answer %q, want OK", answer)
				}
			})
		})
	}
}
