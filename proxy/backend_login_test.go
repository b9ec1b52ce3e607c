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

// beginsExchange are the lines that begin an exchange of a client whose account is known
// from its source, and of one whose account nobody knows yet.
var beginsExchange = map[bool]string{
	true:  "AUTHENTICATE SCRAM-SHA-256 " + b64("n,,n=u,r=nonce"),
	false: "AUTHENTICATE CRAM-MD5",
}

// newProxyWithKnownAccount returns a proxy for which the account u is known from the
// client's source.
func newProxyWithKnownAccount(t *testing.T, p dialogue.Protocol, fake *fakeBackend) *testProxy {
	proxy := newTestProxy(t, p, fake.protocolFunc(p.Name()))
	rules := pairRule()
	rules.KnownTTL = time.Hour
	proxy.setPolicy(rules)
	makeKnown(proxy, clientAddr, "u", "right")
	return proxy
}

// A client that leaves an exchange before it has made a guess gives its login slot back.
// The limiter charges a stranger for the time. A client that is known from its source is
// charged as for a wrong password, if it has held the slot for long.
func TestClosingDuringExchange(t *testing.T) {
	closes, halfCloses, stalls := func(client *peer) { client.Close() }, func(client *peer) { client.closeWrite() }, func(*peer) {}
	for name, c := range map[string]struct {
		after time.Duration
		leave func(*peer)
		took  time.Duration
	}{
		"closes":            {0, closes, 0},
		"half-closes":       {0, halfCloses, 0},
		"closes after 1.9s": {1900 * time.Millisecond, closes, 1900 * time.Millisecond},
		"closes in time":    {challengeGrace, closes, challengeGrace},
		"closes late":       {challengeGrace + 1, closes, challengeGrace + 1},
		"half-closes late":  {9 * time.Second, halfCloses, 9 * time.Second},
		"closes in the end": {roundTimeout - 1, func(client *peer) { client.Close() }, roundTimeout - 1},
		"sends half a line": {0, func(client *peer) { client.Write([]byte("QUJD")) }, roundTimeout},
		"stalls":            {0, stalls, roundTimeout},
	} {
		for _, l := range []Listener{imapListener, imapsListener} {
			for near, begins := range beginsExchange {
				t.Run(fmt.Sprintf("%s %s known %t", name, l.Name, near), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						fake := &fakeBackend{}
						proxy := newProxyWithKnownAccount(t, l.Protocol, fake)
						client := proxy.connectGreeted(l)
						start := time.Now()
						client.send("a1 " + begins)
						client.expect("+ …")
						wait(c.after)
						c.leave(client)
						wait(c.took - c.after)
						r := proxy.finalRecord()
						if r.Duration != c.took || time.Since(start) != c.took {
							t.Errorf("took %v, want %v", r.Duration, c.took)
						}
						if r.Step != StepReplay || r.Err == nil || r.End != EndClient {
							t.Errorf("got record %+v, want Step %v, End %v", r, StepReplay, EndClient)
						}
						proxy.checkAbandoned(near, c.took)
						if a := proxy.settledAttempts()[0]; a.Backend != backendAddr || len(fake.checked()) != 0 {
							t.Errorf("got attempt %+v, want no password checked", a)
						}
					})
				})
			}
		}
	}
}

// checkAbandoned checks how the first attempt ended, whose client held a login slot for a
// time without an answer.
func (proxy *testProxy) checkAbandoned(near bool, held time.Duration) {
	proxy.t.Helper()
	want, wantErr := limiter.Void, errUnanswered
	switch {
	case near && held > challengeGrace:
		want = limiter.Denied
	case near:
		wantErr = nil
	}
	a := proxy.settledAttempts()[0]
	if a.Outcome != want || a.Err != wantErr || !a.Abandoned || a.Verdict.Near != near {
		proxy.t.Errorf("got attempt %+v, want Outcome %v, Err %v, Near %v", a, want, wantErr, near)
	}
	wantSource, wantPair := 0, map[limiter.Outcome]int{limiter.Denied: 1}[want] // of those that are known
	if !near {
		wantSource = tokensForSlot(held) // and none of a pair: the client has named no account
	}
	if source, pair := proxy.charged(clientIP), proxy.chargedPair(clientIP, "u"); source != wantSource || pair != wantPair {
		proxy.t.Errorf("got %d tokens charged to the source and %d to the pair for outcome %v, want %d and %d", source, pair, want, wantSource, wantPair)
	}
}

