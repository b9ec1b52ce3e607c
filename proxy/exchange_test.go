package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// A client that leaves an exchange before it has made a guess has made none, and
// keeps no slot. If it has kept one for long, it is charged.
func TestLeavingAnExchange(t *testing.T) {
	closes, halfCloses, stalls := func(p *peer) { p.Close() }, func(p *peer) { p.halfClose() }, func(*peer) {}
	for name, c := range map[string]struct {
		after time.Duration
		leave func(*peer)
		took  time.Duration
	}{
		"closes":           {0, closes, 0},
		"half-closes":      {0, halfCloses, 0},
		"closes in time":   {challengeGrace, closes, challengeGrace},
		"closes late":      {challengeGrace + 1, closes, challengeGrace + 1},
		"half-closes late": {9 * time.Second, halfCloses, 9 * time.Second},
		"closes at last":   {roundTimeout - 1, func(p *peer) { p.Close() }, roundTimeout - 1},
		"says half a line": {0, func(p *peer) { p.Write([]byte("QUJD")) }, roundTimeout},
		"stalls":           {0, stalls, roundTimeout},
	} {
		for _, d := range []Listener{imapDoor, imapsDoor} {
			t.Run(name+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := &judge{}
					g := newGate(t, d.Protocol, j.imap)
					g.limit(strict())
					p := g.enter(d)
					begun := time.Now()
					p.say("a1 AUTHENTICATE CRAM-MD5")
					p.hear("+ …")
					<-time.After(c.after)
					c.leave(p)
					<-time.After(c.took - c.after)
					r := g.record()
					if r.Duration != c.took || time.Since(begun) != c.took {
						t.Errorf("it took %v", r.Duration)
					}
					if r.Step != StepReplay || r.Err == nil || r.End != EndClient {
						t.Errorf("record %+v", r)
					}
					want, charged := limiter.Void, 0
					if c.took > challengeGrace {
						want, charged = limiter.Denied, 1
					}
					if a := g.settled()[0]; a.Outcome != want || (a.Err == nil) != (charged == 0) || a.Backend != backendAddr || len(j.judged()) != 0 || g.charged(clientIP) != charged {
						t.Errorf("attempt %+v", a)
					}
				})
			})
		}
	}
}

// Who cancels late has kept a slot as long.
func TestCancellingAnExchange(t *testing.T) {
	for after, charged := range map[time.Duration]int{0: 0, challengeGrace: 0, challengeGrace + 1: 1, roundTimeout - 1: 1} {
		for _, d := range []Listener{imapDoor, pop3sDoor} {
			t.Run(fmt.Sprintf("after %v %s", after, d.Name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := &judge{}
					g := newGate(t, d.Protocol, j.play(d.Protocol.Name()))
					g.limit(strict())
					p := g.enter(d)
					p.say(map[string]string{"imap": "a1 AUTHENTICATE CRAM-MD5", "pop3": "AUTH CRAM-MD5"}[d.Protocol.Name()])
					p.hear("+ …")
					<-time.After(after)
					p.say("*")
					p.hear(map[string]string{"imap": "a1 BAD …", "pop3": "-ERR …"}[d.Protocol.Name()])
					if r := g.record(); r.Attempts != 1 || g.charged(clientIP) != charged || len(j.judged()) != 0 {
						t.Errorf("record %+v, %d charged", r, g.charged(clientIP))
					}
				})
			})
		}
	}
}

// A backend may take its time over a challenge: Dovecot's penalty for an address
// is up to 15 s, before the first. That is not the client's time.
func TestSlowChallenge(t *testing.T) {
	for _, d := range []Listener{imapDoor, imapsDoor} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, d.Protocol, (&judge{opening: func() { <-time.After(15 * time.Second) }}).imap)
				p := g.enter(d)
				p.say("a1 AUTHENTICATE CRAM-MD5")
				p.hear("+ …")
				p.say(b64("u right"))
				p.hear("a1 OK …")
			})
		})
	}
}

// A denied client has as much time for its next try as before, whatever the last
// one was.
func TestTimeAfterADenial(t *testing.T) {
	for name, says := range map[string][]string{
		"LOGIN": {"a1 LOGIN u wrong"}, "unfit": {"a1 LOGIN {2+}\r\n\x00\x00 u"},
		"CRAM-MD5": {"a1 AUTHENTICATE CRAM-MD5", b64("u wrong")},
	} {
		for _, d := range []Listener{imapDoor, imapsDoor} {
			t.Run(name+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, d.Protocol, (&judge{}).imap)
					begun := time.Now()
					p := g.enter(d)
					p.say(says[0])
					if len(says) > 1 {
						p.hear("+ …")
						p.say(says[1])
					}
					p.hear("a1 NO …")
					<-time.After(roundTimeout + replayTimeout + time.Second)
					p.say("a2 NOOP")
					p.hear("a2 OK …", "* BYE …")
					p.seeEnd()
					if took := time.Since(begun); took != g.Timeouts.Login {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

// A client that has gone when it is let in is let in all the same, and not
// relayed.
func TestLeavingBeforeTheAnswer(t *testing.T) {
	for _, password := range []string{"right", "wrong"} {
		synctest.Test(t, func(t *testing.T) {
			slow := make(chan bool)
			g := newGate(t, dialogue.IMAP{}, (&judge{opening: func() { <-slow }}).imap)
			p := g.enter(imapDoor)
			p.say("a1 LOGIN u " + password)
			synctest.Wait()
			p.Conn.(*memConn).reset()
			close(slow)
			r := g.record()
			if r.End != EndClient || r.Step != StepReplay || r.Err == nil || (r.Account != "") != (password == "right") || r.Attempts != 1 {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// TestEnded has the ends of a relay in themselves: who is to blame, and what the
// other side is told.
func TestEnded(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		why    End  // when the client is read from and the backend written to
		reason bool // there is one
		cut    bool
		told   bool // the backend, of the end
	}{
		"last word":  {io.EOF, EndClient, false, false, true},
		"deaf":       {errors.Join(errNotRead, io.ErrClosedPipe), EndBackend, true, false, false},
		"break":      {errors.New("connection reset"), EndClient, true, true, false},
		"truncation": {io.ErrUnexpectedEOF, EndClient, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, near := newMemPair(clientAddr, gateAddr)
				far, backend := newMemPair(gateAddr, backendAddr)
				r := relayBetween(near, far)
				r.ended(&r.backend, &r.client, c.err)
				_, err := near.Write([]byte("hello"))
				if cut := errors.Is(err, os.ErrDeadlineExceeded); cut != c.cut {
					t.Errorf("cut: %t", cut)
				}
				backend.SetReadDeadline(time.Now().Add(time.Second))
				_, err = backend.Read(make([]byte, 1))
				if told := err == io.EOF; told != c.told {
					t.Errorf("told: %t, %v", told, err)
				}
				r.ended(&r.client, &r.backend, errors.New("too late to be the reason"))
				if r.endBy != c.why || (r.err != nil) != c.reason {
					t.Errorf("ended by %v: %v", r.endBy, r.err)
				}
			})
		})
	}
}
