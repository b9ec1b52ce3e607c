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

// TestCharge has attempts end in every way, and looks at what is left of the
// source's bucket.
func TestCharge(t *testing.T) {
	reply := func(line string) func(*peer) {
		return func(b *peer) {
			b.readHeader()
			b.say(imapHello)
			b.line()
			b.say(line)
			b.seeBreak()
		}
	}
	for name, c := range map[string]struct {
		play    func(*peer)
		says    string
		hears   string
		outcome limiter.Outcome
		dials   int
		took    time.Duration
	}{
		"accepted":           {(&judge{}).imap, "a1 LOGIN u right", "a1 OK …", limiter.Accepted, 1, 0},
		"denied":             {(&judge{}).imap, "a1 LOGIN u wrong", "a1 NO [AUTHENTICATIONFAILED] …", limiter.Denied, 1, 0},
		"denied late":        {(&judge{delay: 17 * time.Second}).imap, "a1 LOGIN u wrong", "a1 NO …", limiter.Denied, 1, 17 * time.Second},
		"temporary":          {reply("1 NO [UNAVAILABLE] Later."), "a1 LOGIN u right", "a1 NO [UNAVAILABLE] Later.", limiter.Void, 1, 0},
		"backend says BYE":   {reply("* BYE Later."), "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"backend babbles":    {reply("?"), "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"backend hangs":      {func(b *peer) { b.readHeader(); b.say(imapHello); b.line(); b.seeBreak() }, "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, replayTimeout},
		"backend ends":       {func(b *peer) { b.readHeader(); b.say(imapHello); b.line() }, "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"no backend":         {nil, "a1 LOGIN u right", "a1 " + imapBusy, limiter.Void, 1, 0},
		"name with NUL":      {(&judge{}).imap, "a1 LOGIN {3+}\r\nu\x00x right", "a1 NO [AUTHENTICATIONFAILED] Authentication failed.", limiter.Denied, 0, 0},
		"name with line end": {(&judge{}).imap, "a1 AUTHENTICATE PLAIN " + plain("u\r\nv", "right"), "a1 NO [AUTHENTICATIONFAILED] Authentication failed.", limiter.Denied, 0, 0},
		"password with NUL":  {(&judge{}).imap, "a1 LOGIN u {3+}\r\nx\x00x", "a1 NO [AUTHENTICATIONFAILED] Authentication failed.", limiter.Denied, 0, 0},
	} {
		for _, d := range []Listener{imapDoor, imapsDoor} {
			t.Run(name+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, dialogue.IMAP{}, c.play)
					g.limit(strict())
					p := g.enter(d)
					begun := time.Now()
					p.say(c.says)
					p.hear(c.hears)
					if took := time.Since(begun); took > 0 && took != c.took {
						t.Errorf("it took %v", took)
					}
					want := 0
					if c.outcome == limiter.Denied {
						want = 1
					}
					if n := g.charged(clientIP); n != want || g.charged(ap("203.0.113.8:1").Addr()) != 0 {
						t.Errorf("%d tokens charged", n)
					}
					a := g.settled()
					if len(a) != 1 || !strings.HasPrefix(a[0].Account, "u") || a[0].Outcome != c.outcome || g.dialled(backendAddr) != c.dials {
						t.Errorf("%d dials, attempts %+v", g.dialled(backendAddr), a)
					}
				})
			})
		}
	}
}

// A denied client may try again, three times in all. It is told of each denial,
// and then that it was one too many.
func TestTries(t *testing.T) {
	for _, d := range []Listener{imapDoor, imapsDoor, pop3Door, pop3sDoor} {
		for _, wrong := range []string{"wrong", "w\rng"} {
			t.Run(fmt.Sprintf("%s %q", d.Name, wrong), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, d.Protocol, (&judge{delay: time.Second}).play(d.Protocol.Name()))
					c := g.enter(d)
					for range 3 {
						if d.Protocol.Name() == "imap" {
							c.say("a1 AUTHENTICATE PLAIN "+plain("u", wrong), "a2 NOOP")
							c.hear("a1 NO [AUTHENTICATIONFAILED] Authentication failed.")
							if len(g.settled()) < 3 {
								c.hear("a2 OK …")
							}
						} else {
							c.say("USER u", "PASS "+wrong)
							c.hear("+OK", "-ERR [AUTH] Authentication failed.")
						}
					}
					c.hear(map[string]string{"imap": "* BYE …", "pop3": "-ERR …"}[d.Protocol.Name()])
					c.seeEnd()
					r := g.record()
					if r.End != EndTries || r.Step != StepDialogue && r.Step != StepReplay && r.Step != StepVerdict || r.Attempts != 3 || r.Err == nil {
						t.Errorf("record %+v", r)
					}
				})
			})
		}
	}
}

func TestTriesAreAsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.Tries = 1
		c := g.enter(imapDoor)
		c.say("a1 LOGIN u wrong")
		c.hear("a1 NO …", "* BYE Too many failed logins. (…")
		c.seeEnd()
	})
}

// An exchange the client breaks off before it has made a guess costs nothing but
// a try, for each of them costs the backend a connection.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			b.say(imapHello)
			b.hear("1 AUTHENTICATE CRAM-MD5")
			b.say("+ PDFAYj4=")
			b.hear("*")
			b.say("1 BAD Authentication aborted by client.")
			b.seeBreak()
		})
		g.limit(strict())
		c := g.enter(imapDoor)
		for range 3 {
			c.say("a1 AUTHENTICATE CRAM-MD5")
			c.hear("+ PDFAYj4=")
			c.say("*")
			c.hear("a1 BAD Authentication aborted by client.")
		}
		c.hear("* BYE …")
		c.seeEnd()
		if n := g.charged(clientIP); n != 0 {
			t.Errorf("%d tokens charged", n)
		}
		g.record()
		for _, a := range g.settled() {
			if a.Outcome != limiter.Void || a.Method != "CRAM-MD5" || a.Err != nil {
				t.Errorf("attempt %+v", a)
			}
		}
	})
}

// While all login slots are taken an attempt waits for one, as long as it may,
// the time in the tarpit included.
func TestWaitForSlot(t *testing.T) {
	for name, c := range map[string]struct {
		reply  time.Duration // when the slot is given back
		global bool          // 5 s in the tarpit come first
		hears  string
		took   time.Duration
	}{
		"in time":         {3 * time.Second, false, "a1 OK …", 3 * time.Second},
		"too late":        {17 * time.Second, false, "a1 " + imapBusy, 10 * time.Second},
		"after a wait":    {8 * time.Second, true, "a1 OK …", 8 * time.Second},
		"too late for it": {17 * time.Second, true, "a1 " + imapBusy, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{delay: c.reply}
				g := newGateOf(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}, Logins: 1},
					map[string]func(*peer){backendAddr: j.imap})
				if c.global {
					g.limit(fiveSeconds())
				}
				ln := g.open(imapDoor)
				first, second := g.from(clientAddr, ln), g.from(clientAddr, ln)
				first.hear("* OK …")
				second.hear("* OK …")
				begun := time.Now()
				first.say("a1 LOGIN u wrong")
				synctest.Wait()
				second.say("a1 LOGIN u right")
				second.hear(c.hears)
				if took := time.Since(begun).Round(time.Millisecond); took != c.took {
					t.Errorf("it took %v", took)
				}
				if c.hears != "a1 OK …" {
					second.seeEnd()
					a := g.settled()[0]
					if a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}) || a.Outcome != limiter.Void {
						t.Errorf("attempt %+v", a)
					}
				}
				first.hear("a1 NO …")
			})
		})
	}
}

// A login slot is for logins: whoever is logged in holds none.
func TestSlotIsGivenBackAtLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateOf(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}, Logins: 1},
			map[string]func(*peer){backendAddr: (&judge{}).imap})
		ln := g.open(imapDoor)
		for range 3 {
			c := g.from(clientAddr, ln)
			c.say("a1 LOGIN u right")
			c.hear("* OK …", "a1 OK …")
		}
		synctest.Wait()
		if s := g.backends.Stats()[0]; s.Logins != 0 || s.Sessions != 3 {
			t.Errorf("backend %+v", s)
		}
	})
}

// The password goes to the backend once: a client that comes back to the
// dialogue does so without it.
func TestSecretIsWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var secrets []dialogue.Secret
		g := newGate(t, spying{dialogue.IMAP{}, func(r dialogue.Request) { secrets = append(secrets, r.Response) }}, (&judge{}).imap)
		g.limit(strict())
		d := imapDoor
		d.Protocol = g.backends.protocol
		c := g.enter(d)
		for _, line := range []string{"a1 LOGIN u wrong", "a1 LOGIN u {2+}\r\n\x00\x00", "a1 AUTHENTICATE PLAIN " + plain("u", "right")} {
			c.say(line)
			c.hear("a1 …")
		}
		synctest.Wait()
		if len(secrets) != 3 {
			t.Fatalf("%d secrets", len(secrets))
		}
		for i, s := range secrets {
			if strings.Trim(string(s), "\x00") != "" {
				t.Errorf("secret %d is still there", i)
			}
		}
	})
}

// spying sees every request.
type spying struct {
	dialogue.Protocol
	see func(dialogue.Request)
}

func (p spying) ReadRequest(c *dialogue.Conn, o dialogue.Offer) (dialogue.Request, error) {
	r, err := p.Protocol.ReadRequest(c, o)
	if err == nil {
		p.see(r)
	}
	return r, err
}
