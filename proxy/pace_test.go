package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/netpoll"
)

// Ten thousand idle sessions are closed evenly over the last five minutes, the longest idle
// first.
func TestIdleSessionsAreClosedEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, parts = 10_000, 30
		all := newIdlers(t, n)
		ended := all.startEnding(Grace{0, 12 * time.Hour})
		<-time.After(12*time.Hour - maxPacing)
		if closed := all.closings(); len(closed) != 0 {
			t.Fatalf("got %d sessions closed before the last %v, want none", len(closed), maxPacing)
		}
		order := 0
		for part := range parts {
			<-time.After(maxPacing / parts)
			closed := all.closings()
			if got, even := float64(len(closed)), float64(n)/parts; got < even-1 || got > even+1 {
				t.Errorf("part %d: got %v closed, want %v", part, got, even)
			}
			times := map[time.Duration]int{}
			for _, c := range closed {
				if times[c.after]++; times[c.after] > 4 {
					t.Fatalf("got more than 4 sessions closed at once after %v", c.after)
				}
			}
			slices.SortStableFunc(closed, func(a, b closedIdler) int { return int(a.after - b.after) })
			for _, c := range closed { // those of one step end in any order
				if c.index < order-4 || c.index > order+4 {
					t.Fatalf("got session %d closed as number %d, want the longest idle first", c.index, order)
				}
				order++
			}
		}
		if err := receivedNow(t, ended); err != nil || order != n {
			t.Errorf("Shutdown: got %v with %d sessions closed, want %d", err, order, n)
		}
	})
}

// Sessions that move data are not closed before the end, and those that moved some are tried
// later. The others are closed evenly all the same.
func TestActiveSessionsAreNotPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, total = 1000, 10 * time.Minute
		all := newIdlers(t, n)
		busy := func(i int) bool { return i%10 == 0 }
		sometimes := func(i int) bool { return i%10 == 1 } // every 90 s
		ended := all.startEnding(Grace{0, total})
		lastMove, pacing := map[int]time.Duration{}, total-maxPacing
		var closed []closedIdler
		for now := time.Duration(0); now < total; now += 10 * time.Second {
			for i, client := range all.clients {
				if busy(i) || sometimes(i) && (now/(10*time.Second)+time.Duration(i))%9 == 0 {
					lastMove[i] = now
					client.deliver("data")
				}
			}
			<-time.After(10 * time.Second)
			closings := all.closings()
			if now < total-20*time.Second && len(closings) > 40 {
				t.Errorf("after %v: got %d sessions closed in 10 s, want some 33", now, len(closings))
			}
			closed = append(closed, closings...)
			if want := n * int((now+10*time.Second-pacing)/time.Second) / 300; want < n*2/3 && want >= 0 && (len(closed) < want-2 || len(closed) > want+2) {
				t.Errorf("after %v: got %d sessions closed, want %d", now, len(closed), want)
			}
		}
		if err := receivedNow(t, ended); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
		}
		for _, c := range closed {
			switch moved, any := lastMove[c.index]; {
			case busy(c.index) && c.after != total:
				t.Errorf("busy session %d was closed after %v, want %v", c.index, c.after, total)
			case !busy(c.index) && c.after < pacing:
				t.Errorf("session %d was closed after %v, want %v or later", c.index, c.after, pacing)
			case any && c.after != total && c.after-moved < maxIdle && c.after > moved:
				t.Errorf("session %d was closed after %v, with data at %v", c.index, c.after, moved)
			case !any && c.after == total:
				t.Errorf("session %d was idle all the time and closed with those that are left", c.index)
			}
		}
		if len(closed) != n {
			t.Errorf("got %d sessions closed, want %d", len(closed), n)
		}
	})
}

