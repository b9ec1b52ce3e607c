package proxy

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// relayed returns a client of door d that is logged in at a backend which goes
// on as play says.
func relayed(t *testing.T, d Listener, play func(*peer)) (*gate, *peer) {
	t.Helper()
	return relayedFor(t, d, time.Hour, play)
}

// relayedFor is relayed with a limit of silence.
func relayedFor(t *testing.T, d Listener, idle time.Duration, play func(*peer)) (*gate, *peer) {
	t.Helper()
	g := newGate(t, d.Protocol, func(b *peer) {
		b.readHeader()
		b.say(map[string]string{"imap": imapHello, "pop3": pop3Hello}[d.Protocol.Name()])
		b.line()
		b.say(map[string]string{"imap": "1 OK in", "pop3": "+OK in"}[d.Protocol.Name()])
		play(b)
	})
	g.Timeouts.Idle = idle
	c := g.enter(d)
	tryLogin(c, d, "right")
	c.hear(map[string]string{"imap": "a1 OK in", "pop3": "+OK in"}[d.Protocol.Name()])
	return g, c
}

// relayBetween returns a relay without a session.
func relayBetween(client, backend net.Conn) *relay {
	near, far := netpoll.Wrap(client), netpoll.Wrap(backend)
	r := newRelay(side{EndClient, near, near}, side{EndBackend, far, far}, func() {})
	r.idleLimit, r.lastMove, r.workers = time.Hour, time.Since(epoch), newWorkers()
	return r
}

var allDoors = []Listener{imapDoor, imapsDoor, pop3Door, pop3sDoor}

// eachDoor runs a test for each door in a bubble.
func eachDoor(t *testing.T, test func(t *testing.T, d Listener)) {
	for _, d := range allDoors {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, d) })
		})
	}
}

// What both sides have said too early is the first the other hears.
func TestRelayBeginsWithWhatWasReadAhead(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		early, late := strings.Repeat("early ", 600), strings.Repeat("late ", 700)
		g := newGate(t, d.Protocol, func(b *peer) {
			b.readHeader()
			b.say(map[string]string{"imap": imapHello, "pop3": pop3Hello}[d.Protocol.Name()])
			b.line()
			b.say(map[string]string{"imap": "1 OK in", "pop3": "+OK in"}[d.Protocol.Name()], late)
			b.hear(early, "then")
			b.say("now")
			b.seeEnd()
		})
		c := g.enter(d)
		login := map[string][]string{"imap": {"a1 LOGIN u p"}, "pop3": {"USER u", "PASS p"}}[d.Protocol.Name()]
		c.say(append(login, early)...)
		if d.Protocol.Name() == "pop3" {
			c.hear("+OK")
		}
		c.hear(map[string]string{"imap": "a1 OK in", "pop3": "+OK in"}[d.Protocol.Name()], late)
		c.say("then")
		c.hear("now")
		c.Close()
		r := g.record()
		if want := int64(len(early) + 2 + len("then\r\n")); r.FromClient != want {
			t.Errorf("%d octets from the client, want %d", r.FromClient, want)
		}
		if want := int64(len(late) + 2 + len("now\r\n")); r.ToClient != want {
			t.Errorf("%d octets to the client, want %d", r.ToClient, want)
		}
	})
}

// A client that has said its last word still hears the backend's.
func TestHalfCloseByClient(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		answer := strings.Repeat("answer ", 30_000)
		g, c := relayed(t, d, func(b *peer) {
			b.hear("LAST")
			b.seeEnd()
			<-time.After(20 * time.Second)
			b.say(answer)
		})
		c.say("LAST")
		c.halfClose()
		c.hear(answer)
		c.seeEnd()
		if r := g.record(); r.End != EndClient || r.Err != nil || r.Step != StepRelay || r.ToClient != int64(len(answer)+2) || r.FromClient != 6 {
			t.Errorf("record %+v", r)
		}
	})
}

