package proxy

import (
	"container/list"
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

// session is one connection's life. Whoever walks owns all fields but those under
// mu and those the Server owns.
type session struct {
	server     *Server
	listener   *Listener
	raw        netpoll.Conn // as accepted; closed by close and nobody else
	record     Record
	connection *limiter.Connection // nil until the connect verdict

	client   *dialogue.Conn // on raw, or on TLS on raw
	tls      *clientTLS     // nil in clear text
	attempt  *loginAttempt  // the attempt that is being made, nil without one
	backend  *backendConn   // nil unless an attempt or the relay has one
	deadline time.Time      // of everything before login
	next     step           // where the walk goes on once the client has spoken

	preloginElement *list.Element // among those before login; the Server's
	evicted         bool          // to make room for another; the Server's
	overLimit       bool          // as many as there may be are logged in
	probe           bool          // a load balancer's health check

	mu             sync.Mutex
	stopped        End          // why the connection must end, EndClient if it need not
	immediate      bool         // it must end now, not when it next waits for the client
	relaying       *relay       // nil until logged in
	backendRaw     netpoll.Conn // to the backend, once there is one
	addressTrusted bool         // record.Client is the client
	waiter         *waiter      // that the session waits for, if it does
}

func newSession(s *Server, d *Listener, conn net.Conn) *session {
	now := time.Now()
	return &session{
		server: s, listener: d, raw: netpoll.Wrap(conn), deadline: now.Add(s.Timeouts.Login),
		record: Record{
			Listener: d.Name, Protocol: d.Protocol.Name(), Start: now,
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

// finish writes the end into the record, and says goodbye where one is due.
func (s *session) finish(err error) {
	var e ending
	if !errors.As(err, &e) {
		e = ending{EndClient, err}
	}
	switch stopped := s.isStopped(); {
	case stopped != EndClient:
		e = ending{stopped, nil} // whatever was going on was broken off
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

// close ends everything and hands over the record. It is always reached.
func (s *session) close() {
	if s.attempt != nil {
		s.attempt.abandon()
	}
	if s.backend != nil {
		s.backend.close()
	}
	client := net.Conn(s.raw)
	switch {
	case s.relaying != nil:
		client = s.relaying.client.conn
	case s.client != nil:
		s.client.Release()
		client = s.client
	}
	client.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	client.Close() // sends close_notify
	s.raw.Close()
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

// goodbyeTimeout bounds the writing of what nobody may be there to read.
const goodbyeTimeout = 5 * time.Second

// connectVerdict asks whether the source may open another connection. At a
// clear door a refused client is told so; at a TLS door the words would cost a
// handshake.
func (s *session) connectVerdict() error {
	s.record.Step = StepConnect
	if s.probe {
		return nil
	}
	verdict := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleMaxConnections}
	if !s.overLimit {
		s.connection, verdict = s.server.Limiter.Connect(time.Now(), s.record.Client.Addr())
		s.record.Observed = s.server.observing.Load()
	}
	if verdict.Action != limiter.Refuse && s.listener.TLS == Implicit && s.handshakesOverloaded() {
		verdict, s.record.Observed = overloadVerdict, false // it protects the gate, as the other does
	}
	s.meet(verdict)
	if verdict.Action != limiter.Refuse || s.record.Observed {
		s.mu.Lock()
		s.addressTrusted = true
		s.mu.Unlock()
		return nil
	}
	if s.listener.TLS == Upgrade {
		s.answer(dialogue.Request{}, dialogue.AnswerBusy)
	}
	return ending{EndRefused, fmt.Errorf("refused by rule %s", verdict.Rule)}
}

// meet notes the strictest verdict met.
func (s *session) meet(v limiter.Verdict) {
	if v.Action > s.record.Verdict.Action || v.Action == s.record.Verdict.Action && v.Wait > s.record.Verdict.Wait {
		s.record.Verdict = v
	}
}

// answer tells the client. Whoever answers has nothing left to do if the client
// is gone, so there is no error.
func (s *session) answer(r dialogue.Request, a dialogue.Answer) {
	s.raw.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	_ = s.listener.Protocol.Answer(s.client, r, a)
}

// setDeadline bounds what the client may take from now on. A session that has
// been told to stop does not wait for its client again.
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

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// takeLeave makes a session before login end as soon as it waits for its client.
func (s *session) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relaying == nil && s.stopped == EndClient {
		s.stopped = EndShutdown
		s.raw.SetReadDeadline(past)
	}
}

// cut makes a session end now, wherever it is.
func (s *session) closeNow() {
	s.stopNow(EndShutdown)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backendRaw != nil {
		s.backendRaw.SetDeadline(past)
	}
}

// expel makes a session before login end to make room for another. The answer
// of a backend that is asked already still settles the attempt.
func (s *session) evict() { s.stopNow(EndEvicted) }

func (s *session) stopNow(why End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped, s.immediate = why, true
	if s.relaying != nil {
		s.relaying.abort()
		return
	}
	s.raw.SetDeadline(past)
}

// reached sets the deadline of the backend's connection, and notes it for cut.
func (s *session) setBackendDeadline(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backendRaw = s.backend.raw
	if s.immediate && s.stopped == EndShutdown {
		deadline = past
	}
	s.backendRaw.SetDeadline(deadline)
}

// isStopped says why the session was told to end, EndClient if it was not.
func (s *session) isStopped() End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// belongs says whether a login from the same source was ever accepted.
func (s *session) fromKnownSource(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addressTrusted && s.server.Limiter.KnownSource(now, s.record.Client.Addr())
}

// addrPort returns the IP address and port of a, or a zero AddrPort if it has
// none.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
