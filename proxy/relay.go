package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"postern/proxy/netpoll"
)

// How long a session may be idle once one side has closed its sending direction. A
// backend may still be at work for a client that sends no more. A client has nothing
// left to wait for.
const (
	halfOpenBackend = 30 * time.Second
	halfOpenClient  = 5 * time.Second
)

// relayBuffer holds two TLS records.
const relayBuffer = 32 << 10

var relayBuffers = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// relay carries data both ways once a session is logged in, until one side closes, both
// are idle for too long, or the server closes. Each of its two directions has a
// goroutine and a buffer while there is data, and is parked while there is none.
//
// Idle time is measured by the deadlines of the two connections. Data that moves only
// sets lastMove and the write deadline; a direction whose read deadline has passed looks
// at lastMove before it ends the session.
type relay struct {
	client, backend side
	up, down        direction
	end             func() // called when both directions have ended
	workers         workers

	mu        sync.Mutex
	idleLimit time.Duration
	lastMove  time.Duration // since epoch
	running   uint8         // directions that have not ended
	reading   uint8         // upBit and downBit, of directions that have read what they have not written, or may read
	endBy     End           // why the session ended
	err       error         // likewise; nil after an orderly end
	endKnown  bool          // endBy and err are set
	aborted   bool          // it must end now
}

// side is one side of a relay.
type side struct {
	end  End          // of a session that this side ends
	conn net.Conn     // to read and write
	raw  netpoll.Conn // under conn
}

// direction carries data from src to dst.
type direction struct {
	relay    *relay
	dst, src *side
	carried  int64 // bytes
}

// startRelay is the last step of a session. It returns an error if the session must end
// at once; otherwise the session ends when the relay does.
func (s *session) startRelay() (step, error) {
	r := newRelay(side{EndClient, s.client.Conn, s.raw}, side{EndBackend, s.backend.Conn.Conn, s.backend.raw}, s.relayed)
	r.workers = s.server.workers
	if !s.enterRelay(r) {
		return nil, ending{s.isStopped(), errStopped}
	}
	fromClient, fromBackend := s.client.Rest(), s.backend.Rest()
	s.client, s.backend.Conn, s.tls = nil, nil, nil // only the login needs them
	r.begin(s.server.Timeouts.Idle, fromClient, fromBackend)
	return nil, nil
}

// newRelay returns a relay that has not begun.
func newRelay(client, backend side, end func()) *relay {
	r := &relay{client: client, backend: backend, end: end, running: 2, reading: upBit | downBit}
	r.up.relay, r.up.dst, r.up.src = r, &r.backend, &r.client
	r.down.relay, r.down.dst, r.down.src = r, &r.client, &r.backend
	return r
}

// begin starts both directions, each with what was read ahead from its side.
func (r *relay) begin(idle time.Duration, fromClient, fromBackend []byte) {
	r.mu.Lock()
	r.idleLimit, r.lastMove = idle, time.Since(epoch)
	for _, e := range []*side{&r.client, &r.backend} {
		e.raw.SetNonblock(true)
		if !r.aborted {
			e.raw.SetDeadline(r.idleDeadline())
		}
	}
	r.mu.Unlock()
	go r.down.carry(fromBackend)
	r.up.carry(fromClient)
}

// enterRelay marks the session as logged in. It returns false if the session must end at
// once.
func (s *session) enterRelay(r *relay) bool {
	s.record.Step = StepRelay
	if s.connection != nil {
		s.connection.LoggedIn(time.Now())
	}
	s.server.loggedIn(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.immediate {
		s.server.relaying.Add(-1)
		return false
	}
	s.stopped = EndClient
	s.relaying = r
	return true
}

// relayed ends the session when its relay has ended.
func (s *session) relayed() {
	r := s.relaying
	s.server.relaying.Add(-1)
	s.record.FromClient, s.record.ToClient = r.up.carried, r.down.carried
	s.finish(ending{r.endBy, r.err})
	s.close()
}

// Wake runs the direction when there is something to read or its deadline has passed.
func (d *direction) Wake() { d.relay.workers.start(d) }

func (d *direction) run() {
	d.relay.resume(d)
	d.carry(nil)
}

// carry writes ahead and then what src sends, until the direction is parked or ends.
func (d *direction) carry(ahead []byte) {
	err := d.copy(ahead)
	if err == errParked {
		return // another goroutine may run the direction already
	}
	if d.relay.ended(d.dst, d.src, err) {
		d.relay.end()
	}
}

// errNotRead says that the side that is written to does not read any more, errParked that
// the direction is parked until src sends something.
var (
	errNotRead = errors.New("peer does not read any more")
	errParked  = errors.New("parked")
)

// copy writes ahead and then what src sends to dst. It returns io.EOF at the end of src,
// errNotRead if dst does not take the data, and errParked.
func (d *direction) copy(ahead []byte) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = ending{EndPanic, fmt.Errorf("panic: %v\n%s", fault, debug.Stack())}
		}
	}()
	buffer := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buffer)
	if err := d.write(ahead); err != nil {
		return err
	}
	for {
		n, err := d.readAvailable(buffer[:])
		if err := d.write(buffer[:n]); err != nil {
			return err
		}
		switch {
		case err == nil:
		case err == netpoll.ErrWouldBlock:
			if releaseInput(d.src.conn) {
				d.relay.suspend(d)
			}
			if d.src.raw.Park(d) {
				return errParked
			}
			d.relay.resume(d)
		case errors.Is(err, os.ErrDeadlineExceeded) && d.relay.extendRead(d.src):
		default:
			return err
		}
	}
}

