package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// newHandshakeConn returns the connection of a handshake, and its client's end.
func newHandshakeConn(h *handshakeQueue) (near *memConn, c *handshakeConn) {
	near, far := newMemPair(clientAddr, proxyAddr)
	raw := netpoll.Wrap(far)
	return near, &handshakeConn{Conn: raw, raw: raw, queue: h, slot: handshakeSlot{rank: rankStranger}, deadline: time.Now().Add(10 * time.Second)}
}

// A handshake has a slot from when it has read something until it must wait for more.
func TestHandshakeConnTakesSlot(t *testing.T) {
	var h handshakeQueue
	near, c := newHandshakeConn(&h)
	b := make([]byte, 10)
	for range 3 {
		near.Write([]byte("hello"))
		if n, err := c.Read(b); n != 5 || err != nil || h.inUse() != 1 {
			t.Fatalf("read: got %d bytes, %v, with %d slots in use; want 5 bytes and 1 slot", n, err, h.inUse())
		}
	}
	c.SetReadDeadline(past)
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	c.SetReadDeadline(time.Time{})
	c.finish()
	if h.inUse() != 0 {
		t.Error("the slot was not given back")
	}
	c.finish()
	near.Write([]byte("hello"))
	if n, err := c.Read(b); n != 5 || err != nil || h.inUse() != 0 {
		t.Errorf("after the handshake: got %d bytes, %v, with %d slots in use; want 5 bytes and no slot", n, err, h.inUse())
	}
}

// A handshake of a stranger that reads its hello in parts waits no longer than any
// other stranger's. One that has been computed in part waits until its deadline.
func TestHandshakeConnWaits(t *testing.T) {
	for r, most := range map[rank]time.Duration{rankStranger: maxStrangerWait, rankKnown: 10 * time.Second, rankStarted: 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var h handshakeQueue
			var other handshakeSlot
			h.acquire(&other)
			near, c := newHandshakeConn(&h)
			c.slot.rank = r
			start := time.Now()
			near.Write([]byte("hello"))
			if _, err := c.Read(make([]byte, 10)); err != errNoSlotInTime || time.Since(start) != most {
				t.Errorf("rank %v: got %v after %v, want %v after %v", r, err, time.Since(start), errNoSlotInTime, most)
			}
			time.AfterFunc(time.Second/2, func() { h.release(&other) })
			near.Write([]byte("hello"))
			c.deadline = time.Now().Add(10 * time.Second)
			if _, err := c.Read(make([]byte, 10)); err != nil {
				t.Errorf("rank %v: got %v", r, err)
			}
			if c.finish(); h.inUse() != 0 {
				t.Errorf("got %d slots in use, want none", h.inUse())
			}
		})
	}
}

// A handshake that has been computed in part has the first rank. A request for another
// hello, which costs nothing, does not change the rank.
func TestHandshakeRankOnceStarted(t *testing.T) {
	for name, c := range map[string]struct {
		curves []tls.CurveID
		hellos int // each in a read of its own at least
	}{
		"at once":      {[]tls.CurveID{tls.CurveP256}, 1},
		"second hello": {[]tls.CurveID{tls.X25519, tls.CurveP256}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, conn := newHandshakeConn(new(handshakeQueue))
				config := &tls.Config{InsecureSkipVerify: true, CurvePreferences: c.curves}
				go tls.Client(near, config).Handshake()
				serving := testCert.Server()
				serving.CurvePreferences = []tls.CurveID{tls.CurveP256}
				recorder := &rankRecorder{handshakeConn: conn}
				if err := tls.Server(recorder, serving).Handshake(); err != nil {
					t.Fatal(err)
				}
				conn.finish()
				if first := slices.Index(recorder.ranks, rankStarted); first < c.hellos {
					t.Errorf("got ranks %v, want %v after %d hellos", recorder.ranks, rankStarted, c.hellos)
				}
			})
		})
	}
}

// rankRecorder notes the rank of each read.
type rankRecorder struct {
	*handshakeConn
	ranks []rank
}

func (c *rankRecorder) Read(p []byte) (int, error) {
	c.ranks = append(c.ranks, c.slot.rank)
	return c.handshakeConn.Read(p)
}

// Clients that send no hello, or a part of one, hold no slot.
func TestUnfinishedHelloHoldsNoSlot(t *testing.T) {
	for name, sends := range map[string]string{
		"sends nothing": "", "in a header": "\x16\x03\x01", "in a hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, nil)
				ln := proxy.listen(imapsListener)
				for range 5 * runtime.GOMAXPROCS(0) {
					proxy.connect(clientAddr, ln).Write([]byte(sends))
				}
				synctest.Wait()
				if n := proxy.handshakes.inUse(); n != 0 {
					t.Errorf("got %d slots in use, want none", n)
				}
				start := time.Now()
				proxy.awaitGreeting(proxy.connect(clientAddr, ln), imapsListener)
				if took := time.Since(start); took != 0 {
					t.Errorf("took %v, want %v", took, 0)
				}
			})
		})
	}
}

// Clients that do not answer the server's hello hold no slot.
func TestUnansweredServerHelloHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(imapsListener)
		for range 5 * runtime.GOMAXPROCS(0) {
			near, _ := ln.dial(clientAddr)
			failing := &failingReadConn{Conn: near}
			go tls.Client(failing, &tls.Config{InsecureSkipVerify: true}).Handshake()
		}
		synctest.Wait()
		if n := proxy.handshakes.inUse(); n != 0 {
			t.Errorf("got %d slots in use, want none", n)
		}
		proxy.awaitGreeting(proxy.connect(clientAddr, ln), imapsListener)
	})
}

// failingReadConn fails to read.
type failingReadConn struct{ net.Conn }

func (c *failingReadConn) Read([]byte) (int, error) {
	return 0, errors.New("cannot read")
}

// A handshake that fails, in whatever way, gives its slot back.
func TestFailedHandshakeGivesItsSlotBack(t *testing.T) {
	for name, fail := range map[string]func(*peer){
		"nonsense": func(client *peer) { client.send("a1 NOOP") },
		"a close":  func(client *peer) { client.Close() },
		"a reset":  func(client *peer) { client.Write([]byte("\x16\x03")); client.Conn.(*memConn).reset() },
		"an alert": func(client *peer) { _, _ = client.tryTLS(&tls.Config{ServerName: "other.example.org"}); client.Close() },
		"no version in common": func(client *peer) {
			_, _ = client.tryTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
			client.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, nil)
				ln := proxy.listen(imapsListener)
				for range 5 * runtime.GOMAXPROCS(0) {
					fail(proxy.connect(clientAddr, ln))
				}
				synctest.Wait()
				if s := proxy.Stats(); s.Open != 0 || proxy.handshakes.inUse() != 0 {
					t.Errorf("got stats %+v and %d slots in use, want none", s, proxy.handshakes.inUse())
				}
				last := proxy.connect(clientAddr, ln)
				proxy.awaitGreeting(last, imapsListener)
				last.Close()
				for i, r := range proxy.finalRecords() {
					if failed := i < 5*runtime.GOMAXPROCS(0); failed != (r.End == EndTLS) || failed != (r.Err != nil) {
						t.Errorf("record %d: got end %v (%v), want failed %t", i, r.End, r.Err, failed)
					}
				}
			})
		})
	}
}