// tokensForSlot is how many tokens of a stranger are missing who has held a login slot for a
// time: one for each two seconds, and for a part of them.
func tokensForSlot(held time.Duration) int {
	return int((held + 2*time.Second - 1) / (2 * time.Second))
}

// A client that cancels an exchange is charged like one that closes, for it has held a
// slot as long.
func TestCancelIsCharged(t *testing.T) {
	for _, after := range []time.Duration{0, challengeGrace, challengeGrace + 1, roundTimeout - 1} {
		for _, l := range []Listener{imapListener, pop3sListener} {
			for near, begins := range beginsExchange {
				t.Run(fmt.Sprintf("after %v %s known %t", after, l.Name, near), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						fake := &fakeBackend{}
						proxy := newProxyWithKnownAccount(t, l.Protocol, fake)
						client := proxy.connectGreeted(l)
						client.send(map[string]string{"imap": "a1 " + begins, "pop3": strings.Replace(begins, "AUTHENTICATE", "AUTH", 1)}[l.Protocol.Name()])
						client.expect("+ …")
						wait(after)
						client.send("*")
						client.expect(map[string]string{"imap": "a1 BAD …", "pop3": "-ERR …"}[l.Protocol.Name()])
						if r := proxy.finalRecord(); r.Attempts != 1 || len(fake.checked()) != 0 {
							t.Errorf("got record %+v, want Attempts %v", r, 1)
						}
						proxy.checkAbandoned(near, after)
					})
				})
			}
		}
	}
}

// A backend may take long over its first challenge: Dovecot's penalty for an address is
// up to 15 s. That does not count as the client's time.
func TestSlowFirstChallenge(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, l.Protocol, (&fakeBackend{onGreeted: func() { <-time.After(15 * time.Second) }}).imap)
				client := proxy.connectGreeted(l)
				client.send("a1 AUTHENTICATE CRAM-MD5")
				client.expect("+ …")
				client.send(b64("u right"))
				client.expect("a1 OK …")
			})
		})
	}
}

// A client that has closed when the backend accepts its login has logged in, and is not
// relayed.
func TestClosingBeforeAnswer(t *testing.T) {
	for _, password := range []string{"right", "wrong"} {
		synctest.Test(t, func(t *testing.T) {
			slow := make(chan bool)
			proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{onGreeted: func() { <-slow }}).imap)
			client := proxy.connectGreeted(imapListener)
			client.send("a1 LOGIN u " + password)
			synctest.Wait()
			client.Conn.(*memConn).reset()
			close(slow)
			r := proxy.finalRecord()
			if r.End != EndClient || r.Step != StepReplay || r.Err == nil || (r.Account != "") != (password == "right") || r.Attempts != 1 {
				t.Errorf("got record %+v, want End %v, Step %v, Attempts %v", r, EndClient, StepReplay, 1)
			}
		})
	}
}

// A backend that closes at any step of the exchange has a client told that it is busy,
// and nothing is charged.
func TestBackendClosesDuringExchange(t *testing.T) {
	for name, serve := range map[string]func(*peer){
		"after the greeting": func(*peer) {},
		"after the command":  func(b *peer) { b.readLine() },
		"after a challenge":  func(b *peer) { b.readLine(); b.send("+ PDFAYj4=") },
		"after the response": func(b *peer) { b.readLine(); b.send("+ PDFAYj4="); b.readLine() },
		"within its answer":  func(b *peer) { b.readLine(); b.send("+ PDFAYj4="); b.readLine(); b.Write([]byte("1 OK")) },
		"in an endless line": func(b *peer) { b.readLine(); b.Write([]byte(strings.Repeat("1 OK", 9000))) },
		"in endless lines":   func(b *peer) { b.readLine(); b.Write([]byte(strings.Repeat("* again\r\n", 90))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) {
					b.readHeader()
					b.send(imapHello)
					serve(b)
				})
				proxy.setPolicy(sourceRule())
				client := proxy.connectGreeted(imapListener)
				client.send("a1 AUTHENTICATE CRAM-MD5", b64("u right"))
				line, _ := client.readLine()
				if strings.HasPrefix(line, "+") {
					line, _ = client.readLine()
				}
				if !strings.HasPrefix(line, "a1 "+strings.TrimSuffix(imapBusy, "…")) {
					t.Errorf("got %q, want %q", line, "a1 "+imapBusy)
				}
				client.expectEOF()
				r := proxy.finalRecord()
				if a := proxy.settledAttempts()[0]; a.Outcome != limiter.Void || r.End != EndBackend || r.Step != StepReplay || a.Err == nil {
					t.Errorf("got record %+v, want attempt %v, End %v, Step %v", r, limiter.Void, EndBackend, StepReplay)
				}
				if n := proxy.charged(clientIP); n != 0 || !proxy.backendStats(backendAddr).Up {
					t.Errorf("got %d tokens charged, want 0", n)
				}
			})
		})
	}
}

