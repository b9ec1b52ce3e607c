package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// slowDoor is an IMAPS door whose handshakes compute for a second, and count how
// many do so at once.
func slowDoor(now, most *atomic.Int32) Door {
	d := imapsDoor
	d.Config = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-time.After(time.Second)
		return &imapsDoor.Config.Certificates[0], nil
	}}
	return d
}

// However many handshakes come at once, no more compute than there are slots.
func TestHandshakesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(slowDoor(&now, &most))
		slots := runtime.GOMAXPROCS(0)
		ended := make(chan bool)
		begun := time.Now()
		for range 4 * slots {
			p := g.from(clientAddr, ln)
			go func() {
				_, err := p.tryTLS(nil)
				ended <- err == nil
			}()
		}
		for range 4 * slots {
			if !<-ended {
				t.Error("a handshake failed")
			}
		}
		if n := int(most.Load()); n != slots {
			t.Errorf("%d computed at once, %d may", n, slots)
		}
		if took := time.Since(begun); took != 4*time.Second {
			t.Errorf("it took %v", took)
		}
		if synctest.Wait(); len(g.handshakes.slots) != 0 {
			t.Errorf("%d slots are taken", len(g.handshakes.slots))
		}
	})
}

// Clients that do not speak, or not to the end, keep nobody out.
func TestSilentHandshakeHoldsNoSlot(t *testing.T) {
	for name, says := range map[string]string{
		"silent": "", "in a header": "\x16\x03\x01", "in a hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, nil)
				ln := g.open(imapsDoor)
				for range 5 * runtime.GOMAXPROCS(0) {
					g.from(clientAddr, ln).Write([]byte(says))
				}
				synctest.Wait()
				if n := len(g.handshakes.slots); n != 0 {
					t.Errorf("%d slots are taken", n)
				}
				begun := time.Now()
				g.greeted(g.from(clientAddr, ln), imapsDoor)
				if took := time.Since(begun); took != 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Nor do those who have seen the server's hello and do not answer it.
func TestHalfAHandshakeHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(imapsDoor)
		for range 5 * runtime.GOMAXPROCS(0) {
			near, _ := ln.dial(clientAddr)
			deaf := &deafConn{Conn: near}
			go tls.Client(deaf, &tls.Config{InsecureSkipVerify: true}).Handshake()
		}
		synctest.Wait()
		if n := len(g.handshakes.slots); n != 0 {
			t.Errorf("%d slots are taken", n)
		}
		g.greeted(g.from(clientAddr, ln), imapsDoor)
	})
}

// deafConn hears nothing of what is said to it.
type deafConn struct{ net.Conn }

func (c *deafConn) Read([]byte) (int, error) {
	return 0, errors.New("deaf")
}

// A handshake that fails gives its slot back, whatever it fails by.
func TestFailedHandshakeGivesItsSlotBack(t *testing.T) {
	for name, fail := range map[string]func(*peer){
		"nonsense": func(p *peer) { p.say("a1 NOOP") },
		"the end":  func(p *peer) { p.Close() },
		"a break":  func(p *peer) { p.Write([]byte("\x16\x03")); p.Conn.(*memConn).reset() },
		"an alert": func(p *peer) { _, _ = p.tryTLS(&tls.Config{ServerName: "other.example.org"}); p.Close() },
		"no version in common": func(p *peer) {
			_, _ = p.tryTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
			p.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, nil)
				ln := g.open(imapsDoor)
				for range 5 * runtime.GOMAXPROCS(0) {
					fail(g.from(clientAddr, ln))
				}
				synctest.Wait()
				if s := g.Stats(); s.Open != 0 || len(g.handshakes.slots) != 0 {
					t.Errorf("stats %+v, %d slots are taken", s, len(g.handshakes.slots))
				}
				last := g.from(clientAddr, ln)
				g.greeted(last, imapsDoor)
				last.Close()
				for i, r := range g.allRecords() {
					if failed := i < 5*runtime.GOMAXPROCS(0); failed != (r.End == EndTLS) || failed != (r.Err != nil) {
						t.Errorf("record %d: %v, %v", i, r.End, r.Err)
					}
				}
			})
		})
	}
}

