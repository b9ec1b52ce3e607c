package proxy

import (
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// A client that leaves an exchange before it has made a guess has made none, and
// keeps no slot.
func TestLeavingAnExchange(t *testing.T) {
	for name, c := range map[string]struct {
		leave func(*peer)
		took  time.Duration
	}{
		"closes":      {func(p *peer) { p.Close() }, 0},
		"half-closes": {func(p *peer) { p.halfClose() }, 0},
		"stalls":      {func(*peer) {}, roundTimeout},
	} {
		for _, d := range []Door{imapDoor, imapsDoor} {
			t.Run(name+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := &judge{}
					g := newGate(t, d.Protocol, j.imap)
					g.limit(strict())
					p := g.enter(d)
					begun := time.Now()
					p.say("a1 AUTHENTICATE CRAM-MD5")
					p.hear("+ …")
					c.leave(p)
					<-time.After(c.took)
					r := g.record()
					if r.Duration != c.took || time.Since(begun) != c.took {
						t.Errorf("it took %v", r.Duration)
					}
					if r.Room != RoomReplay || r.Err == nil || c.took == 0 && r.End != EndClient {
						t.Errorf("record %+v", r)
					}
					if a := r.Attempts[0]; a.Outcome != limiter.Void || a.Backend != backendAddr || len(j.judged()) != 0 || g.charged(clientIP) != 0 {
						t.Errorf("attempt %+v", a)
					}
				})
			})
		}
	}
}

// A backend may take its time over a challenge: Dovecot's penalty for an address
// is up to 15 s, before the first. That is not the client's time.
func TestSlowChallenge(t *testing.T) {
	for _, d := range []Door{imapDoor, imapsDoor} {
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
		for _, d := range []Door{imapDoor, imapsDoor} {
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
			if r.End != EndClient || r.Room != RoomReplay || r.Err == nil || (r.Account != "") != (password == "right") || len(r.Attempts) != 1 {
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
		"deaf":       {errors.Join(errDeaf, io.ErrClosedPipe), EndBackend, true, false, false},
		"break":      {errors.New("connection reset"), EndClient, true, true, false},
		"truncation": {io.ErrUnexpectedEOF, EndClient, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, near := newMemPair(clientAddr, gateAddr)
				far, backend := newMemPair(gateAddr, backendAddr)
				r := &relay{client: side{EndClient, near, near}, backend: side{EndBackend, far, far}}
				r.silence = newSilence(time.Hour, func() {})
				defer r.silence.stop()
				r.ended(r.backend, r.client, c.err)
				_, err := near.Write([]byte("hello"))
				if cut := errors.Is(err, os.ErrDeadlineExceeded); cut != c.cut {
					t.Errorf("cut: %t", cut)
				}
				backend.SetReadDeadline(time.Now().Add(time.Second))
				_, err = backend.Read(make([]byte, 1))
				if told := err == io.EOF; told != c.told {
					t.Errorf("told: %t, %v", told, err)
				}
				r.ended(r.client, r.backend, errors.New("too late to be the reason"))
				if r.why != c.why || (r.err != nil) != c.reason {
					t.Errorf("ended by %v: %v", r.why, r.err)
				}
			})
		})
	}
}
