package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// session is one connection's life. The goroutine that runs it owns all fields but those
// under mu and those of the Server.
type session struct {
	server     *Server
	listener   *Listener
	raw        netpoll.Conn // as accepted; only close closes it
	record     Record
	connection *limiter.Connection // nil before the connect verdict

	client   *dialogue.Conn // on raw, or on TLS on raw
	tls      *clientTLS     // nil in clear text
	attempt  *loginAttempt  // under way, nil without one
	backend  *backendConn   // nil unless an attempt or the relay has one
	deadline time.Time      // of everything before login
	next     step           // after the session was parked
	probe    bool           // a load balancer's health check
	forward  forwarding

	prelogin  *preloginEntry // nil unless it is before login and not evicted; the Server's
	evicted   bool           // closed in favour of another; the Server's
	overLimit bool           // as many as may be open are logged in; the Server's

	mu          sync.Mutex
	stopped     End          // why the session must end, EndClient if it need not
	immediate   bool         // it must end now, not when it next waits for the client
	relaying    *relay       // nil until logged in
	backendRaw  netpoll.Conn // to the backend, once there is one
	addressRead bool         // record.Client is the client, not a load balancer
	attempting  bool         // an attempt is under way, or was accepted
	lastAttempt bool         // the session ends with the attempt under way unless that is accepted
	waiter      *waiter      // that the session waits for, if it does
}

func newSession(s *Server, l *Listener, conn net.Conn) *session {
	now := time.Now()
	return &session{
		server: s, listener: l, raw: netpoll.Wrap(conn), deadline: now.Add(s.Timeouts.Login),
		record: Record{
			Listener: l.Name, Protocol: l.Protocol.Name(), Start: now,
			Client: addrPort(conn.RemoteAddr()), Local: addrPort(conn.LocalAddr()),
			Verdict: limiter.Verdict{Rule: limiter.RuleNone},
		},
	}
}

// ending is an error that says why the connection ends.
type ending struct {
	End
	err error
}

func (e ending) Error() string { return fmt.Sprint(e.err) } // err may be nil
func (e ending) Unwrap() error { return e.err }

// enter is the first step: the client's address and the connect verdict. Behind it the
// client speaks first on an implicit TLS listener, postern on any other.
func (s *session) enter() (step, error) {
	conn, err := s.readProxyHeader(s.raw)
	if err != nil {
		return nil, err
	}
	s.client = dialogue.NewConn(conn)
	s.client.Ref = s.record.ID
	var refusal error
	if s.record.Step = StepConnect; !s.probe && !s.beginForwarding() {
		refusal = s.connectVerdict()
	}
	switch {
	case refusal != nil && s.listener.TLS == Implicit:
		return s.awaitHello(refusal)
	case refusal != nil:
		s.answer(dialogue.Request{}, dialogue.AnswerBusy)
		return nil, refusal
	case s.listener.TLS == Implicit:
		return s.startTLS(s.greet)
	}
	return s.greet, nil
}

// connectVerdict asks the limiter whether the source may open another connection, and
// returns how the session ends if it may not.
func (s *session) connectVerdict() error {
	s.record.Step = StepConnect
	s.mu.Lock()
	s.addressRead = true
	s.mu.Unlock()
	verdict := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleMaxConnections}
	if !s.overLimit {
		verdict = s.connect()
	}
	s.meet(verdict)
	if verdict.Action == limiter.Refuse && !s.record.Observed {
		return refused(verdict)
	}
	return nil
}

// A refused TLS client is sent an alert. To read it, it must have sent its hello first,
// which is waited for until helloTimeout, in at most maxRefused sessions at once.
const (
	helloTimeout = time.Second
	maxRefused   = 1000
)

// awaitHello ends the session with refusal once the client's hello has come.
func (s *session) awaitHello(refusal error) (step, error) {
	if s.server.refused.Add(1) > maxRefused {
		s.server.refused.Add(-1)
		return nil, refusal
	}
	s.setDeadline(earlier(s.deadline, time.Now().Add(helloTimeout)))
	return s.park(func() (step, error) {
		s.server.refused.Add(-1)
		return nil, refusal
	})
}

