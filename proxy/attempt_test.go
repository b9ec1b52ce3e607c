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

// What an attempt is charged depends on how it ends.
func TestChargeByOutcome(t *testing.T) {
	reply := func(line string) func(*peer) {
		return func(b *peer) {
			b.readHeader()
			b.send(imapHello)
			b.readLine()
			b.send(line)
			b.expectClosed()
		}
	}
	for name, c := range map[string]struct {
		play    func(*peer)
		sends   string
		expects string
		outcome limiter.Outcome
		dials   int
		took    time.Duration
	}{
		"accepted":                {(&fakeBackend{}).imap, "a1 LOGIN u right", "a1 OK …", limiter.Accepted, 1, 0},
		"denied":                  {(&fakeBackend{}).imap, "a1 LOGIN u wrong", "a1 NO [AUTHENTICATIONFAILED] …", limiter.Denied, 1, 0},
		"denied after a delay":    {(&fakeBackend{delay: 17 * time.Second}).imap, "a1 LOGIN u wrong", "a1 NO …", limiter.Denied, 1, 17 * time.Second},
		"temporary":               {reply("1 NO [UNAVAILABLE] Later."), "a1 LOGIN u right", "a1 NO [UNAVAILABLE] Later.", limiter.Void, 1, 0},
		"backend sends BYE":       {reply("* BYE Later."), "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"backend sends nonsense":  {reply("?"), "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"backend does not answer": {func(b *peer) { b.readHeader(); b.send(imapHello); b.readLine(); b.expectClosed() }, "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, replayTimeout},
		"backend closes":          {func(b *peer) { b.readHeader(); b.send(imapHello); b.readLine() }, "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"no backend":              {nil, "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"name with NUL":           {(&fakeBackend{}).imap, "a1 LOGIN {3+}\r\nu\x00x right", "a1 NO [AUTHENTICATIONFAILED] Authentication failed.", limiter.Denied, 0, 0},
		"name with line end":      {(&fakeBackend{}).imap, "a1 AUTHENTICATE PLAIN " + plain("u\r\nv", "right"), "a1 NO [AUTHENTICATIONFAILED] Authentication failed.", limiter.Denied, 0, 0},
		"password with NUL":       {(&fakeBackend{}).imap, "a1 LOGIN u {3+}\r\nx\x00x", "a1 NO [AUTHENTICATIONFAILED] Authentication failed.", limiter.Denied, 0, 0},
	} {
		for _, l := range []Listener{imapListener, imapsListener} {
			t.Run(name+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, dialogue.IMAP{}, c.play)
					proxy.setPolicy(sourceRule())
					client := proxy.connectGreeted(l)
					start := time.Now()
					client.send(c.sends)
					client.expect(c.expects)
					if took := time.Since(start); took > 0 && took != c.took {
						t.Errorf("it took %v", took)
					}
					want := 0
					if c.outcome == limiter.Denied {
						want = 1
					}
					if n := proxy.charged(clientIP); n != want || proxy.charged(mustAddrPort("203.0.113.8:1").Addr()) != 0 {
						t.Errorf("got %d tokens charged, want %d", n, want)
					}
					a := proxy.settledAttempts()
					if len(a) != 1 || !strings.HasPrefix(a[0].Account, "u") || a[0].Outcome != c.outcome || proxy.dialCount(backendAddr) != c.dials {
						t.Errorf("got %d dials and attempts %+v", proxy.dialCount(backendAddr), a)
					}
				})
			})
		}
	}
}

// A denied client may try again, three times in all. It gets an answer to each denial,
// and is then disconnected.
func TestTries(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
		for _, wrong := range []string{"wrong", "w\rng"} {
			t.Run(fmt.Sprintf("%s %q", l.Name, wrong), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, l.Protocol, (&fakeBackend{delay: time.Second}).protocolFunc(l.Protocol.Name()))
					client := proxy.connectGreeted(l)
					for range 3 {
						if l.Protocol.Name() == "imap" {
							client.send("a1 AUTHENTICATE PLAIN "+plain("u", wrong), "a2 NOOP")
							client.expect("a1 NO [AUTHENTICATIONFAILED] Authentication failed.")
							if len(proxy.settledAttempts()) < 3 {
								client.expect("a2 OK …")
							}
						} else {
							client.send("USER u", "PASS "+wrong)
							client.expect("+OK", "-ERR [AUTH] Authentication failed.")
						}
					}
					client.expect(map[string]string{"imap": "* BYE …", "pop3": "-ERR …"}[l.Protocol.Name()])
					client.expectEOF()
					r := proxy.finalRecord()
					if r.End != EndTries || r.Step != StepDialogue && r.Step != StepReplay && r.Step != StepVerdict || r.Attempts != 3 || r.Err == nil {
						t.Errorf("got record %+v, want End %v, Attempts %v", r, EndTries, 3)
					}
				})
			})
		}
	}
}

func TestTriesSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.Tries = 1
		client := proxy.connectGreeted(imapListener)
		client.send("a1 LOGIN u wrong")
		client.expect("a1 NO …", "* BYE Too many failed logins. (…")
		client.expectEOF()
	})
}

// An exchange that the client cancels before it has made a guess is not charged, but
// counts as one of the tries: each costs the backend a connection.
func TestCancelledExchangeIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			b.send(imapHello)
			b.expect("1 AUTHENTICATE CRAM-MD5")
			b.send("+ PDFAYj4=")
			b.expect("*")
			b.send("1 BAD Authentication aborted by client.")
			b.expectClosed()
		})
		proxy.setPolicy(sourceRule())
		client := proxy.connectGreeted(imapListener)
		for range 3 {
			client.send("a1 AUTHENTICATE CRAM-MD5")
			client.expect("+ PDFAYj4=")
			client.send("*")
			client.expect("a1 BAD Authentication aborted by client.")
		}
		client.expect("* BYE …")
		client.expectEOF()
		if n := proxy.charged(clientIP); n != 0 {
			t.Errorf("got %d tokens charged, want 0", n)
		}
		proxy.finalRecord()
		for _, a := range proxy.settledAttempts() {
			if a.Outcome != limiter.Void || a.Method != "CRAM-MD5" || !a.Abandoned || a.Err != errUnanswered {
				t.Errorf("got attempt %+v, want Outcome %v", a, limiter.Void)
			}
		}
	})
}

// The password is wiped from memory once the backend has it.
func TestSecretIsWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var secrets []dialogue.Secret
		proxy := newTestProxy(t, requestRecorder{dialogue.IMAP{}, func(r dialogue.Request) { secrets = append(secrets, r.Response) }}, (&fakeBackend{}).imap)
		proxy.setPolicy(sourceRule())
		l := imapListener
		l.Protocol = proxy.backends.protocol
		client := proxy.connectGreeted(l)
		for _, line := range []string{"a1 LOGIN u wrong", "a1 LOGIN u {2+}\r\n\x00\x00", "a1 AUTHENTICATE PLAIN " + plain("u", "right")} {
			client.send(line)
			client.expect("a1 …")
		}
		synctest.Wait()
		if len(secrets) != 3 {
			t.Fatalf("got %d secrets, want 3", len(secrets))
		}
		for i, s := range secrets {
			if strings.Trim(string(s), "\x00") != "" {
				t.Errorf("secret %d was not wiped", i)
			}
		}
	})
}

// requestRecorder passes every request to onRequest.
type requestRecorder struct {
	dialogue.Protocol
	onRequest func(dialogue.Request)
}

func (p requestRecorder) ReadRequest(c *dialogue.Conn, o dialogue.Offer) (dialogue.Request, error) {
	r, err := p.Protocol.ReadRequest(c, o)
	if err == nil {
		p.onRequest(r)
	}
	return r, err
}

// The account that an exchange names late is reported.
func TestAccountOfExchangeIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		client := proxy.connectGreeted(imapListener)
		client.send("a1 AUTHENTICATE CRAM-MD5")
		client.expect("+ …")
		client.send(b64("other wrong"))
		client.expect("a1 NO …")
		if a := proxy.settledAttempts()[0]; a.Account != "other" || a.Method != "CRAM-MD5" || a.Outcome != limiter.Denied {
			t.Errorf("got attempt %+v, want Outcome %v", a, limiter.Denied)
		}
	})
}

// An attempt is reported and settled before the client gets its answer, so a client
// that acts at once finds the limiter up to date.
func TestSettledBeforeTheAnswer(t *testing.T) {
	for name, sends := range map[string]string{
		"accepted": "a1 LOGIN u right", "denied": "a1 LOGIN u wrong", "unfit": "a1 LOGIN {2+}\r\n\x00\x00 u",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
				proxy.setPolicy(sourceRule())
				client := proxy.connectGreeted(imapListener)
				attempts := 0
				proxy.Settled = func(a Attempt) {
					attempts++
					synctest.Wait() // all other goroutines are idle
					if n := client.Conn.(*memConn).unread(); n != 0 {
						t.Errorf("got %d bytes sent to the client, want none", n)
					}
					if n := proxy.charged(clientIP); n == 1 != (a.Outcome == limiter.Denied) {
						t.Errorf("got %d tokens charged with outcome %v", n, a.Outcome)
					}
				}
				client.send(sends)
				<-time.After(time.Second) // Wait must not be called by two goroutines at once
				client.expect("a1 …")
				if attempts != 1 {
					t.Errorf("got %d attempts, want 1", attempts)
				}
			})
		})
	}
}
