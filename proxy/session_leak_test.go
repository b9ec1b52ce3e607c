//go:build linux

package proxy

import (
	"crypto/tls"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"postern/limiter"
)

// Sessions of all kinds leave no goroutine and no descriptor.
func TestSessionsLeaveNothing(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, (&fakeBackend{}).imap)
			proxy.runSession(t, 0) // makes what is made once
			<-proxy.records
			before := countResources(t)
			for kind := range 200 {
				proxy.runSession(t, kind)
			}
			for range 200 {
				<-proxy.records
			}
			expectNoMore(t, before)
		})
	}
}

// runSession runs one session of a kind, to its end at the client.
func (proxy *tcpProxy) runSession(t *testing.T, kind int) {
	client, tcp := proxy.connectGreeted(t)
	defer client.Close()
	defer tcp.Close()
	switch kind % 8 {
	case 0:
		client.send("a1 LOGIN u right")
		client.expect("a1 OK …")
		client.send("hello")
		client.expect("echo hello")
	case 1:
		client.send("a1 LOGIN u wrong")
		client.expect("a1 NO …")
	case 2:
		client.send("a1 LOGIN u wrong") // and closes
	case 3:
		tcp.SetLinger(0)
	case 4:
		client.send("GET / HTTP/1.0")
	case 5:
		client.send("a1 LOGIN u right")
		client.expect("a1 OK …")
		tcp.SetLinger(0)
	case 6:
		client.send("a1 LOGOUT")
		client.expect("* BYE …", "a1 OK …")
	case 7:
		client.send("a1 AUTHENTICATE CRAM-MD5")
		client.expect("+ …")
	}
}

// Clients that have sent their hello and wait for a handshake slot have no goroutine. They
// are known, so that they can wait until the test has counted, however long that takes.
func TestHandshakeQueueHasNoGoroutines(t *testing.T) {
	const clients = 50
	proxy := newTCPProxy(t, imapsListener, (&fakeBackend{}).imap, func(s *Server) {
		s.Timeouts.Login, s.Timeouts.Handshake = time.Hour, time.Hour
		s.Limiter = newLimiter(t, limiter.Policy{KnownTTL: time.Hour})
	})
	addr := mustAddrPort(proxy.addr).Addr()
	ticket := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: addr, Account: "u"})
	ticket.Settle(time.Now(), limiter.Accepted)
	held := make([]handshakeSlot, proxy.handshakes.slots())
	for i := range held {
		proxy.handshakes.acquire(&held[i])
	}
	before := countResources(t)
	for range clients {
		conn, err := net.Dial("tcp", proxy.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = tls.Client(&failingReadConn{Conn: conn}, proxy.config).Handshake()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(realTimeout)
	for proxy.handshakes.inUse() < len(held)+clients {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("got %d handshakes, want %d", proxy.handshakes.inUse(), len(held)+clients)
		}
	}
	before.descriptors += 2 * clients // one at each end
	expectNoMore(t, before)
	proxy.Close()
	for range clients {
		if r := <-proxy.records; r.End != EndShutdown || r.Step != StepTLS || r.Handshake != HandshakeNone {
			t.Errorf("got record %+v, want end %v in step %v without a handshake", r, EndShutdown, StepTLS)
		}
	}
	for i := range held {
		proxy.handshakes.release(&held[i])
	}
}

// resources is what must not be left.
type resources struct{ goroutines, descriptors int }

func countResources(t *testing.T) resources {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return resources{runtime.NumGoroutine(), len(fds)}
}

// expectNoMore waits until there is no more than before.
func expectNoMore(t *testing.T, before resources) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(realTimeout)
	for now := range tick.C {
		after := countResources(t)
		if after.goroutines <= before.goroutines+maxIdleWorkers && after.descriptors <= before.descriptors {
			return
		}
		if now.After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("got %+v, want no more than %+v\n%s", after, before, buf[:runtime.Stack(buf, true)])
		}
	}
}
