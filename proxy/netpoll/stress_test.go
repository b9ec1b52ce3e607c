package netpoll

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stressed is a connection that is used at random at both ends. Each direction
// carries a sequence of octets in which every octet follows from its position.
type stressed struct {
	t      *testing.T
	c      Conn
	peer   *net.TCPConn
	resets bool // the peer resets the connection
	done   chan struct{}
}

// stressOctets is how much each direction carries.
const stressOctets = 500_000

// TestStress reads, writes, parks and moves deadlines in random order. A failure can
// be repeated with the seed in the log.
func TestStress(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	var all sync.WaitGroup
	for i := range uint64(60) {
		open := []func(testing.TB) (Conn, *net.TCPConn){openAccepted, openDialed, openAccepted, openWrapped}[i%4]
		c, peer := open(t)
		s := &stressed{t: t, c: c, peer: peer, resets: i%5 == 0, done: make(chan struct{})}
		all.Go(func() {
			var parts sync.WaitGroup
			for j, part := range []func(*rand.Rand){s.write, s.read, s.peerWrite, s.peerRead} {
				parts.Go(func() { part(rand.New(rand.NewPCG(seed, i<<8|uint64(j)))) })
			}
			var deadlines sync.WaitGroup
			deadlines.Go(func() { s.moveDeadlines(rand.New(rand.NewPCG(seed, i<<8|9))) })
			parts.Wait()
			close(s.done)
			deadlines.Wait()
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(testTimeout):
		t.Fatal("a goroutine waits forever")
	}
}

// strictWaker is a Waker that must be called exactly once for each time its
// connection is parked.
type strictWaker struct {
	t      *testing.T
	parked atomic.Bool
	woken  chan struct{}
}

// Wake implements Waker.
func (w *strictWaker) Wake() {
	if !w.parked.CompareAndSwap(true, false) {
		w.t.Error("woken while not parked")
		return
	}
	w.woken <- struct{}{}
}

// park parks a connection and waits until it is woken.
func (w *strictWaker) park(park func(Waker) bool) {
	w.parked.Store(true)
	if park(w) {
		<-w.woken
	} else if !w.parked.CompareAndSwap(true, false) {
		w.t.Error("woken although Park returned false")
	}
}

// randomDeadline has passed, is near or far, or is none.
func randomDeadline(r *rand.Rand) time.Time {
	switch r.IntN(6) {
	case 0:
		return time.Time{}
	case 1:
		return past
	case 2:
		return time.Now().Add(time.Hour)
	}
	return time.Now().Add(time.Duration(r.IntN(2000)) * time.Microsecond)
}

// read reads everything and waits in every way there is.
func (s *stressed) read(r *rand.Rand) {
	waker := &strictWaker{t: s.t, woken: make(chan struct{}, 1)}
	p := make([]byte, 5000)
	for total := 0; ; {
		s.c.SetNonblock(r.IntN(4) > 0)
		n, err := s.c.Read(p[:r.IntN(len(p))])
		if total = s.checkSequence(p[:n], total); total < 0 {
			return
		}
		switch {
		case err == nil:
		case n > 0:
			s.t.Errorf("got %d octets and %v, want one of the two", n, err)
		case err == ErrWouldBlock && r.IntN(4) > 0:
			waker.park(s.c.Park)
		case err == ErrWouldBlock:
			waker.park(s.c.ParkUntilDeadline)
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.c.SetReadDeadline(randomDeadline(r))
		default:
			if !s.resets && (err != io.EOF || total != stressOctets) {
				s.t.Errorf("got %d octets, %v, want %d and EOF", total, err, stressOctets)
			}
			return
		}
	}
}

// checkSequence checks that p continues the sequence at position, and returns the
// position after it, -1 if it does not.
func (s *stressed) checkSequence(p []byte, position int) int {
	for i, b := range p {
		if want := byte((position + i) % 251); b != want {
			s.t.Errorf("octet %d: got %d, want %d", position+i, b, want)
			return -1
		}
	}
	return position + len(p)
}

// sequence returns n octets of the sequence from position on.
func sequence(n, position int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((position + i) % 251)
	}
	return p
}

// write writes everything, and continues after deadlines.
func (s *stressed) write(r *rand.Rand) {
	for total := 0; total < stressOctets; {
		n, err := s.c.Write(sequence(r.IntN(min(9000, stressOctets-total)+1), total))
		total += n
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.c.SetWriteDeadline(randomDeadline(r))
		case s.resets:
			return
		default:
			s.t.Errorf("wrote %d octets: %v", total, err)
			return
		}
	}
	if err := s.c.CloseWrite(); err != nil && !s.resets {
		s.t.Error(err)
	}
}

// moveDeadlines moves the deadlines until the other parts are done.
func (s *stressed) moveDeadlines(r *rand.Rand) {
	for {
		switch r.IntN(3) {
		case 0:
			s.c.SetReadDeadline(randomDeadline(r))
		case 1:
			s.c.SetWriteDeadline(randomDeadline(r))
		case 2:
			s.c.SetDeadline(randomDeadline(r))
		}
		select {
		case <-s.done:
			return
		case <-time.After(time.Duration(r.IntN(1000)) * time.Microsecond):
		}
	}
}

// peerWrite writes everything, or half and then resets the connection.
func (s *stressed) peerWrite(r *rand.Rand) {
	for total := 0; total < stressOctets; {
		n, err := s.peer.Write(sequence(r.IntN(min(3000, stressOctets-total)+1), total))
		if total += n; err != nil {
			if !s.resets {
				s.t.Errorf("peer wrote %d octets: %v", total, err)
			}
			return
		}
		if r.IntN(3) == 0 {
			runtime.Gosched()
		}
		if s.resets && total > stressOctets/2 {
			s.peer.SetLinger(0)
			s.peer.Close()
			return
		}
	}
	s.peer.CloseWrite()
}

// peerRead reads everything.
func (s *stressed) peerRead(r *rand.Rand) {
	p := make([]byte, 5000)
	for total := 0; ; {
		n, err := s.peer.Read(p[:1+r.IntN(len(p)-1)])
		if total = s.checkSequence(p[:n], total); total < 0 {
			return
		}
		if err != nil {
			if !s.resets && (err != io.EOF || total != stressOctets) {
				s.t.Errorf("peer got %d octets, %v, want %d and EOF", total, err, stressOctets)
			}
			return
		}
	}
}