// readAvailable reads into p what there is: TLS returns one record at a time.
func (d *direction) readAvailable(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = d.src.conn.Read(p[n:])
		n += m
	}
	return n, err
}

func (d *direction) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	d.relay.noteWrite(d.dst)
	n, err := d.dst.conn.Write(p)
	d.carried += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.relay.timeOut()
	}
	if err != nil {
		return errors.Join(errNotRead, err)
	}
	return nil
}

// ended notes that the direction from src to dst has ended, and reports whether the other
// has ended too. If not and if the end was orderly, the sending direction of dst is
// closed, and dst gets a little time to finish; a side that reads no more may have sent
// something that has not arrived yet. Any other end aborts both directions.
func (r *relay) ended(dst, src *side, err error) (over bool) {
	last, notRead := errors.Is(err, io.EOF), errors.Is(err, errNotRead)
	switch {
	case last:
		over = r.directionEnded(src.end, nil)
	case notRead:
		over = r.directionEnded(dst.end, err)
	default:
		over = r.directionEnded(src.end, err)
	}
	switch {
	case over:
	case notRead || last && dst.closeWrite():
		limit := halfOpenBackend
		if dst.end == EndClient {
			limit = halfOpenClient
		}
		r.shortenIdle(limit, dst, src)
	default:
		r.abort()
	}
	return over
}

// closeWrite closes the sending direction, in TLS and below it. It reports whether the
// connection could do so.
func (e *side) closeWrite() bool {
	if c, ok := e.conn.(*tls.Conn); ok && c.CloseWrite() != nil {
		return false
	}
	return e.raw.CloseWrite() == nil
}

// directionEnded notes why a direction has ended, and reports whether it was the last.
func (r *relay) directionEnded(end End, err error) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(end, err)
	r.running--
	return r.running == 0
}

// note notes why the session ends. The first reason is kept, except that a panic replaces
// it. r.mu must be held.
func (r *relay) note(end End, err error) {
	var fault ending
	if errors.As(err, &fault) {
		r.endBy, r.err, r.endKnown = fault.End, fault.err, true
	}
	if !r.endKnown {
		r.endBy, r.err, r.endKnown = end, err, true
	}
}

// idleDeadline is when the session will have been idle for too long. r.mu must be held.
func (r *relay) idleDeadline() time.Time { return epoch.Add(r.lastMove + r.idleLimit) }

// noteWrite notes that data is being written to dst, which must take it before the
// session is idle for too long.
func (r *relay) noteWrite(dst *side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lastMove = time.Since(epoch); !r.aborted {
		dst.raw.SetWriteDeadline(r.idleDeadline())
	}
}

// extendRead sets the read deadline of src anew and returns true, unless the session has
// been idle for too long: then it ends the session.
func (r *relay) extendRead(src *side) bool {
	r.mu.Lock()
	deadline := r.idleDeadline()
	if !r.aborted && time.Now().Before(deadline) {
		defer r.mu.Unlock()
		src.raw.SetReadDeadline(deadline)
		return true
	}
	r.mu.Unlock()
	r.timeOut()
	return false
}

// shortenIdle lowers the idle limit, counted from now, for what is still read from src
// and written to dst.
func (r *relay) shortenIdle(limit time.Duration, src, dst *side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aborted || limit >= r.idleLimit {
		return
	}
	r.idleLimit, r.lastMove = limit, time.Since(epoch)
	src.raw.SetReadDeadline(r.idleDeadline())
	dst.raw.SetWriteDeadline(r.idleDeadline())
}

// timeOut ends a session that was idle for too long. If one side has closed before, that
// remains the reason.
func (r *relay) timeOut() {
	r.mu.Lock()
	r.note(EndTimeout, errors.New("session was idle for too long"))
	r.mu.Unlock()
	r.abort()
}

// abort wakes both directions and has them end.
func (r *relay) abort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abortLocked()
}

// abortLocked is abort. A second time it does nothing, for the session may be about to
// write close_notify. r.mu must be held.
func (r *relay) abortLocked() {
	if r.aborted {
		return
	}
	r.aborted = true
	r.client.raw.SetDeadline(past)
	r.backend.raw.SetDeadline(past)
}
