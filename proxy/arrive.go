package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/proxy/dialogue"
)

// proxyHeader reads the PROXY header of a connection from ProxyFrom, and notes
// the addresses it announces. It is required there, and taken from nobody else:
// there is no guessing. A LOCAL header is a health check, and keeps the
// addresses of the socket.
func (s *session) proxyHeader(raw net.Conn) (net.Conn, error) {
	s.record.Step = StepProxyHeader
	peer := s.record.Client.Addr()
	if !slices.ContainsFunc(s.server.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		return raw, nil
	}
	s.setDeadline(s.handshakeDeadline())
	conn := &readAhead{Conn: raw, r: bufio.NewReaderSize(raw, headerBuffer)}
	header, err := proxyproto.Read(conn.r)
	if err != nil {
		return nil, ending{EndProxyHeader, fmt.Errorf("read PROXY header from %v: %w", s.record.Client, err)}
	}
	if header.Command.IsLocal() {
		s.probe = true
		return conn, nil
	}
	client, local, ok := header.TCPAddrs()
	if !ok {
		return nil, ending{EndProxyHeader, fmt.Errorf("PROXY header from %v announces no TCP address", s.record.Client)}
	}
	s.record.Client, s.record.Local = addrPort(client), addrPort(local)
	return conn, nil
}

// headerBuffer holds the longest header that carries what anybody sends (536
// octets), and not much that follows.
const headerBuffer = 1024

// readAhead is a connection of which the front has been read into r, which is
// dropped when it is empty.
type readAhead struct {
	net.Conn
	r *bufio.Reader
}

func (c *readAhead) Read(p []byte) (int, error) {
	if c.buffered() == 0 {
		c.r = nil
		return c.Conn.Read(p)
	}
	return c.r.Read(p)
}

func (c *readAhead) buffered() int {
	if c.r == nil {
		return 0
	}
	return c.r.Buffered()
}

// enter hears who comes, and whether the source may. At an implicit door the
// client speaks first.
func (s *session) enter() (step, error) {
	conn, err := s.proxyHeader(s.raw)
	if err != nil {
		return nil, err
	}
	s.client = dialogue.NewConn(conn)
	s.client.Ref = s.record.ID
	if err := s.connectVerdict(); err != nil {
		return nil, err
	}
	if s.listener.TLS == Implicit {
		return s.toTLS(s.greet)
	}
	return s.greet, nil
}

// greet says what the client may do, and waits for what it wants.
func (s *session) greet() (step, error) {
	s.record.Step = StepDialogue
	s.setDeadline(s.deadline)
	err := s.listener.Protocol.Greet(s.client, s.offer())
	s.record.Greeting = time.Since(s.record.Start)
	if err != nil {
		return nil, err
	}
	return s.await(s.hear)
}

// handshakeDeadline is when a handshake must be over, or a PROXY header read, that
// begins now.
func (s *session) handshakeDeadline() time.Time {
	return earlier(s.deadline, time.Now().Add(s.server.Timeouts.Handshake))
}

// toTLS makes a handshake and goes on to then. It waits for the client's hello, and
// next for a slot, without a goroutine.
func (s *session) toTLS(then step) (step, error) {
	s.record.Step = StepTLS
	turn := &handshakeConn{Conn: s.client.Conn, raw: s.raw, handshakes: &s.server.handshakes, deadline: s.handshakeDeadline()}
	s.setDeadline(turn.deadline)
	queue := func() (step, error) { return s.queue(turn, then) }
	if ahead, ok := turn.Conn.(*readAhead); ok && ahead.buffered() > 0 {
		return queue, nil
	}
	return s.park(queue)
}

// queue waits for a slot.
func (s *session) queue(turn *handshakeConn, then step) (step, error) {
	secure := func() (step, error) { return s.secure(turn, then) }
	b := newWaiter(s)
	turn.slot.rank, turn.slot.granted = s.rank(), b.wake
	if turn.handshakes.acquire(&turn.slot) {
		return secure, nil
	}
	s.waitFor(b)
	s.setDeadline(turn.waitDeadline())
	return s.parkUntilDeadline(func() (step, error) {
		s.waitFor(nil)
		if turn.handshakes.cancel(&turn.slot) {
			return nil, s.refuseHandshake()
		}
		s.setDeadline(turn.deadline)
		return secure, nil
	})
}

// turnedAway is how a session ends that was to wait for a slot for too long.
func (s *session) refuseHandshake() error {
	if s.isStopped() == EndClient {
		s.meet(overloadVerdict)
	}
	return refused(overloadVerdict)
}

// secure makes the handshake with the slot that turn has, and puts the client's
// dialogue behind it. Whatever else is due comes first: it computes less.
func (s *session) secure(turn *handshakeConn, then step) (step, error) {
	defer turn.finish()
	runtime.Gosched()
	secure := tls.Server(turn, s.listener.Config)
	err := secure.Handshake()
	switch {
	case errors.Is(err, errHandshakesOverloaded):
		return nil, s.refuseHandshake()
	case err != nil:
		s.record.Handshake = HandshakeFailed
		return nil, ending{EndTLS, fmt.Errorf("handshake with client: %w", err)}
	}
	state := secure.ConnectionState()
	s.tls = &clientTLS{state.Version, state.CipherSuite, state.NegotiatedProtocol, state.ServerName}
	s.record.Handshake = HandshakeDone
	s.record.TLS = tls.VersionName(state.Version)
	s.record.Cipher = tls.CipherSuiteName(state.CipherSuite)
	s.record.Resumed = state.DidResume
	s.client.Restart(secure)
	return then, nil
}

// upgrade begins TLS at the client's wish. Octets that came in clear text
// behind the wish end the connection.
func (s *session) upgrade(r dialogue.Request) (step, error) {
	if s.handshakesOverloaded() {
		s.meet(overloadVerdict)
		s.answer(r, dialogue.AnswerBusy)
		return nil, refused(overloadVerdict)
	}
	if err := s.listener.Protocol.Answer(s.client, r, dialogue.AnswerTLS); err != nil {
		return nil, err
	}
	if s.client.Buffered() > 0 {
		return nil, ending{EndProtocol, errors.New("clear text behind STARTTLS")}
	}
	return s.toTLS(func() (step, error) { return s.await(s.hear) })
}

// offer is what the client may be offered now.
func (s *session) offer() dialogue.Offer {
	inTLS := s.tls != nil
	return dialogue.Offer{
		TLS:       inTLS,
		StartTLS:  !inTLS && s.listener.Config != nil,
		Cleartext: s.server.CleartextLogin,
		Backend:   *s.backends().offered.Load(),
	}
}

// backends are those of the door's protocol.
func (s *session) backends() *Backends { return s.server.Backends[s.record.Protocol] }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
