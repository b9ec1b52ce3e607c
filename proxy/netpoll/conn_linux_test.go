package netpoll

import (
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// awaitBlocked returns when a goroutine waits in Read or Write of c.
func (c *conn) awaitBlocked(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; runtime.Gosched() {
		c.mu.Lock()
		blocked := c.in.blocked != nil || c.out.blocked != nil
		c.mu.Unlock()
		if blocked {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no goroutine waits")
		}
	}
}

// A read stops before an urgent octet. Nothing of what follows is lost.
func TestReadsPastUrgentOctet(t *testing.T) {
	for range 20 {
		c, peer := openAccepted(t)
		raw, err := peer.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		w := newTestWaker()
		c.ParkUntilDeadline(w)
		peer.Write([]byte("before"))
		raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) })
		if err != nil {
			t.Fatal(err)
		}
		peer.Write([]byte(" and after"))
		w.expectNone(t)
		c.SetReadDeadline(past)
		w.wait(t)
		c.SetReadDeadline(time.Time{})
		expectRead(t, c, "before and after")
	}
}

// A descriptor is reused soon after it is closed. The new connection gets nothing of
// the old one, a read that was blocked gets nothing of the new one, and no table
// keeps a closed connection.
func TestDescriptorReuse(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				reuseDescriptors(t)
			}
		})
	}
	all.Wait()
	poller.mu.Lock()
	defer poller.mu.Unlock()
	deadlines.mu.Lock()
	defer deadlines.mu.Unlock()
	for _, c := range slices.Concat(poller.conns, deadlines.heap) {
		if c != nil && c.checkOpen() != nil {
			t.Error("a closed connection is still in a table")
		}
	}
}

// reuseDescriptors closes one connection that is parked and one that is being read,
// and opens others.
func reuseDescriptors(t *testing.T) {
	parked, peer := openAccepted(t)
	parked.SetReadDeadline(time.Now().Add(time.Millisecond))
	w := newTestWaker()
	isParked := parked.Park(w)
	blocked, peer2 := openAccepted(t)
	received := make(chan string, 1)
	go func() {
		var p [20]byte
		n, _ := blocked.Read(p[:])
		received <- string(p[:n])
	}()
	var both sync.WaitGroup
	for _, c := range []net.Conn{peer, peer2} {
		both.Go(func() {
			c.Write([]byte("old"))
			c.Close()
		})
	}
	parked.Close()
	blocked.Close()
	for range 2 {
		c, peer := openAccepted(t)
		peer.Write([]byte("new"))
		expectRead(t, c, "new")
		peer.Write([]byte("more"))
		peer.CloseWrite()
		if got, err := readAll(t, c, 20); string(got) != "more" || err != io.EOF {
			t.Errorf("new connection: got %q, %v, want %q and EOF", got, err, "more")
		}
		c.Close()
		peer.Close()
	}
	both.Wait()
	if got := <-received; got != "" && got != "old" {
		t.Errorf("closed connection: got %q of another", got)
	}
	if isParked {
		w.wait(t)
	}
	if len(w) != 0 {
		t.Error("woken twice")
	}
}
