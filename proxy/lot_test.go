//go:build linux

package proxy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestNoWakeUpIsLost leaves many connections to a lot and wakes them all at once,
// over and over, when they rest and again as they are about to.
func TestNoWakeUpIsLost(t *testing.T) {
	const rounds = 100
	l, q, heard, said := new(lot), newSilences(), newTally(), 0
	defer l.close()
	var ended sync.WaitGroup
	speakers := make([]syscall.RawConn, affordable(t, 5000))
	ln := listen(t)
	for i := range speakers {
		far, near := dialled(t, ln)
		r := relayBetween(near, heard)
		q.begin(r, time.Hour)
		if r.client.raw.spot = l.spot(near, &r.up); r.client.raw.spot == nil {
			t.Fatal("no spot for a TCP connection")
		}
		r.going = 1
		ended.Add(1)
		r.end = func() { r.client.raw.Close(); ended.Done() }
		go r.up.carry(nil)
		speakers[i], _ = far.SyscallConn()
		defer far.Close()
	}
	for round := range rounds {
		for i := range speakers {
			speak(speakers[i])
			if lag := rand.IntN(64); i >= lag {
				speak(speakers[i-lag])
				said++
			}
			said++
		}
		if got := heard.wait(said); got != said {
			t.Fatalf("in round %d %d of %d were lost", round, said-got, said)
		}
	}
	for _, s := range speakers {
		s.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	}
	ended.Wait()
}

// speak has a connection say one octet.
func speak(s syscall.RawConn) {
	s.Write(func(fd uintptr) bool {
		syscall.Write(int(fd), []byte{'x'})
		return true
	})
}

// affordable returns n, or as many pairs of descriptors as the process may have.
func affordable(t *testing.T, n int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	most := int(limit.Cur)/2 - 100
	if most < n {
		t.Logf("only %d connections, for want of descriptors", most)
	}
	return min(n, most)
}

// dialled returns the two ends of a TCP connection to ln.
func dialled(t *testing.T, ln net.Listener) (far, near *net.TCPConn) {
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), other.(*net.TCPConn)
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

func (y *tally) Write(p []byte) (int, error) {
	y.n.Add(int64(len(p)))
	select {
	case y.moved <- struct{}{}:
	default:
	}
	return len(p), nil
}

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

// TestEverySessionIsWoken does likewise with whole sessions, of which both sides
// rest, in TLS and without.
func TestEverySessionIsWoken(t *testing.T) {
	for _, d := range []Door{imapDoor, imapsDoor} {
		t.Run(d.Name, func(t *testing.T) {
			l := newLoopback(t, d, in((*peer).echo))
			clients := make([]*peer, 50)
			for i := range clients {
				clients[i], _ = l.enter(t)
				clients[i].say("a1 LOGIN u p")
				clients[i].hear("a1 OK in")
			}
			for round := range 100 {
				word := fmt.Sprint("round ", round)
				for _, p := range clients {
					p.say(word)
				}
				for _, p := range clients {
					p.hear("echo " + word)
				}
			}
		})
	}
}
