package proxy

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// This file makes one TLS handshake with a client. Handshakes are the most expensive
// thing that a stranger can ask for, so few compute at once and the others queue.

// handshakeQueue bounds how many TLS handshakes compute at once, so that a flood of them
// cannot take the processors from the sessions that are logged in.
type handshakeQueue struct {
	mu     sync.Mutex
	taken  int // slots
	queues [ranks]list.List
}

// rank is the queue in which a handshake waits.
type rank int

// The ranks, the first to be served first. A handshake that has been computed in part
// needs little more, and that part would be lost.
const (
	rankStarted  rank = iota // the client has answered the server's hello
	rankKnown                // a login from the source was accepted before, or a forwarder or balancer connects
	rankStranger             // all others
	ranks
)

// Limits on strangers that wait for a handshake slot. Of those that come after
// maxStrangers each is refused at once. Otherwise the longest-waiting is served first,
// unless more than overload wait: then more come than can be served, and the newest are
// served first. Their clients are still there; serving the oldest first would make every
// client wait until it gives up. Overload is a number and not a time: on a busy machine a
// few handshakes take long, and none of them may be left to the last.
const (
	maxStrangers    = 1000 // for each slot
	overload        = 100  // likewise
	maxStrangerWait = 5 * time.Second
)

// handshakeSlot is a handshake that waits for a slot or holds one.
type handshakeSlot struct {
	rank    rank
	granted func()        // called when a handshake that waits gets its slot
	element *list.Element // in its queue; nil outside
	held    bool
}

// slots is how many handshakes may compute at once. Where there are two processors or
// more, one is left to everything else: a session that must wait behind handshakes, even
// if only as many compute as there are processors, waits for too long.
func (q *handshakeQueue) slots() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// acquire takes a slot for s and reports whether one was free. If not, s is queued, and
// its granted will be called.
func (q *handshakeQueue) acquire(s *handshakeSlot) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken == 0 || q.taken < q.slots() {
		q.taken++
		s.held = true
		return true
	}
	s.element = q.queues[s.rank].PushBack(s)
	return false
}

// release gives back the slot of s, to the next in the queues.
func (q *handshakeQueue) release(s *handshakeSlot) {
	q.mu.Lock()
	s.held = false
	q.taken--
	var next *handshakeSlot
	if q.taken < q.slots() {
		next = q.next()
	}
	if next != nil {
		q.taken++
		next.element, next.held = nil, true
	}
	q.mu.Unlock()
	if next != nil {
		next.granted()
	}
}

// next takes the next handshake out of the queues, nil if none waits. q.mu must be held.
func (q *handshakeQueue) next() *handshakeSlot {
	for r := range q.queues {
		queue := &q.queues[r]
		first := queue.Front()
		if first == nil {
			continue
		}
		if rank(r) != rankStarted && queue.Len() > overload*q.slots() {
			first = queue.Back()
		}
		return queue.Remove(first).(*handshakeSlot)
	}
	return nil
}

// cancel takes s out of its queue. It returns false if s has got a slot.
func (q *handshakeQueue) cancel(s *handshakeSlot) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.element == nil {
		return false
	}
	q.queues[s.rank].Remove(s.element)
	s.element = nil
	return true
}

// full reports whether no more strangers may wait.
func (q *handshakeQueue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queues[rankStranger].Len() >= maxStrangers*q.slots()
}

// overloaded is the verdict on a stranger for whose handshake there is no time.
var overloaded = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleHandshakes}

// handshakeRank is the queue in which the session waits for its first slot.
func (s *session) handshakeRank() rank {
	if s.probe || s.forward.unnamed || s.server.Limiter.KnownSource(time.Now(), s.record.Client.Addr()) {
		return rankKnown
	}
	return rankStranger
}

// handshakeDeadline is when a handshake or a PROXY header that begins now must be
// complete.
func (s *session) handshakeDeadline() time.Time {
	return earlier(s.deadline, time.Now().Add(s.server.Timeouts.Handshake))
}

// startTLS makes a handshake and goes on with next. It waits, parked, for the client's
// hello and then for a slot.
func (s *session) startTLS(next step) (step, error) {
	s.record.Step = StepTLS
	conn := &handshakeConn{Conn: s.client.Conn, raw: s.raw, queue: &s.server.handshakes, deadline: s.handshakeDeadline()}
	s.setDeadline(conn.deadline)
	queue := func() (step, error) { return s.queueHandshake(conn, next) }
	if ahead, ok := conn.Conn.(*readAhead); ok && ahead.buffered() > 0 {
		return queue, nil
	}
	return s.park(queue)
}

// queueHandshake waits, parked, for a slot.
func (s *session) queueHandshake(conn *handshakeConn, next step) (step, error) {
	handshake := func() (step, error) { return s.handshake(conn, next) }
	w := newWaiter(s)
	conn.slot.rank, conn.slot.granted = s.handshakeRank(), w.wake
	switch {
	case conn.slot.rank == rankStranger && conn.queue.full():
		return nil, s.refuseHandshake()
	case conn.queue.acquire(&conn.slot):
		return handshake, nil
	}
	s.waitFor(w)
	s.setDeadline(conn.slotDeadline())
	return s.parkUntilDeadline(func() (step, error) {
		s.waitFor(nil)
		if conn.queue.cancel(&conn.slot) {
			return nil, s.refuseHandshake()
		}
		s.setDeadline(conn.deadline)
		return handshake, nil
	})
}