// TestInTurn looks at the connection under a handshake by itself.
func TestInTurn(t *testing.T) {
	near, far := newMemPair(clientAddr, gateAddr)
	h := newHandshakes(1)
	slots := h.slots
	turn := &inTurn{Conn: far, handshakes: h}
	b := make([]byte, 10)
	for range 3 {
		near.Write([]byte("hello"))
		if n, err := turn.Read(b); n != 5 || err != nil || len(slots) != 1 {
			t.Fatalf("read %d, %v; %d slots are taken", n, err, len(slots))
		}
	}
	turn.SetReadDeadline(past)
	if _, err := turn.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || len(slots) != 1 {
		t.Errorf("read: %v; %d slots are taken", err, len(slots))
	}
	turn.SetReadDeadline(time.Time{})
	turn.done()
	if len(slots) != 0 {
		t.Error("the slot was not given back")
	}
	turn.done()
	near.Write([]byte("hello"))
	if n, err := turn.Read(b); n != 5 || err != nil || len(slots) != 0 {
		t.Errorf("after the handshake: read %d, %v; %d slots are taken", n, err, len(slots))
	}
}

// One that waits for its turn gives in to its deadline all the same.
func TestHandshakeTimeoutInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		g.init()
		ln := g.open(imapsDoor)
		for range cap(g.handshakes.slots) {
			g.handshakes.slots <- struct{}{}
		}
		p := g.from(clientAddr, ln)
		ended := make(chan error, 1)
		go func() {
			_, err := p.tryTLS(nil)
			ended <- err
		}()
		<-time.After(g.Timeouts.Handshake + time.Second)
		for range cap(g.handshakes.slots) {
			<-g.handshakes.slots
		}
		if err := has(t, ended); err == nil {
			t.Error("the handshake succeeded")
		}
		if r := g.record(); r.End != EndTLS {
			t.Errorf("record %+v", r)
		}
	})
}

// When handshakes wait for too long, newcomers are turned away before theirs, but
// nobody from a source that is known. When the rush is over,
// everybody is welcome again.
func TestRush(t *testing.T) {
	for _, d := range allDoors {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, d.Protocol, (&judge{}).play(d.Protocol.Name()))
				p := strict()
				p.KnownTTL = time.Hour
				g.limit(p)
				ln := g.open(d)
				friend := g.from("198.51.100.1:1", ln)
				g.greeted(friend, d)
				tryLogin(friend, d, "right")
				friend.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
				g.handshakes.waiting.Store(int64(100 * cap(g.handshakes.slots)))
				g.handshakes.each.Store(int64(rushMost / 100))
				if g.handshakes.rush() {
					t.Errorf("a wait of %v is a rush", rushMost)
				}
				g.handshakes.waiting.Add(1)
				stranger := g.from(clientAddr, ln)
				if d.TLS == Upgrade {
					g.greeted(stranger, d)
					stranger.say(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[d.Protocol.Name()])
					stranger.hear(map[string]string{"imap": "a1 NO [UNAVAILABLE] …", "pop3": "-ERR [SYS/TEMP] …"}[d.Protocol.Name()])
				}
				stranger.seeEnd()
				synctest.Wait()
				g.mu.Lock()
				r := g.records[0]
				g.mu.Unlock()
				if r.Verdict != inRush || r.End != EndRefused || r.Handshake != HandshakeNone {
					t.Errorf("record %+v", r)
				}
				neighbour := g.from("198.51.100.1:2", ln)
				if d.TLS == Upgrade {
					g.greeted(neighbour, d)
					neighbour.say(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[d.Protocol.Name()])
					neighbour.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
				}
				neighbour.startTLS(nil)
				g.handshakes.waiting.Store(0)
				g.greeted(g.from(clientAddr, ln), d)
			})
		})
	}
}

// TestRushIsMeasured has handshakes that take a second wait for each other.
func TestRushIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(slowDoor(&now, &most))
		for range 6 * runtime.GOMAXPROCS(0) {
			p := g.from(clientAddr, ln)
			go func() { _, _ = p.tryTLS(nil) }()
		}
		var seen []bool
		for range 14 {
			<-time.After(time.Second / 2)
			if on := g.handshakes.rush(); len(seen) == 0 || seen[len(seen)-1] != on {
				seen = append(seen, on)
			}
		}
		if !slices.Equal(seen, []bool{false, true, false}) {
			t.Errorf("it is a rush: %v", seen)
		}
	})
}