// greet sends the greeting and waits for the client's first command.
func (s *session) greet() (step, error) {
	s.record.Step = StepDialogue
	s.setDeadline(s.deadline)
	err := s.listener.Protocol.Greet(s.client, s.offer())
	s.record.Greeting = time.Since(s.record.Start)
	if err != nil {
		return nil, err
	}
	return s.await(s.readRequest)
}

// readRequest reads commands until the client wants to begin TLS, to log in or to log out.
func (s *session) readRequest() (step, error) {
	s.raw.SetNonblock(false)
	s.record.Step = StepDialogue
	s.setDeadline(s.deadline)
	offer := s.offer()
	var refusal error
	offer.Forwarded = func(f dialogue.Forwarded) bool {
		refusal = s.forwarded(f)
		return refusal == nil
	}
	var peeked limiter.Verdict
	offer.Admits = func(account string) bool {
		peeked = s.server.Limiter.Peek(time.Now(), s.subjectNamed(dialogue.Request{}, account))
		return peeked.Action != limiter.Refuse || s.server.observing.Load()
	}
	r, err := s.listener.Protocol.ReadRequest(s.client, offer)
	switch {
	case errors.Is(err, dialogue.ErrHostile) || errors.Is(err, dialogue.ErrTooLong) || errors.Is(err, dialogue.ErrBadCommands):
		return nil, ending{EndProtocol, err}
	case err != nil:
		return nil, err
	case r.Kind == dialogue.Logout:
		return nil, io.EOF
	case r.Kind == dialogue.StartTLS:
		return s.upgrade(r)
	case refusal != nil:
		s.answer(r, dialogue.AnswerBusy)
		return nil, refusal
	}
	if err := s.admitPeer(r); err != nil {
		return nil, err
	}
	if r.Kind == dialogue.NotAdmitted {
		return nil, s.refuseNamed(r, peeked)
	}
	return s.startAttempt(r)
}

// offer is what the client may be offered now.
func (s *session) offer() dialogue.Offer {
	inTLS := s.tls != nil
	return dialogue.Offer{
		TLS:       inTLS,
		StartTLS:  !inTLS && s.listener.Config != nil,
		Cleartext: s.server.CleartextLogin,
		Forwarder: s.forward.peer,
		Backend:   *s.backends().offered.Load(),
	}
}

// backends is the pool of the listener's protocol.
func (s *session) backends() *Backends { return s.server.Backends[s.record.Protocol] }

// meet adds a verdict to the record, which keeps the strictest.
func (s *session) meet(v limiter.Verdict) {
	if v.Action > s.record.Verdict.Action || v.Action == s.record.Verdict.Action && v.Wait > s.record.Verdict.Wait {
		s.record.Verdict = v
	}
}

// answer sends the client one of our own answers. A client that does not take it loses
// nothing but the answer, so there is no error.
func (s *session) answer(r dialogue.Request, a dialogue.Answer) {
	s.raw.SetWriteDeadline(time.Now().Add(lastWriteTimeout))
	_ = s.listener.Protocol.Answer(s.client, r, a)
}

// lastWriteTimeout bounds the writing of an answer that the client may not read.
const lastWriteTimeout = 5 * time.Second

// finish writes into the record why the session ends, and answers the client where that
// is due.
func (s *session) finish(err error) {
	var e ending
	if !errors.As(err, &e) {
		e = ending{EndClient, err}
	}
	switch stopped := s.isStopped(); {
	case stopped != EndClient:
		e = ending{stopped, nil} // err is only what that has interrupted
	case e.End == EndClient && errors.Is(err, io.EOF):
		e.err = nil
	case e.End == EndClient && errors.Is(err, os.ErrDeadlineExceeded):
		e.End = EndTimeout
	}
	if (e.End == EndClient || e.End == EndTLS) && s.probe {
		e.End = EndProbe
	}
	s.record.End, s.record.Err = e.End, e.err
	if s.record.Step == StepDialogue || s.record.Step == StepTarpit {
		switch e.End {
		case EndTimeout:
			s.answer(dialogue.Request{}, dialogue.AnswerTimeout)
		case EndShutdown:
			s.answer(dialogue.Request{}, dialogue.AnswerShutdown)
		}
	}
}

