package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// computes is how long the handshakes of a slow door compute.
const computes = 200 * time.Millisecond

// slowDoor is an IMAPS door whose handshakes count how many compute at once.
func slowDoor(now, most *atomic.Int32) Listener {
	d := imapsDoor
	d.Config = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-time.After(computes)
		return &imapsDoor.Config.Certificates[0], nil
	}}
	return d
}

// inUse is how many slots are taken and how many handshakes wait for one.
func (h *handshakeQueue) inUse() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.taken
	for r := range h.queues {
		n += h.queues[r].Len()
	}
	return n
}

// hold takes all slots of g, and returns how to give them back.
func (g *gate) hold() (give func()) {
	g.t.Helper()
	held := make([]handshakeSlot, g.handshakes.slots())
	for i := range held {
		if !g.handshakes.acquire(&held[i]) {
			g.t.Fatal("no slot is free")
		}
	}
	return func() {
		for i := range held {
			g.handshakes.release(&held[i])
		}
	}
}

// However many handshakes come at once, no more compute than there are slots.
func TestHandshakesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(slowDoor(&now, &most))
		slots := g.handshakes.slots()
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
		if took := time.Since(begun); took != 4*computes {
			t.Errorf("it took %v", took)
		}
		if synctest.Wait(); g.handshakes.inUse() != 0 {
			t.Errorf("%d slots are taken", g.handshakes.inUse())
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
				if n := g.handshakes.inUse(); n != 0 {
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
		if n := g.handshakes.inUse(); n != 0 {
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
				if s := g.Stats(); s.Open != 0 || g.handshakes.inUse() != 0 {
					t.Errorf("stats %+v, %d slots are taken", s, g.handshakes.inUse())
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
