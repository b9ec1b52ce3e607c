//go:build unix

package proxy

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/netpoll"
)

// A session that was parked in the tarpit is parked in the relay too.
func TestParkedInTarpitAndRelay(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, (&fakeBackend{}).imap)
			p := limiter.Policy{
				Network: limiter.Rate{Tokens: 10, Per: time.Hour}, WaitMax: 20 * time.Millisecond, TableMax: 100,
			}
			if err := proxy.Limiter.SetPolicy(time.Now(), p); err != nil {
				t.Fatal(err)
			}
			client, _ := proxy.connectGreeted(t)
			for range 2 {
				client.send("a1 LOGIN u wrong")
				client.expect("a1 NO …")
			}
			client.send("a1 LOGIN u right")
			client.expect("a1 OK …")
			for range 3 {
				client.send("hello")
				client.expect("echo hello")
			}
			client.Close()
			if r := <-proxy.records; r.Attempts != 3 || r.Verdict.Wait == 0 || r.End != EndClient {
				t.Errorf("got record %+v, want Attempts %v, End %v", r, 3, EndClient)
			}
		})
	}
}

// CloseFrom ends sessions that are parked before login, in the tarpit and in the relay.
func TestCloseFromWakesParkedSessions(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, acceptLogin((*peer).echo))
			clients := map[*peer]Step{}
			connect := func() *peer {
				client, _ := proxy.connectGreeted(t)
				client.timeout = realTimeout
				return client
			}
			for range 20 {
				clients[connect()] = StepDialogue
				client := connect()
				client.send("a1 LOGIN u p")
				client.expect("a1 OK in")
				clients[client] = StepRelay
			}
			p := limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: 14 * time.Second}, WaitMax: 15 * time.Second, TableMax: 100}
			if err := proxy.Limiter.SetPolicy(time.Now(), p); err != nil {
				t.Fatal(err)
			}
			k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{})
			k.Enter(time.Now(), nil)
			waiting := connect()
			waiting.send("a1 LOGIN u p")
			for proxy.Stats().Tarpit == 0 {
				runtime.Gosched()
			}
			clients[waiting] = StepTarpit
			if n := proxy.CloseFrom(func(netip.Addr) bool { return true }); n != len(clients) {
				t.Errorf("got %d closed, want %d", n, len(clients))
			}
			ended := map[Step]int{}
			for client := range clients {
				client.expectEOF()
				r := <-proxy.records
				if ended[r.Step]++; r.End != EndBlocked {
					t.Errorf("got record %+v, want End %v", r, EndBlocked)
				}
			}
			if ended[StepDialogue] != 20 || ended[StepRelay] != 20 || ended[StepTarpit] != 1 {
				t.Errorf("ended in steps %v, want 20 in %v, 20 in %v and one in %v", ended, StepDialogue, StepRelay, StepTarpit)
			}
		})
	}
}

// Many sessions are parked in both directions, in TLS and without, and woken again and
// again.
func TestParkedSessionsAreWoken(t *testing.T) {
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, acceptLogin((*peer).echo))
			clients := make([]*peer, 50)
			for i := range clients {
				clients[i], _ = proxy.connectGreeted(t)
				clients[i].send("a1 LOGIN u p")
				clients[i].expect("a1 OK in")
			}
			for round := range 40 {
				line := fmt.Sprint("round ", round)
				for _, client := range clients {
					client.send(line)
				}
				for _, client := range clients {
					client.expect("echo " + line)
				}
			}
		})
	}
}

// TestNoWakeUpIsLost parks n relays and wakes them all at once, again and again, while
// they are parked and while they are about to be.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Run("clear", func(t *testing.T) { testWakeUps(t, 2000, nil) })
	t.Run("TLS", func(t *testing.T) {
		config := testCert.Client()
		config.CurvePreferences = []tls.CurveID{tls.CurveP256} // the cheapest with -race
		config.InsecureSkipVerify = true
		testWakeUps(t, 500, config)
	})
}

func testWakeUps(t *testing.T, relays int, config *tls.Config) {
	const rounds = 20
	written, sent := newWriteCounter(), 0
	clients, ended := parkedRelays(t, limitByDescriptors(t, relays), config, new(Server), written)
	for round := range rounds {
		for i := range clients {
			clients[i].Write([]byte{'x'})
			sent++
			if lag := rand.IntN(512); lag < min(i, 64) { // it may be about to be parked
				clients[i-lag].Write([]byte{'x'})
				sent++
			}
		}
		if got := written.wait(sent); got != sent {
			t.Fatalf("round %d: got %d bytes, want %d", round, got, sent)
		}
	}
	for _, c := range clients {
		c.Close()
	}
	ended.Wait()
}

// parkedRelays returns the clients of n relays. Each relay writes what its client
// sends to written, and ends with its client.
func parkedRelays(t *testing.T, n int, config *tls.Config, server *Server, written *writeCounter) ([]net.Conn, *sync.WaitGroup) {
	ln, err := netpoll.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var start, ended sync.WaitGroup
	clients := make([]net.Conn, n)
	for i := range clients {
		far, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
		near, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		raw, conn := near.(netpoll.Conn), near
		clients[i] = far
		if config != nil {
			client := tls.Client(far, config)
			clients[i], conn = client, tls.Server(near, testCert.Server())
			start.Go(func() { client.Handshake() })
		}
		ended.Add(1)
		r := newRelay(side{EndClient, conn, raw}, side{EndBackend, written, netpoll.Wrap(written)}, func() { raw.Close(); ended.Done() })
		r.idleLimit, r.lastMove, r.running, r.workers = time.Hour, time.Since(epoch), 1, server.workers
		start.Go(func() {
			if secure, ok := conn.(*tls.Conn); ok {
				if err := secure.Handshake(); err != nil {
					t.Error(err)
				}
			}
			raw.SetNonblock(true)
			r.up.carry(nil)
		})
	}
	start.Wait()
	return clients, &ended
}

// writeCounter is a connection that counts the bytes written to it.
type writeCounter struct {
	net.Conn
	n       atomic.Int64
	changed chan struct{}
}

func newWriteCounter() *writeCounter {
	near, _ := newMemPair(proxyAddr, backendAddr)
	return &writeCounter{Conn: near, changed: make(chan struct{}, 1)}
}

// Write counts.
func (y *writeCounter) Write(p []byte) (int, error) {
	y.n.Add(int64(len(p)))
	select {
	case y.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

// SetWriteDeadline does nothing.
func (y *writeCounter) SetWriteDeadline(time.Time) error { return nil }

// wait waits until n bytes were written, for at most realTimeout, and returns how n
// were.
func (y *writeCounter) wait(n int) int {
	timeout := time.After(realTimeout)
	for int(y.n.Load()) < n {
		select {
		case <-y.changed:
		case <-timeout:
			return int(y.n.Load())
		}
	}
	return int(y.n.Load())
}

// limitByDescriptors returns n, or as n pairs of descriptors as the process may
// have.
func limitByDescriptors(t *testing.T, n int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	most := int(limit.Cur)/2 - 100
	if most < n {
		t.Logf("only %d connections: the limit of descriptors is low", most)
	}
	return min(n, most)
}