// A backend that has said its last word may hear more.
func TestHalfCloseByBackend(t *testing.T) {
	for _, d := range []Listener{imapDoor, pop3Door} { // in TLS, Go's client takes the end for one both ways
		synctest.Test(t, func(t *testing.T) {
			g, c := relayed(t, d, func(b *peer) {
				b.say("LAST")
				b.halfClose()
				b.hear("thanks")
				b.seeEnd()
			})
			c.hear("LAST")
			c.seeEnd()
			<-time.After(halfOpenClient - time.Second)
			c.say("thanks")
			c.Close()
			if r := g.record(); r.End != EndBackend || r.Err != nil || r.FromClient != 8 || r.ToClient != 6 {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// A session that the backend ends does so for the client in good order, in TLS
// too: whoever is cut off without a close_notify must think of an attack.
func TestBackendEnds(t *testing.T) {
	for name, c := range map[string]struct {
		play func(*peer)
		err  bool
	}{
		"closes":       {func(b *peer) { b.say("* BYE") }, false},
		"breaks off":   {func(b *peer) { b.say("* BYE"); b.Conn.(*memConn).reset() }, true},
		"half-closes":  {func(b *peer) { b.say("* BYE"); b.halfClose(); b.seeBreak() }, false},
		"after a talk": {func(b *peer) { b.say("* BYE"); b.hear("hello") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			eachDoor(t, func(t *testing.T, d Listener) {
				g, p := relayed(t, d, c.play)
				p.hear("* BYE")
				if name == "after a talk" {
					p.say("hello")
				}
				p.seeEnd()
				p.Close()
				r := g.record()
				if r.End != EndBackend || r.Err != nil != c.err || r.Step != StepRelay || r.ToClient != 7 {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A client that is lost is lost to the backend too.
func TestClientEnds(t *testing.T) {
	for name, leave := range map[string]func(c *peer, tcp *memConn){
		"closes":                func(c *peer, _ *memConn) { c.Close() },
		"closes without a word": func(_ *peer, tcp *memConn) { tcp.Close() },
		"resets":                func(_ *peer, tcp *memConn) { tcp.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, d := range []Listener{imapDoor, imapsDoor} {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, d.Protocol, func(b *peer) {
						b.readHeader()
						b.say(imapHello)
						b.line()
						b.say("1 OK in")
						b.hear("hello")
						if _, err := b.line(); err == nil {
							t.Error("the backend hears more")
						}
					})
					near, _ := g.open(d).dial(clientAddr)
					c := newClient(t, near)
					g.greeted(c, d)
					c.say("a1 LOGIN u p")
					c.hear("a1 OK in")
					c.say("hello")
					begun := time.Now()
					leave(c, near)
					if r := g.record(); r.End != EndClient || r.FromClient != 7 || time.Since(begun) != 0 {
						t.Errorf("record %+v", r)
					}
				})
			}
		})
	}
}

// A client that goes on talking to a backend that has gone is let go, and hears
// what was said before.
func TestDeafBackend(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		_, c := relayed(t, d, func(b *peer) { b.say(strings.Repeat("bye ", 1000)) })
		for range 10 {
			c.say("hello?")
			synctest.Wait()
		}
		c.hear(strings.Repeat("bye ", 1000))
		c.seeBreak()
	})
}

// A backend that goes on talking to a client that has gone is told so.
func TestDeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, c := relayed(t, imapDoor, func(b *peer) {
			for {
				if _, err := b.Write([]byte("mail\r\n")); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		})
		c.hear("mail")
		c.Conn.(*memConn).end(false) // without a FIN that the gate would read: it has talk to do
		begun := time.Now()
		<-time.After(time.Minute)
		if s := g.Stats(); s.Open != 0 {
			t.Errorf("after %v: %+v", time.Since(begun), s)
		}
	})
}

func TestStatsOfRelay(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		g, c := relayed(t, d, (*peer).echo)
		synctest.Wait()
		if s := g.Stats(); s.Relay != 1 || s.Open != 1 || s.Tarpit != 0 {
			t.Errorf("stats %+v", s)
		}
		c.Close()
		synctest.Wait()
		if s := g.Stats(); s.Relay != 0 || s.Open != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// What is buffered for one session is not seen by the next.
func TestBuffersAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		ln := g.open(imapDoor)
		var clients []*peer
		for range 20 {
			c := g.from(clientAddr, ln)
			c.say("a1 LOGIN u right")
			c.hear("* OK …", "a1 OK …")
			clients = append(clients, c)
		}
		for round := range 10 {
			for i, c := range clients {
				c.say(strings.Repeat(string(rune('a'+i)), 100*round+1))
			}
			for i, c := range clients {
				c.hear("echo " + strings.Repeat(string(rune('a'+i)), 100*round+1))
			}
		}
	})
}
