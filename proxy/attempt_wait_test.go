package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// While an attempt waits, on any listener, the backend is not dialled and the client
// gets no answer.
func TestAttemptWaitsInTarpit(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened time.Time
				fake := &fakeBackend{onGreeted: func() { opened = time.Now() }}
				proxy := newTestProxy(t, l.Protocol, fake.protocolFunc(l.Protocol.Name()))
				proxy.setPolicy(oneLoginPerFiveSeconds())
				takeGlobalToken(proxy)
				client := proxy.connectGreeted(l)
				start := time.Now()
				sendLogin(client, l, "right")
				client.expectNothing(4999 * time.Millisecond)
				if s := proxy.Stats(); s.Tarpit != 1 || s.Relay != 0 || s.Open != 1 || s.OpenAt[l.Name] != 1 || proxy.dialCount(backendAddr) != 0 {
					t.Errorf("during the wait: got stats %+v and %d dials", s, proxy.dialCount(backendAddr))
				}
				client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK Logged in."}[l.Protocol.Name()])
				if waited := opened.Sub(start); waited != 5*time.Second || time.Since(start) != waited {
					t.Errorf("got backend dialled after %v and client answered after %v, want both after 5s", waited, time.Since(start))
				}
				synctest.Wait()
				if s := proxy.Stats(); s.Tarpit != 0 || s.Relay != 1 {
					t.Errorf("after the wait: got stats %+v", s)
				}
				a := proxy.settledAttempts()[0]
				want := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleGlobal, Wait: 5 * time.Second}
				if a.Waited != 5*time.Second || a.Took != 5*time.Second || a.Verdict != want || a.Gone || a.Outcome != limiter.Accepted {
					t.Errorf("got attempt %+v, want Verdict %v, Outcome %v", a, want, limiter.Accepted)
				}
			})
		})
	}
}

// Time in the tarpit does not count against the client's time before login.
func TestWaitDoesNotCountAgainstTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.setPolicy(oneLoginPerFiveSeconds())
		proxy.Timeouts.Login = 8 * time.Second
		takeGlobalToken(proxy)
		client := proxy.connectGreeted(imapListener)
		start := time.Now()
		client.expectNothing(2 * time.Second)
		client.send("a1 LOGIN u wrong") // waits for 3 s: a part of the token has been refilled
		client.expect("a1 NO …")
		client.expect("* BYE Disconnected for inactivity.")
		client.expectEOF()
		if took := time.Since(start).Round(time.Millisecond); took != 11*time.Second {
			t.Errorf("closed after %v, want 11s", took)
		}
		if r := proxy.finalRecord(); r.End != EndTimeout || r.Step != StepDialogue {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndTimeout, StepDialogue)
		}
	})
}

// A wait that is longer than the client's time before login ends with the attempt.
func TestWaitLongerThanLoginTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.setPolicy(oneLoginPerFiveSeconds())
		proxy.Timeouts.Login = time.Second
		takeGlobalToken(proxy)
		client := proxy.connectGreeted(imapListener)
		client.send("a1 LOGIN u right")
		client.expect("a1 OK …")
	})
}

// A client that closes while it waits is not charged, and others wait the less. It has
// spent the look at its password.
func TestClosingDuringWaitIsVoid(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"closes":      func(client *peer) { client.Close() },
		"half-closes": func(client *peer) { client.closeWrite() },
		"resets":      func(client *peer) { client.Conn.(*memConn).reset() },
		"sends and closes": func(client *peer) {
			client.send("a2 NOOP")
			client.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{}
				proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
				proxy.setPolicy(oneLoginPerFiveSeconds())
				takeGlobalToken(proxy)
				ln := proxy.listen(imapListener)
				client := proxy.connect(clientAddr, ln)
				client.send("a1 LOGIN u wrong")
				<-time.After(time.Second)
				leave(client)
				synctest.Wait()
				a := proxy.settledAttempts()
				if len(a) != 1 || a[0].Outcome != limiter.Void || !a[0].Gone || a[0].Waited != time.Second || a[0].Err == nil {
					t.Fatalf("got attempts %+v, want Outcome %v", a, limiter.Void)
				}
				if n := proxy.looks(clientIP); n != 1 {
					t.Errorf("got %d looks, want 1", n)
				}
				if n, s := proxy.charged(clientIP), proxy.Stats(); n != 0 || s.Tarpit != 0 || s.Open != 0 || s.OpenAt[imapListener.Name] != 0 || len(fake.checked()) != 0 {
					t.Errorf("got %d tokens charged, passwords %v checked, stats %+v, want none", n, fake.checked(), s)
				}
				next := proxy.connect("198.51.100.2:1", ln)
				next.expect("* OK …")
				start := time.Now()
				next.send("a1 LOGIN u right")
				next.expect("a1 OK …")
				if took := time.Since(start).Round(time.Millisecond); took != 4*time.Second {
					t.Errorf("the next client: waited %v, want 4s", took)
				}
			})
		})
	}
}

func TestClosingDuringWaitIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.setPolicy(oneLoginPerFiveSeconds())
		takeGlobalToken(proxy)
		client := proxy.connectGreeted(imapsListener)
		client.send("a1 LOGIN u wrong")
		<-time.After(time.Second)
		client.Close()
		if r := proxy.finalRecord(); r.End != EndClient || r.Step != StepTarpit || r.Duration != time.Second || r.Err != nil || proxy.settledAttempts()[0].Err == nil || !proxy.settledAttempts()[0].Gone {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndClient, StepTarpit)
		}
	})
}

// The tarpit is bounded by source, by network and in all. An attempt that finds no
// place is refused at once; a place that is given back can be taken again.
func TestTarpitIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		limits   TarpitLimits
		in       []string // of those who wait
		out, too string   // of one that finds no place, and of one that does
	}{
		"source":       {TarpitLimits{Source: 2}, []string{"203.0.113.7:1", "203.0.113.7:2"}, "203.0.113.7:3", "203.0.113.8:1"},
		"IPv6 source":  {TarpitLimits{Source: 1}, []string{"[2001:db8::1]:1"}, "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"},
		"network":      {TarpitLimits{Network: 2}, []string{"203.0.113.7:1", "203.0.113.8:1"}, "203.0.113.9:1", "203.0.114.9:1"},
		"IPv6 network": {TarpitLimits{Network: 1}, []string{"[2001:db8::1]:1"}, "[2001:db8:0:1::1]:1", "[2001:db8:1::1]:1"},
		"total":        {TarpitLimits{Total: 2}, []string{"203.0.113.7:1", "[2001:db8::1]:1"}, "198.51.100.1:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
				proxy.setPolicy(limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: 2 * time.Second}})
				proxy.Tarpit = c.limits
				takeGlobalToken(proxy)
				ln := proxy.listen(imapListener)
				var waiting []*peer
				for _, addr := range c.in {
					client := proxy.connect(addr, ln)
					client.send("a1 LOGIN u right")
					client.expect("* OK …")
					waiting = append(waiting, client)
					synctest.Wait()
				}
				out := proxy.connect(c.out, ln)
				out.send("a1 LOGIN u right")
				out.expect("* OK …", "a1 "+imapBusy)
				out.expectEOF()
				if c.too != "" {
					client := proxy.connect(c.too, ln)
					client.send("a1 LOGIN u right")
					client.expect("* OK …")
					synctest.Wait()
					if s := proxy.Stats(); s.Tarpit != len(c.in)+1 {
						t.Errorf("got %d attempts in the tarpit, want %d", s.Tarpit, len(c.in)+1)
					}
					waiting = append(waiting, client)
				}
				for _, client := range waiting {
					client.expect("a1 OK …")
				}
				again := proxy.connect(c.out, ln)
				again.send("a1 LOGIN u right")
				again.expect("* OK …", "a1 OK …")
			})
		})
	}
}

// What a client sends while it waits is kept: for the dialogue after a denial, for the
// backend after a login.
func TestDataSentDuringWaitIsKept(t *testing.T) {
	for name, size := range map[string]int{"little": 10, "a buffer full": 4096, "more than the buffer takes": 9000} {
		for _, l := range []Listener{imapListener, imapsListener} {
			t.Run(name+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
					proxy.setPolicy(oneLoginPerFiveSeconds())
					takeGlobalToken(proxy)
					client := proxy.connectGreeted(l)
					client.send("a1 LOGIN u wrong", "a2 LOGIN u right")
					<-time.After(time.Second)
					long := strings.Repeat("x", size)
					client.send(long)
					client.expectNothing(3999 * time.Millisecond)
					client.expect("a1 NO …", "a2 OK …", "echo "+long)
					client.send("more")
					client.expect("echo more")
					if a := proxy.settledAttempts(); len(a) != 2 || a[0].Waited != 5*time.Second || a[1].Waited != 5*time.Second {
						t.Errorf("got attempts %+v", a)
					}
				})
			})
		}
	}
}
