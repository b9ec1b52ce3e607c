//go:build linux

package proxy

import (
	"crypto/tls"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestNothingIsLeft holds sessions of all kinds and looks for what they leave:
// goroutines and descriptors.
func TestNothingIsLeft(t *testing.T) {
	for _, d := range []Listener{imapDoor, imapsDoor} {
		t.Run(d.Name, func(t *testing.T) {
			l := newLoopback(t, d, (&judge{}).imap)
			l.session(t, 0) // what is made once is made
			<-l.records
			before := census(t)
			for kind := range 200 {
				l.session(t, kind)
			}
			for range 200 {
				<-l.records
			}
			settles(t, before)
		})
	}
}

// session holds one session of a kind, to its end at the client.
func (l *loopback) session(t *testing.T, kind int) {
	c, tcp := l.enter(t)
	defer c.Close()
	defer tcp.Close()
	switch kind % 8 {
	case 0:
		c.say("a1 LOGIN u right")
		c.hear("a1 OK …")
		c.say("hello")
		c.hear("echo hello")
	case 1:
		c.say("a1 LOGIN u wrong")
		c.hear("a1 NO …")
	case 2:
		c.say("a1 LOGIN u wrong") // and away
	case 3:
		tcp.SetLinger(0)
	case 4:
		c.say("GET / HTTP/1.0")
	case 5:
		c.say("a1 LOGIN u right")
		c.hear("a1 OK …")
		tcp.SetLinger(0)
	case 6:
		c.say("a1 LOGOUT")
		c.hear("* BYE …", "a1 OK …")
	case 7:
		c.say("a1 AUTHENTICATE CRAM-MD5")
		c.hear("+ …")
	}
}

// Clients that have said hello and wait for a slot have no goroutine.
func TestQueueHasNoGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // there is one slot
	l := newLoopback(t, imapsDoor, (&judge{}).imap)
	var held handshakeSlot
	l.handshakes.acquire(&held)
	before, begun := census(t), time.Now()
	for range 50 {
		conn, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = tls.Client(&deafConn{Conn: conn}, l.config).Handshake()
	}
	for l.handshakes.inUse() < 51 && time.Since(begun) < maxStrangerWait {
		<-time.After(time.Millisecond)
	}
	if n, more := l.handshakes.inUse(), census(t).goroutines-before.goroutines; n == 51 && more > 10 {
		t.Errorf("%d goroutines for 50 that wait", more)
	} else if n < 51 {
		t.Skipf("only %d waited within %v", n-1, maxStrangerWait)
	}
	for range 50 {
		if r := <-l.records; r.Verdict != overloaded {
			t.Errorf("record %+v", r)
		}
	}
	l.handshakes.release(&held)
}

// counted is what must not be left.
type counted struct{ goroutines, descriptors int }

func census(t *testing.T) counted {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return counted{runtime.NumGoroutine(), len(fds)}
}

// settles waits until there is no more than before.
func settles(t *testing.T, before counted) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(truePatience)
	for now := range tick.C {
		after := census(t)
		if after.goroutines <= before.goroutines+maxIdleWorkers && after.descriptors <= before.descriptors {
			return
		}
		if now.After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("before %+v, after %+v\n%s", before, after, buf[:runtime.Stack(buf, true)])
		}
	}
}
