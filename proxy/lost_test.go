package proxy

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/proxy/netpoll"
)

// TestNoWakeUpIsLost has many relays rest and wakes them all at once, over and
// over, when they rest and again as they are about to: in clear, and in TLS, which
// is put to sleep now and then.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Run("clear", func(t *testing.T) { wakeAll(t, 5000, nil) })
	t.Run("TLS", func(t *testing.T) {
		config := gateCert.Client()
		config.CurvePreferences = []tls.CurveID{tls.CurveP256} // the cheapest with -race
		config.InsecureSkipVerify = true
		wakeAll(t, 5000, config)
	})
}

func wakeAll(t *testing.T, many int, config *tls.Config) {
	const rounds = 100
	heard, said, begun, server := newTally(), 0, time.Now(), new(Server)
	speakers, ended := resting(t, affordable(t, many), config, server, heard)
	t.Logf("%d relays after %v", len(speakers), time.Since(begun))
	for round := range rounds {
		for i := range speakers {
			speakers[i].Write([]byte{'x'})
			said++
			if lag := rand.IntN(512); lag < min(i, 64) { // it may be about to rest
				speakers[i-lag].Write([]byte{'x'})
				said++
			}
		}
		if got := heard.wait(said); got != said {
			t.Fatalf("in round %d %d of %d were lost", round, said-got, said)
		}
	}
	for _, c := range speakers {
		c.Close()
	}
	ended.Wait()
	t.Logf("%d rounds after %v", rounds, time.Since(begun))
}

// resting returns the clients of many relays, each of which carries what its client
// says to heard, and ends with it.
func resting(t *testing.T, many int, config *tls.Config, server *Server, heard *tally) ([]net.Conn, *sync.WaitGroup) {
	ln, err := netpoll.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var begun, ended sync.WaitGroup
	clients := make([]net.Conn, many)
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
			clients[i], conn = client, tls.Server(near, gateCert.Server())
			begun.Go(func() { client.Handshake() })
		}
		ended.Add(1)
		r := newRelay(side{EndClient, conn, raw}, side{EndBackend, heard, netpoll.Wrap(heard)}, func() { raw.Close(); ended.Done() })
		r.idleLimit, r.lastMove, r.running, r.workers = time.Hour, time.Since(epoch), 1, server.workers
		begun.Go(func() {
			if secure, ok := conn.(*tls.Conn); ok {
				if err := secure.Handshake(); err != nil {
					t.Error(err)
				}
			}
			raw.SetNonblock(true)
			r.up.carry(nil)
		})
	}
	begun.Wait()
	return clients, &ended
}

// tally is a connection that counts what is written to it.
type tally struct {
	net.Conn
	n     atomic.Int64
	moved chan struct{}
}

func newTally() *tally {
	near, _ := newMemPair(gateAddr, backendAddr)
	return &tally{Conn: near, moved: make(chan struct{}, 1)}
}

// Write counts.
func (y *tally) Write(p []byte) (int, error) {
	y.n.Add(int64(len(p)))
	select {
	case y.moved <- struct{}{}:
	default:
	}
	return len(p), nil
}

// SetWriteDeadline does nothing.
func (y *tally) SetWriteDeadline(time.Time) error { return nil }

// wait returns how much was written as soon as it is n, or when nobody has
// patience any more.
func (y *tally) wait(n int) int {
	late := time.After(truePatience)
	for int(y.n.Load()) < n {
		select {
		case <-y.moved:
		case <-late:
			return int(y.n.Load())
		}
	}
	return int(y.n.Load())
}