// refuseHandshake is how a session ends for whose handshake there is no time.
func (s *session) refuseHandshake() error {
	if s.isStopped() == EndClient {
		s.meet(overloaded)
	}
	return refused(overloaded)
}

// handshake makes the handshake with the slot that conn has, and puts the client's
// dialogue on top of TLS.
func (s *session) handshake(conn *handshakeConn, next step) (step, error) {
	defer conn.finish()
	runtime.Gosched() // what else is ready to run needs less time than a handshake
	secure, device, ja4, err := s.listener.devices.handshake(conn)
	if !s.forward.peer { // it would be that of all users of a webmail
		s.record.JA4 = ja4
	}
	switch {
	case errors.Is(err, errNoSlotInTime):
		return nil, s.refuseHandshake()
	case err != nil:
		s.record.Handshake = HandshakeFailed
		return nil, ending{EndTLS, fmt.Errorf("handshake with client: %w", err)}
	}
	state := secure.ConnectionState()
	s.tls = &clientTLS{state.Version, state.CipherSuite, state.NegotiatedProtocol, state.ServerName, device}
	s.record.Handshake = HandshakeDone
	s.record.TLS = tls.VersionName(state.Version)
	s.record.Cipher = tls.CipherSuiteName(state.CipherSuite)
	s.record.Resumed = state.DidResume
	s.client.Restart(secure)
	return next, nil
}

// upgrade begins TLS after STARTTLS or STLS. What the client sent in clear text behind
// the command ends the connection: it could come from somebody in between (RFC 3501
// section 6.2.1, RFC 2595 section 4).
func (s *session) upgrade(r dialogue.Request) (step, error) {
	if s.server.handshakes.full() && s.handshakeRank() == rankStranger {
		s.meet(overloaded)
		s.answer(r, dialogue.AnswerBusy)
		return nil, refused(overloaded)
	}
	if err := s.listener.Protocol.Answer(s.client, r, dialogue.AnswerTLS); err != nil {
		return nil, err
	}
	if s.client.Buffered() > 0 {
		return nil, ending{EndProtocol, errors.New("clear text behind STARTTLS")}
	}
	return s.startTLS(func() (step, error) {
		if err := s.listener.Protocol.GreetTLS(s.client, s.offer()); err != nil {
			return nil, err
		}
		return s.await(s.readRequest)
	})
}

// handshakeConn is a connection whose TLS handshake computes only while it holds a slot.
// It gives the slot back while it waits for its client, so that slow clients delay no
// others.
type handshakeConn struct {
	net.Conn
	raw      netpoll.Conn    // under Conn
	queue    *handshakeQueue // nil once the handshake is complete
	deadline time.Time       // of the handshake
	slot     handshakeSlot
}

// slotDeadline is how long it may wait for a slot.
func (c *handshakeConn) slotDeadline() time.Time {
	if c.slot.rank == rankStranger {
		return earlier(c.deadline, time.Now().Add(maxStrangerWait))
	}
	return c.deadline
}

// Read gives the slot back if it must wait for the client.
func (c *handshakeConn) Read(p []byte) (int, error) {
	if c.queue == nil {
		return c.Conn.Read(p)
	}
	if c.slot.held {
		c.raw.SetNonblock(true)
		n, err := c.Conn.Read(p)
		c.raw.SetNonblock(false)
		if err != netpoll.ErrWouldBlock {
			return n, err
		}
		c.releaseSlot()
	}
	n, err := c.Conn.Read(p)
	if err == nil {
		err = c.waitSlot()
		runtime.Gosched() // as in session.handshake
	}
	return n, err
}

// errNoSlotInTime says that a handshake has waited for a slot for too long.
var errNoSlotInTime = errors.New("too many TLS handshakes")

// waitSlot waits for a slot.
func (c *handshakeConn) waitSlot() error {
	granted := make(chan struct{})
	c.slot.granted = func() { close(granted) }
	if c.queue.acquire(&c.slot) {
		return nil
	}
	timeout := time.NewTimer(time.Until(c.slotDeadline()))
	defer timeout.Stop()
	select {
	case <-granted:
		return nil
	case <-timeout.C:
	}
	if c.queue.cancel(&c.slot) {
		return errNoSlotInTime
	}
	return nil
}

// retryRandom is in the hello of a server that asks for another ClientHello before it
// computes anything (RFC 8446 section 4.1.3).
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// handshakeRecord is the type of a TLS record with a handshake message.
const handshakeRecord = 22

// Write notes that most of the handshake has been computed, if that is what p shows.
func (c *handshakeConn) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == handshakeRecord && !bytes.Contains(p, retryRandom[:]) {
		c.slot.rank = rankStarted
	}
	return c.Conn.Write(p)
}

// finish gives the slot back for good.
func (c *handshakeConn) finish() {
	c.releaseSlot()
	c.queue = nil
}

func (c *handshakeConn) releaseSlot() {
	if c.slot.held {
		c.queue.release(&c.slot)
	}
}