// close closes both connections and hands over the record. Every session comes here.
func (s *session) close() {
	if s.attempt != nil {
		s.attempt.discard()
	}
	if s.backend != nil {
		s.backend.close()
	}
	if s.relaying != nil {
		client := s.relaying.client.conn
		client.SetWriteDeadline(time.Now().Add(lastWriteTimeout))
		client.Close() // sends close_notify in TLS
	} else {
		s.closeBeforeLogin()
	}
	s.raw.Close()
	s.endProbe()
	s.endUnnamed()
	now := time.Now()
	if s.connection != nil {
		s.connection.Close(now)
	}
	s.record.Duration = now.Sub(s.record.Start)
	if s.server.Done != nil {
		s.server.Done(s.record)
	}
	s.server.forget(s)
}

// internalError is a TLS alert record: fatal, internal_error (RFC 8446 section 6.2).
var internalError = []byte{21, 3, 3, 0, 2, 2, 80}

// closeBeforeLogin ends what is sent to the client: in TLS by close_notify, before a
// refused handshake by an alert. Then it discards what the client has sent: a socket
// that is closed with unread data resets the connection, and the client may never read
// our last answer. It waits for nothing and discards 64 KB at most.
func (s *session) closeBeforeLogin() {
	s.raw.SetNonblock(true)
	s.raw.SetReadDeadline(time.Time{})
	s.raw.SetWriteDeadline(time.Now().Add(lastWriteTimeout))
	if s.client != nil {
		s.client.Release()
		secure, inTLS := s.client.Conn.(*tls.Conn)
		switch {
		case inTLS:
			_ = secure.CloseWrite() // fails where the connection is lost
		case s.record.End == EndRefused && (s.record.Step == StepTLS || s.record.Step == StepConnect && s.listener.TLS == Implicit):
			_, _ = s.raw.Write(internalError)
		}
	}
	buffer := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buffer)
	for range 2 {
		if n, err := s.raw.Read(buffer[:]); n == 0 || err != nil {
			break
		}
	}
	_ = s.raw.CloseWrite()
}

// setDeadline bounds how long the client may take from now on. A session that must
// stop does not wait for its client again.
func (s *session) setDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.immediate:
		s.raw.SetDeadline(past)
	case s.stopped != EndClient || s.waiter.isWoken():
		s.raw.SetReadDeadline(past)
		s.raw.SetWriteDeadline(t)
	default:
		s.raw.SetDeadline(t)
	}
}

// past is a deadline that wakes a waiting session.
var past = time.Unix(1, 0)

// epoch is the zero of times that many sessions keep: as a Duration they need a third of
// the memory of a Time.
var epoch = time.Now()

// setBackendDeadline sets the deadline of the backend's connection, and has stop and
// closeNow know the connection.
func (s *session) setBackendDeadline(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backendRaw = s.backend.raw
	if s.immediate && s.stopped == EndShutdown {
		deadline = past
	}
	s.backendRaw.SetDeadline(deadline)
}

// stopNow ends the session now. If a backend is being asked, its answer still settles
// the attempt. It returns false if the session was ending at once already.
func (s *session) stopNow(why End) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopLocked(why)
}

// stopLocked is stopNow. s.mu must be held.
func (s *session) stopLocked(why End) bool {
	first := !s.immediate
	s.stopped, s.immediate = why, true
	if s.relaying != nil {
		s.relaying.abort()
		return first
	}
	s.raw.SetDeadline(past)
	return first
}

// isStopped says why the session must end, EndClient if it was not.
func (s *session) isStopped() End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// addrPort returns the IP address and port of a, or a zero AddrPort if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
