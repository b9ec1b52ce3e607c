package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// fiveSeconds is a policy under which one login reaches a backend every 5 s.
func fiveSeconds() limiter.Policy {
	p := strict()
	p.Global = limiter.Rate{Tokens: 1, Per: 5 * time.Second}
	return p
}

// TestWait has an attempt wait at every door: the backend is not dialled before
// the time has passed, and the client hears nothing.
func TestWait(t *testing.T) {
	for _, d := range []Listener{imapDoor, imapsDoor, pop3Door, pop3sDoor} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened time.Time
				j := &judge{opening: func() { opened = time.Now() }}
				g := newGate(t, d.Protocol, j.play(d.Protocol.Name()))
				g.limit(fiveSeconds())
				occupy(g)
				c := g.enter(d)
				begun := time.Now()
				tryLogin(c, d, "right")
				c.hearNothing(4999 * time.Millisecond)
				if s := g.Stats(); s.Tarpit != 1 || s.Relay != 0 || s.Open != 1 || g.dialled(backendAddr) != 0 {
					t.Errorf("while it waits: %+v, %d dials", s, g.dialled(backendAddr))
				}
				c.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK Logged in."}[d.Protocol.Name()])
				if waited := opened.Sub(begun); waited != 5*time.Second || time.Since(begun) != waited {
					t.Errorf("the backend was reached after %v, the client answered after %v", waited, time.Since(begun))
				}
				synctest.Wait()
				if s := g.Stats(); s.Tarpit != 0 || s.Relay != 1 {
					t.Errorf("after the wait: %+v", s)
				}
				a := g.settled()[0]
				want := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleGlobal, Wait: 5 * time.Second}
				if a.Waited != 5*time.Second || a.Took != 5*time.Second || a.Verdict != want || a.Gone || a.Outcome != limiter.Accepted {
					t.Errorf("attempt %+v", a)
				}
			})
		})
	}
}

// The stay in the tarpit is not the client's fault.
func TestWaitDoesNotCountAgainstTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.limit(fiveSeconds())
		g.Timeouts.Login = 8 * time.Second
		occupy(g)
		c := g.enter(imapDoor)
		begun := time.Now()
		c.hearNothing(2 * time.Second)
		c.say("a1 LOGIN u wrong") // waits for 3 s: a part of the token has come back
		c.hear("a1 NO …")
		c.hear("* BYE Disconnected for inactivity.")
		c.seeEnd()
		if took := time.Since(begun).Round(time.Millisecond); took != 11*time.Second {
			t.Errorf("the client was sent away after %v", took)
		}
		if r := g.record(); r.End != EndTimeout || r.Step != StepDialogue {
			t.Errorf("record %+v", r)
		}
	})
}

// A wait longer than what is left to the client ends with the attempt even so.
func TestWaitOutlastsTheClientsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.limit(fiveSeconds())
		g.Timeouts.Login = time.Second
		occupy(g)
		c := g.enter(imapDoor)
		c.say("a1 LOGIN u right")
		c.hear("a1 OK …")
	})
}

// Who leaves while it waits has tried nothing, and others get its turn.
func TestLeavingTheWait(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"closes":      func(p *peer) { p.Close() },
		"half-closes": func(p *peer) { p.halfClose() },
		"resets":      func(p *peer) { p.Conn.(*memConn).reset() },
		"says and closes": func(p *peer) {
			p.say("a2 NOOP")
			p.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{}
				g := newGate(t, dialogue.IMAP{}, j.imap)
				g.limit(fiveSeconds())
				occupy(g)
				ln := g.open(imapDoor)
				c := g.from(clientAddr, ln)
				c.say("a1 LOGIN u wrong")
				<-time.After(time.Second)
				leave(c)
				synctest.Wait()
				a := g.settled()
				if len(a) != 1 || a[0].Outcome != limiter.Void || !a[0].Gone || a[0].Waited != time.Second || a[0].Err == nil {
					t.Fatalf("attempts %+v", a)
				}
				if n, s := g.charged(clientIP), g.Stats(); n != 0 || s.Tarpit != 0 || s.Open != 0 || len(j.judged()) != 0 {
					t.Errorf("%d tokens charged, %v judged, %+v", n, j.judged(), s)
				}
				next := g.from("198.51.100.2:1", ln)
				next.hear("* OK …")
				begun := time.Now()
				next.say("a1 LOGIN u right")
				next.hear("a1 OK …")
				if took := time.Since(begun).Round(time.Millisecond); took != 4*time.Second {
					t.Errorf("the next waited %v", took)
				}
			})
		})
	}
}

func TestLeavingTheWaitIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.limit(fiveSeconds())
		occupy(g)
		c := g.enter(imapsDoor)
		c.say("a1 LOGIN u wrong")
		<-time.After(time.Second)
		c.Close()
		if r := g.record(); r.End != EndClient || r.Step != StepTarpit || r.Duration != time.Second || r.Err != nil || g.settled()[0].Err == nil || !g.settled()[0].Gone {
			t.Errorf("record %+v", r)
		}
	})
}

// TestTarpitIsBounded fills the tarpit in three ways. Whoever finds no place is
// refused at once; a place that is left can be had again.
func TestTarpitIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		limits   TarpitLimits
		in       []string // who waits
		out, too string   // who finds no place, and who finds one
	}{
		"source":       {TarpitLimits{Source: 2}, []string{"203.0.113.7:1", "203.0.113.7:2"}, "203.0.113.7:3", "203.0.113.8:1"},
		"IPv6 source":  {TarpitLimits{Source: 1}, []string{"[2001:db8::1]:1"}, "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"},
		"network":      {TarpitLimits{Network: 2}, []string{"203.0.113.7:1", "203.0.113.8:1"}, "203.0.113.9:1", "203.0.114.9:1"},
		"IPv6 network": {TarpitLimits{Network: 1}, []string{"[2001:db8::1]:1"}, "[2001:db8:0:1::1]:1", "[2001:db8:1::1]:1"},
		"total":        {TarpitLimits{Total: 2}, []string{"203.0.113.7:1", "[2001:db8::1]:1"}, "198.51.100.1:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
				g.limit(limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: 2 * time.Second}})
				g.Tarpit = c.limits
				occupy(g)
				ln := g.open(imapDoor)
				var waiting []*peer
				for _, addr := range c.in {
					p := g.from(addr, ln)
					p.say("a1 LOGIN u right")
					p.hear("* OK …")
					waiting = append(waiting, p)
					synctest.Wait()
				}
				out := g.from(c.out, ln)
				out.say("a1 LOGIN u right")
				out.hear("* OK …", "a1 "+imapBusy)
				out.seeEnd()
				if c.too != "" {
					p := g.from(c.too, ln)
					p.say("a1 LOGIN u right")
					p.hear("* OK …")
					synctest.Wait()
					if s := g.Stats(); s.Tarpit != len(c.in)+1 {
						t.Errorf("%d wait", s.Tarpit)
					}
					waiting = append(waiting, p)
				}
				for _, p := range waiting {
					p.hear("a1 OK …")
				}
				again := g.from(c.out, ln)
				again.say("a1 LOGIN u right")
				again.hear("* OK …", "a1 OK …")
			})
		})
	}
}

// What a client says while it waits is kept: for the dialogue after a denial, for
// the backend after success.
func TestPipelinedIntoTheWait(t *testing.T) {
	for name, size := range map[string]int{"little": 10, "a buffer full": 4096, "more than the buffer takes": 9000} {
		for _, d := range []Listener{imapDoor, imapsDoor} {
			t.Run(name+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
					g.limit(fiveSeconds())
					occupy(g)
					c := g.enter(d)
					c.say("a1 LOGIN u wrong", "a2 LOGIN u right")
					<-time.After(time.Second)
					long := strings.Repeat("x", size)
					c.say(long)
					c.hearNothing(3999 * time.Millisecond)
					c.hear("a1 NO …", "a2 OK …", "echo "+long)
					c.say("more")
					c.hear("echo more")
					if a := g.settled(); len(a) != 2 || a[0].Waited != 5*time.Second || a[1].Waited != 5*time.Second {
						t.Errorf("attempts %+v", a)
					}
				})
			})
		}
	}
}
