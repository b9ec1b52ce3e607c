package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// How long a session may be silent when one side has said its last word. A
// backend may still be at work for a client that will say no more; a client has
// nothing left to wait for.
const (
	halfOpen = 30 * time.Second
	linger   = 5 * time.Second
)

// relayBuffer holds two TLS records.
const relayBuffer = 32 << 10

var relayBuffers = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// relay copies octets both ways until one side ends the session, both are silent
// for too long, or the gate goes down.
func (s *session) relay() error {
	up := s.backend
	entered := s.enterRelay(up.raw)
	defer s.server.relaying.Add(-1)
	if !entered {
		return ending{s.isStopped(), errStopped}
	}
	r := &relay{client: side{EndClient, s.client.Conn, s.raw}, backend: side{EndBackend, up.Conn.Conn, up.raw}}
	r.silence = newSilence(s.server.Timeouts.Idle, r.silent)
	defer r.silence.stop()

	early, late := s.client.Rest(), up.Rest()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.record.ToClient = r.copyDown(late)
	}()
	s.record.FromClient = r.copyUp(early)
	<-done
	return ending{r.why, r.err}
}

// enterRelay marks the session as logged in and lifts the deadlines. It returns
// false if the session must end at once.
func (s *session) enterRelay(up net.Conn) bool {
	s.record.Room = RoomRelay
	if s.visit != nil {
		s.visit.LoggedIn(time.Now())
	}
	s.server.loggedIn(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hard {
		return false
	}
	if s.stopped != EndClient {
		s.stopped, s.stop = EndClient, make(chan struct{})
	}
	s.relaying = true
	s.raw.SetDeadline(time.Time{})
	up.SetDeadline(time.Time{})
	return true
}

// side is one side of a relay: what it is to blame for, the connection to read
// and write, and the TCP connection under it.
type side struct {
	end       End
	conn, raw net.Conn
}

// closeWrite tells the peer that no more will come, in TLS and below it. It
// reports whether the connection could do so.
func (e side) closeWrite() bool {
	type writeCloser interface{ CloseWrite() error }
	if c, ok := e.conn.(writeCloser); ok && e.conn != e.raw && c.CloseWrite() != nil {
		return false
	}
	c, ok := e.raw.(writeCloser)
	return ok && c.CloseWrite() == nil
}

// relay is what the two directions share.
type relay struct {
	client, backend side
	silence         *silence

	first sync.Once
	why   End   // the side that ended the session
	err   error // nil when it did so in good order
}

// copyUp carries what the client says, until its last word, and returns how much
// that was.
func (r *relay) copyUp(ahead []byte) int64 { return r.carry(r.backend, r.client, ahead) }

// copyDown carries what the backend says, likewise.
func (r *relay) copyDown(ahead []byte) int64 { return r.carry(r.client, r.backend, ahead) }

func (r *relay) carry(dst, src side, ahead []byte) int64 {
	n, err := r.copy(dst.conn, src.conn, ahead)
	r.ended(dst, src, err)
	return n
}

// errDeaf means that the side that is written to has gone.
var errDeaf = errors.New("nobody reads any more")

// copy writes ahead and then whatever src has to dst, and returns how much that
// was: with io.EOF at the end of src, errDeaf when dst takes no more.
func (r *relay) copy(dst, src net.Conn, ahead []byte) (n int64, err error) {
	buffer := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buffer)
	for {
		if len(ahead) > 0 {
			written, err := dst.Write(ahead)
			n += int64(written)
			if err != nil {
				return n, errors.Join(errDeaf, err)
			}
			r.silence.broken()
		}
		if err != nil {
			return n, err
		}
		var read int
		read, err = src.Read(buffer[:])
		ahead = buffer[:read]
	}
}

// ended notes who ended the session first. In good order the other side is told,
// and gets a little time to finish. A side that reads no more may still have
// said something, which is on its way. Anything else cuts both off.
func (r *relay) ended(dst, src side, err error) {
	last, deaf := errors.Is(err, io.EOF), errors.Is(err, errDeaf)
	r.first.Do(func() {
		switch {
		case last:
			r.why = src.end
		case deaf:
			r.why, r.err = dst.end, err
		default:
			r.why, r.err = src.end, err
		}
	})
	if deaf || last && dst.closeWrite() {
		patience := halfOpen
		if dst.end == EndClient {
			patience = linger
		}
		r.silence.shorten(patience)
		return
	}
	r.cut()
}

// cut wakes both directions for good.
func (r *relay) cut() {
	r.client.raw.SetDeadline(past)
	r.backend.raw.SetDeadline(past)
}

// silent ends a session in which nothing has moved for too long. If one side had
// said its last word before, it is still the one that ended the session.
func (r *relay) silent() {
	r.first.Do(func() { r.why, r.err = EndTimeout, errors.New("session was silent for too long") })
	r.cut()
}

// silence watches for the time in which nothing moves.
type silence struct {
	limit atomic.Int64 // nanoseconds
	last  atomic.Int64 // when something moved, in nanoseconds since begun
	begun time.Time
	timer *time.Timer
}

// newSilence calls end once nothing has moved for limit.
func newSilence(limit time.Duration, end func()) *silence {
	q := &silence{begun: time.Now()}
	q.limit.Store(int64(limit))
	q.timer = time.AfterFunc(limit, func() {
		left := time.Duration(q.limit.Load() + q.last.Load() - int64(time.Since(q.begun)))
		if left > 0 {
			q.timer.Reset(left)
			return
		}
		end()
	})
	return q
}

// broken says that something has moved.
func (q *silence) broken() { q.last.Store(int64(time.Since(q.begun))) }

// shorten makes less silence enough.
func (q *silence) shorten(limit time.Duration) {
	limit = min(limit, time.Duration(q.limit.Load()))
	q.limit.Store(int64(limit))
	q.timer.Reset(limit)
}

func (q *silence) stop() { q.timer.Stop() }