// A session that ends by itself is not replaced by another: what is left is closed evenly.
func TestPacingAfterSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newIdlers(t, 600)
		ended := all.startEnding(Grace{0, time.Hour})
		<-time.After(time.Hour - maxPacing/2)
		half := len(all.closings())
		for _, client := range all.clients[450:] {
			client.SetReadDeadline(past) // as after the idle limit
		}
		if n := len(all.closings()); half < 299 || half > 301 || n != 0 {
			t.Errorf("got %d sessions closed and %d at the deadline, want 300 and 0", half, n)
		}
		for i := range 5 {
			<-time.After(maxPacing / 10)
			if n := len(all.closings()); n < 59 || n > 61 {
				t.Errorf("part %d: got %d sessions closed, want 60", i, n)
			}
		}
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// A short shutdown is paced over its last 4/5.
func TestPacingOfShortShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newIdlers(t, 80)
		ended := all.startEnding(Grace{0, 10 * time.Second})
		for i := range 10 {
			<-time.After(time.Second)
			want := 10
			if i < 2 {
				want = 0
			}
			if n := len(all.closings()); n < want-1 || n > want+1 {
				t.Errorf("second %d: got %d sessions closed, want %d", i, n, want)
			}
		}
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// An idle session ends without another word, in TLS by close_notify.
func TestPacedSessionEnds(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		const total = 30 * time.Minute
		ended := make(chan time.Time, 1)
		proxy, client := newRelayedClient(t, l, func(b *peer) {
			b.expect("a2 IDLE")
			b.send("+ idling")
			b.expectClosed()
			ended <- time.Now()
		})
		client.send("a2 IDLE")
		client.expect("+ idling")
		start := time.Now()
		shutdown := proxy.startEnding(Grace{0, total})
		client.expectNothing(total - time.Millisecond)
		client.expectEOF()
		if took := (<-ended).Sub(start); took != total {
			t.Errorf("the backend's connection ended after %v, want %v", took, total)
		}
		if err := receivedNow(t, shutdown); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
		if r := proxy.finalRecord(); r.End != EndShutdown || r.Step != StepRelay || r.Err != nil {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndShutdown, StepRelay)
		}
	})
}

// A session whose client takes no data, or has sent part of a TLS record, is within a
// transfer, however long nothing moves.
func TestTransferIsNotPaced(t *testing.T) {
	mail := strings.Repeat("mail", streamCapacity)
	for name, c := range map[string]struct {
		listener Listener
		play     func(*peer)
		begin    func(*peer)
	}{
		"client does not read":            {imapListener, func(b *peer) { b.Write([]byte(mail)) }, func(*peer) {}},
		"client does not read, in TLS":    {imapsListener, func(b *peer) { b.Write([]byte(mail)) }, func(*peer) {}},
		"client has sent half a record":   {imapsListener, (*peer).expectClosed, sendRecord(500)},
		"client has sent a record's head": {imapsListener, (*peer).expectClosed, sendRecord(0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, client := newRelayedClient(t, c.listener, func(b *peer) {
					b.SetDeadline(time.Time{})
					c.play(b)
				})
				c.begin(client)
				ended := proxy.startEnding(Grace{0, 20 * time.Minute})
				<-time.After(20*time.Minute - time.Millisecond)
				notReceived(t, ended)
				<-time.After(time.Millisecond + lastWriteTimeout)
				if err := receivedNow(t, ended); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
				}
			})
		})
	}
}

// sendRecord returns a function that sends the head of a TLS record of 1000 octets, and n
// octets of it.
func sendRecord(n int) func(client *peer) {
	return func(client *peer) {
		client.Conn.(*tls.Conn).NetConn().Write(append([]byte{23, 3, 3, 1000 >> 8, 1000 & 255}, make([]byte, n)...))
	}
}

// countingConn counts what is read.
type countingConn struct {
	netpoll.Conn
	read atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// openCounting returns a connection over TCP, and its peer, which the test closes.
func openCounting(t *testing.T) (*countingConn, net.Conn) {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	c, err := netpoll.Dial(ln.Addr().String(), time.Now().Add(realTimeout))
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	return &countingConn{Conn: c}, peer
}

// All that was read when a session is closed as idle has been written to the other side.
func TestPacingLosesNothing(t *testing.T) {
	for range 100 {
		client, fromClient := openCounting(t)
		backend, fromBackend := openCounting(t)
		r, ended := newTestRelay(client, backend), make(chan bool)
		r.end = func() { close(ended) }
		r.begin(time.Hour, nil, nil)
		go io.Copy(io.Discard, fromClient)
		go io.Copy(io.Discard, fromBackend)
		for _, peer := range []net.Conn{fromClient, fromBackend} {
			go func() {
				for i := 0; ; i++ {
					if _, err := peer.Write(make([]byte, 1+i%100)); err != nil {
						return
					}
					if i%3 == 0 {
						runtime.Gosched()
					}
				}
			}()
		}
		for client.read.Load() < 10_000 || backend.read.Load() < 10_000 || !r.abortIdle(time.Since(epoch)) {
			runtime.Gosched()
		}
		<-ended
		if up, down := client.read.Load(), backend.read.Load(); up != r.up.carried || down != r.down.carried {
			t.Fatalf("got %d and %d octets read, %d and %d written", up, down, r.up.carried, r.down.carried)
		}
		fromClient.Close()
		fromBackend.Close()
	}
}
