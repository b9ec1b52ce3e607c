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

// relay is what carries octets both ways, once a session is logged in, until one
// side ends it, both are silent for too long, or the gate goes down. Its two
// directions have a goroutine and a buffer each while there is something to
// carry, and nothing while there is not.
type relay struct {
	client, backend side
	up, down        direction
	end             func() // called when both have ended
	server          *Server

	mu        sync.Mutex
	idleLimit time.Duration // of silence
	lastMove  time.Duration // when something moved, since epoch
	err       error         // why the session ended, nil when it did so in good order
	running   uint8         // directions that have not ended
	endBy     End           // the side that ended the session
	endKnown  bool          // why and err are
	aborted   bool          // it must end now
}

// side is one side of a relay: what it is to blame for, the connection to read
// and write, and the TCP connection under it.
type side struct {
	end  End
	conn net.Conn
	raw  netpoll.Conn
}

// direction is what is carried from src to dst.
type direction struct {
	relay    *relay
	dst, src *side
	carried  int64
}

// relay begins to relay. It returns an error if the session must end at once;
// without one, it ends when the relay does.
func (s *session) startRelay() (step, error) {
	r := newRelay(side{EndClient, s.client.Conn, s.raw}, side{EndBackend, s.backend.Conn.Conn, s.backend.raw}, s.relayed)
	r.server = s.server
	if !s.enterRelay(r) {
		return nil, ending{s.isStopped(), errStopped}
	}
	early, late := s.client.Rest(), s.backend.Rest()
	s.client, s.backend.Conn, s.tls = nil, nil, nil // what was for the login only
	r.begin(s.server.Timeouts.Idle, early, late)
	return nil, nil
}

// newRelay returns a relay that has not begun.
func newRelay(client, backend side, end func()) *relay {
	r := &relay{client: client, backend: backend, end: end, running: 2}
	r.up.relay, r.up.dst, r.up.src = r, &r.backend, &r.client
	r.down.relay, r.down.dst, r.down.src = r, &r.client, &r.backend
	return r
}

// begin sets both directions going, each with what its side has said too early.
func (r *relay) begin(idle time.Duration, early, late []byte) {
	r.mu.Lock()
	r.idleLimit, r.lastMove = idle, time.Since(epoch)
	for _, e := range []*side{&r.client, &r.backend} {
		e.raw.SetNonblock(true)
		if !r.aborted {
			e.raw.SetDeadline(r.due())
		}
	}
	r.mu.Unlock()
	go r.down.carry(late)
	r.up.carry(early)
}

// enterRelay marks the session as logged in. It returns false if the session must
// end at once.
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

// closeWrite tells the peer that no more will come, in TLS and below it. It
// reports whether the connection could do so.
func (e *side) closeWrite() bool {
	if c, ok := e.conn.(*tls.Conn); ok && c.CloseWrite() != nil {
		return false
	}
	return e.raw.CloseWrite() == nil
}

// Wake has the direction look whether there is something to carry.
func (d *direction) Wake() { d.relay.server.workers.run(d) }

func (d *direction) run() { d.carry(nil) }

// carry writes ahead and then whatever src says, until src has nothing to say
// for now, or no more at all.
func (d *direction) carry(ahead []byte) {
	err := d.copy(ahead)
	if err == errParked {
		return // another goroutine may have begun
	}
	if d.relay.ended(d.dst, d.src, err) {
		d.relay.end()
	}
}

// errDeaf means that the side that is written to has gone, errParked that the
// direction was left until src has something to say.
var (
	errPeerGone = errors.New("nobody reads any more")
	errParked   = errors.New("nothing to carry")
)

// copy writes ahead and then whatever src has to dst. It ends with io.EOF at the
// end of src, errDeaf when dst takes no more, and errParked.
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
			if d.park() {
				return errParked
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && d.relay.extendRead(d.src):
		default:
			return err
		}
	}
}

// gather reads into p whatever is there: TLS hands out one record at a time.
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
		return errors.Join(errPeerGone, err)
	}
	return nil
}

// park leaves src until it has something to say. If it returns true, the direction
// belongs to whoever wakes it from then on.
func (d *direction) park() bool {
	releaseInput(d.src.conn)
	return d.src.raw.Park(d)
}

// ended notes that nothing more goes from src to dst, and says whether nothing
// goes the other way either. If something does and this is in good order, dst is
// told, and gets a little time to finish. A side that reads no more may still
// have said something, which is on its way. Anything else cuts both off.
func (r *relay) ended(dst, src *side, err error) (over bool) {
	last, deaf := errors.Is(err, io.EOF), errors.Is(err, errPeerGone)
	switch {
	case last:
		over = r.directionEnded(src.end, nil)
	case deaf:
		over = r.directionEnded(dst.end, err)
	default:
		over = r.directionEnded(src.end, err)
	}
	switch {
	case over:
	case deaf || last && dst.closeWrite():
		patience := halfOpen
		if dst.end == EndClient {
			patience = linger
		}
		r.shortenIdle(patience, dst, src)
	default:
		r.abort()
	}
	return over
}

// blame notes why a direction has ended, and reports whether it was the last.
func (r *relay) directionEnded(end End, err error) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(end, err)
	r.running--
	return r.running == 0
}

// note notes why the session ends, unless that is known. A fault of the gate is
// always told of. r.mu must be held.
func (r *relay) note(end End, err error) {
	var fault ending
	if errors.As(err, &fault) {
		r.endBy, r.err, r.endKnown = fault.End, fault.err, true
	}
	if !r.endKnown {
		r.endBy, r.err, r.endKnown = end, err, true
	}
}
