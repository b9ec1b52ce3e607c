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

// stressed is a connection that is used at random on both ends. What is said one
// way is a count: so each octet that is heard must be the one after the last.
type stressed struct {
	t      *testing.T
	c      Conn
	far    *net.TCPConn
	breaks bool // the other end breaks off
	done   chan struct{}
}

// stressOctets is how much is said each way.
const stressOctets = 500_000

// TestStress does anything that may be done, in any order.
func TestStress(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	var all sync.WaitGroup
	for i := range uint64(60) {
		open := []func(testing.TB) (Conn, *net.TCPConn){accepts, dialled, accepts, wraps}[i%4]
		c, far := open(t)
		s := &stressed{t: t, c: c, far: far, breaks: i%5 == 0, done: make(chan struct{})}
		all.Go(func() {
			var parts sync.WaitGroup
			for j, part := range []func(*rand.Rand){s.say, s.hear, s.farSay, s.farHear} {
				parts.Go(func() { part(rand.New(rand.NewPCG(seed, i<<8|uint64(j)))) })
			}
			var meddles sync.WaitGroup
			meddles.Go(func() { s.meddle(rand.New(rand.NewPCG(seed, i<<8|9))) })
			parts.Wait()
			close(s.done)
			meddles.Wait()
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(truePatience):
		t.Fatal("somebody waits for ever")
	}
}

// once is a Sleeper that must be woken once for each time it sleeps.
type once struct {
	t      *testing.T
	sleeps atomic.Bool
	woken  chan struct{}
}

// Wake wakes it.
func (o *once) Wake() {
	if !o.sleeps.CompareAndSwap(true, false) {
		o.t.Error("woken while awake")
		return
	}
	o.woken <- struct{}{}
}

func (o *once) sleep(park func(Waker) bool) {
	o.sleeps.Store(true)
	if park(o) {
		<-o.woken
	} else if !o.sleeps.CompareAndSwap(true, false) {
		o.t.Error("woken although not parked")
	}
}

// sometime is a deadline: one that has passed, is near, or none.
func sometime(r *rand.Rand) time.Time {
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

// hear reads all that comes, waiting in every way there is.
func (s *stressed) hear(r *rand.Rand) {
	sleeper := &once{t: s.t, woken: make(chan struct{}, 1)}
	p := make([]byte, 5000)
	for heard := 0; ; {
		s.c.SetNonblock(r.IntN(4) > 0)
		n, err := s.c.Read(p[:r.IntN(len(p))])
		if heard = s.follows(p[:n], heard); heard < 0 {
			return
		}
		switch {
		case err == nil:
		case n > 0:
			s.t.Errorf("%d octets and %v at once", n, err)
		case err == ErrWouldBlock && r.IntN(4) > 0:
			sleeper.sleep(s.c.Park)
		case err == ErrWouldBlock:
			sleeper.sleep(s.c.ParkUntilDeadline)
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.c.SetReadDeadline(sometime(r))
		default:
			if !s.breaks && (err != io.EOF || heard != stressOctets) {
				s.t.Errorf("heard %d of %d octets, %v", heard, stressOctets, err)
			}
			return
		}
	}
}

// follows checks that p is what comes after so many octets, and returns how many
// that makes.
func (s *stressed) follows(p []byte, before int) (after int) {
	for i, b := range p {
		if b != byte((before+i)%251) {
			s.t.Errorf("octet %d is another", before+i)
			return -1
		}
	}
	return before + len(p)
}

// count is n octets that come after so many.
func count(n, before int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((before + i) % 251)
	}
	return p
}

// say writes, and goes on where a deadline has broken it off.
func (s *stressed) say(r *rand.Rand) {
	for said := 0; said < stressOctets; {
		n, err := s.c.Write(count(r.IntN(min(9000, stressOctets-said)+1), said))
		said += n
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.c.SetWriteDeadline(sometime(r))
		case s.breaks:
			return
		default:
			s.t.Errorf("said %d octets: %v", said, err)
			return
		}
	}
	if err := s.c.CloseWrite(); err != nil && !s.breaks {
		s.t.Error(err)
	}
}

// meddle moves the deadlines.
func (s *stressed) meddle(r *rand.Rand) {
	for {
		switch r.IntN(3) {
		case 0:
			s.c.SetReadDeadline(sometime(r))
		case 1:
			s.c.SetWriteDeadline(sometime(r))
		case 2:
			s.c.SetDeadline(sometime(r))
		}
		select {
		case <-s.done:
			return
		case <-time.After(time.Duration(r.IntN(1000)) * time.Microsecond):
		}
	}
}

// farSay says all, or breaks off.
func (s *stressed) farSay(r *rand.Rand) {
	for said := 0; said < stressOctets; {
		n, err := s.far.Write(count(r.IntN(min(3000, stressOctets-said)+1), said))
		if said += n; err != nil {
			if !s.breaks {
				s.t.Errorf("other end said %d octets: %v", said, err)
			}
			return
		}
		if r.IntN(3) == 0 {
			runtime.Gosched()
		}
		if s.breaks && said > stressOctets/2 {
			s.far.SetLinger(0)
			s.far.Close()
			return
		}
	}
	s.far.CloseWrite()
}

// farHear hears all.
func (s *stressed) farHear(r *rand.Rand) {
	p := make([]byte, 5000)
	for heard := 0; ; {
		n, err := s.far.Read(p[:1+r.IntN(len(p)-1)])
		if heard = s.follows(p[:n], heard); heard < 0 {
			return
		}
		if err != nil {
			if !s.breaks && (err != io.EOF || heard != stressOctets) {
				s.t.Errorf("other end heard %d of %d octets, %v", heard, stressOctets, err)
			}
			return
		}
	}
}