// While all login slots are in use an attempt waits for one for as long as it may, the
// time in the tarpit included.
func TestWaitForLoginSlot(t *testing.T) {
	for name, c := range map[string]struct {
		reply   time.Duration // when the slot is given back
		global  bool          // after 5 s in the tarpit
		expects string
		took    time.Duration
	}{
		"in time":               {3 * time.Second, false, "a1 OK …", 3 * time.Second},
		"too late":              {17 * time.Second, false, "a1 " + imapBusy, 10 * time.Second},
		"after a wait":          {8 * time.Second, true, "a1 OK …", 8 * time.Second},
		"too late after a wait": {17 * time.Second, true, "a1 " + imapBusy, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{delay: c.reply}
				proxy := newTestProxyWith(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}, Logins: 1},
					map[string]func(*peer){backendAddr: fake.imap})
				if c.global {
					proxy.setPolicy(oneLoginPerFiveSeconds())
				}
				ln := proxy.listen(imapListener)
				first, second := proxy.connect(clientAddr, ln), proxy.connect(clientAddr, ln)
				first.expect("* OK …")
				second.expect("* OK …")
				start := time.Now()
				first.send("a1 LOGIN u wrong")
				synctest.Wait()
				second.send("a1 LOGIN u right")
				second.expect(c.expects)
				if took := time.Since(start).Round(time.Millisecond); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if c.expects != "a1 OK …" {
					second.expectEOF()
					a := proxy.settledAttempts()[0]
					if a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}) || a.Outcome != limiter.Void {
						t.Errorf("got attempt %+v, want Verdict %v, Outcome %v", a, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}, limiter.Void)
					}
				}
				first.expect("a1 NO …")
			})
		})
	}
}

// A session that is logged in has no login slot.
func TestLoginGivesSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxyWith(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}, Logins: 1},
			map[string]func(*peer){backendAddr: (&fakeBackend{}).imap})
		ln := proxy.listen(imapListener)
		for range 3 {
			client := proxy.connect(clientAddr, ln)
			client.send("a1 LOGIN u right")
			client.expect("* OK …", "a1 OK …")
		}
		synctest.Wait()
		if s := proxy.backends.Stats()[0]; s.Logins != 0 || s.Sessions != 3 {
			t.Errorf("got backend %+v, want Logins %v, Sessions %v", s, 0, 3)
		}
	})
}

// The time that a client waits before a backend has its password is bounded, however
// many backends fail.
func TestWaitForBackendIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &fakeBackend{delay: 9 * time.Second}
		slower := &fakeBackend{delay: 29 * time.Second}
		proxy := newProxyWithTwoBackends(t, 1, slower.imap, slow.imap)
		ln := proxy.listen(imapListener)
		for range 2 {
			proxy.connect(clientAddr, ln).send("a1 LOGIN u wrong")
			synctest.Wait()
		}
		proxy.setBackend(otherAddr, nil) // in 9 s its slot is free, but it is down
		client := proxy.connect(clientAddr, ln)
		client.expect("* OK …")
		start := time.Now()
		client.send("a1 LOGIN u right")
		client.expect("a1 " + imapBusy)
		if took := time.Since(start); took > answerMax {
			t.Errorf("took %v, want at most %v", took, answerMax)
		}
	})
}
