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

// awaitWaiter returns when somebody waits for c, if that can be told.
func awaitWaiter(t testing.TB, near Conn) {
	t.Helper()
	c, ok := near.(*conn)
	if !ok {
		return
	}
	for late := time.Now().Add(truePatience); ; runtime.Gosched() {
		c.mu.Lock()
		waits := c.in.waiter != nil || c.out.waiter != nil
		c.mu.Unlock()
		if waits {
			return
		}
		if time.Now().After(late) {
			t.Fatal("nobody waits")
		}
	}
}

// An urgent octet, behind which a read stops short, keeps nothing back.
func TestUrgentOctet(t *testing.T) {
	for range 20 {
		near, far := accepts(t)
		raw, err := far.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		b := newBell()
		near.ParkUntilDeadline(b)
		far.Write([]byte("before"))
		raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) })
		if err != nil {
			t.Fatal(err)
		}
		far.Write([]byte(" and after"))
		b.isQuiet(t)
		near.SetReadDeadline(past)
		b.wait(t)
		near.SetReadDeadline(time.Time{})
		wants(t, near, "before and after")
	}
}

// A descriptor is soon that of another connection. It hears nothing of the one
// before, nor is that heard by who still reads there, and nothing is kept of it.
func TestDescriptorsAreReused(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				reuse(t)
			}
		})
	}
	all.Wait()
	poller.mu.Lock()
	defer poller.mu.Unlock()
	alarms.mu.Lock()
	defer alarms.mu.Unlock()
	for _, c := range slices.Concat(poller.conns, alarms.queue) {
		if c != nil && c.isClosed() {
			t.Error("something is left of a connection that is closed")
		}
	}
}

func (c *conn) isClosed() bool { return c.open() != nil }

// reuse closes connections in the middle of things, and opens others.
func reuse(t *testing.T) {
	parked, far := accepts(t)
	parked.SetReadDeadline(time.Now().Add(time.Millisecond))
	b := newBell()
	isParked := parked.Park(b)
	read, far2 := accepts(t)
	heard := make(chan string, 1)
	go func() {
		var p [20]byte
		n, _ := read.Read(p[:])
		heard <- string(p[:n])
	}()
	var both sync.WaitGroup
	for _, c := range []net.Conn{far, far2} {
		both.Go(func() {
			c.Write([]byte("stale"))
			c.Close()
		})
	}
	parked.Close()
	read.Close()
	for range 2 {
		c, far := accepts(t)
		far.Write([]byte("fresh"))
		wants(t, c, "fresh")
		far.Write([]byte("more"))
		far.CloseWrite()
		if got, err := hearAll(t, c, 20); string(got) != "more" || err != io.EOF {
			t.Errorf("heard %q, %v", got, err)
		}
		c.Close()
		far.Close()
	}
	both.Wait()
	if got := <-heard; got != "" && got != "stale" {
		t.Errorf("heard %q from another connection", got)
	}
	if isParked {
		b.wait(t)
	}
	if len(b) != 0 {
		t.Error("woken twice")
	}
}
