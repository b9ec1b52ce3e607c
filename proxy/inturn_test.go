package proxy

import (
	"crypto/tls"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/netpoll"
)

// newTestTurn returns the connection under a handshake by itself, and its client's
// end.
func newTestTurn(h *handshakeQueue) (near *memConn, c *handshakeConn) {
	near, far := newMemPair(clientAddr, gateAddr)
	raw := netpoll.Wrap(far)
	return near, &handshakeConn{Conn: raw, raw: raw, queue: h, slot: handshakeSlot{rank: rankStranger}, deadline: time.Now().Add(10 * time.Second)}
}

// A handshake holds a slot from what it reads to when it must wait for more.
func TestInTurn(t *testing.T) {
	var h handshakeQueue
	near, c := newTestTurn(&h)
	b := make([]byte, 10)
	for range 3 {
		near.Write([]byte("hello"))
		if n, err := c.Read(b); n != 5 || err != nil || h.inUse() != 1 {
			t.Fatalf("read %d, %v; %d slots are taken", n, err, h.inUse())
		}
	}
	c.SetReadDeadline(past)
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	c.SetReadDeadline(time.Time{})
	c.finish()
	if h.inUse() != 0 {
		t.Error("the slot was not given back")
	}
	c.finish()
	near.Write([]byte("hello"))
	if n, err := c.Read(b); n != 5 || err != nil || h.inUse() != 0 {
		t.Errorf("after the handshake: read %d, %v; %d slots are taken", n, err, h.inUse())
	}
}

// One that reads its hello bit by bit waits for no longer than any other stranger;
// one that has been answered waits until its deadline.
func TestInTurnWaits(t *testing.T) {
	for r, most := range map[rank]time.Duration{rankStranger: maxStrangerWait, rankKnown: 10 * time.Second, rankStarted: 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var h handshakeQueue
			var other handshakeSlot
			h.acquire(&other)
			near, c := newTestTurn(&h)
			c.slot.rank = r
			begun := time.Now()
			near.Write([]byte("hello"))
			if _, err := c.Read(make([]byte, 10)); err != errNoSlotInTime || time.Since(begun) != most {
				t.Errorf("rank %v waited %v: %v", r, time.Since(begun), err)
			}
			time.AfterFunc(time.Second/2, func() { h.release(&other) })
			near.Write([]byte("hello"))
			c.deadline = time.Now().Add(10 * time.Second)
			if _, err := c.Read(make([]byte, 10)); err != nil {
				t.Errorf("rank %v: %v", r, err)
			}
			if c.finish(); h.inUse() != 0 {
				t.Errorf("%d slots are taken", h.inUse())
			}
		})
	}
}

// What has been computed puts a handshake first, and the wish for another hello,
// which costs nothing, does not.
func TestMidway(t *testing.T) {
	for name, c := range map[string]struct {
		curves []tls.CurveID
		hellos int // that come, each in a read of its own at least
	}{
		"at once":      {[]tls.CurveID{tls.CurveP256}, 1},
		"second hello": {[]tls.CurveID{tls.X25519, tls.CurveP256}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, turn := newTestTurn(new(handshakeQueue))
				config := &tls.Config{InsecureSkipVerify: true, CurvePreferences: c.curves}
				go tls.Client(near, config).Handshake()
				serving := gateCert.Server()
				serving.CurvePreferences = []tls.CurveID{tls.CurveP256}
				watched := &watchedTurn{handshakeConn: turn}
				if err := tls.Server(watched, serving).Handshake(); err != nil {
					t.Fatal(err)
				}
				turn.finish()
				if first := slices.Index(watched.ranks, rankStarted); first < c.hellos {
					t.Errorf("ranks %v, want %v after %d hellos", watched.ranks, rankStarted, c.hellos)
				}
			})
		})
	}
}

// watchedTurn notes the rank of each read.
type watchedTurn struct {
	*handshakeConn
	ranks []rank
}

func (c *watchedTurn) Read(p []byte) (int, error) {
	c.ranks = append(c.ranks, c.slot.rank)
	return c.handshakeConn.Read(p)
}
