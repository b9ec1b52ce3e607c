package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	s.record.Room = RoomProxyHeader
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
	if c.r == nil || c.r.Buffered() == 0 {
		c.r = nil
		return c.Conn.Read(p)
	}
	return c.r.Read(p)
}

// enter hears who comes, and whether the source may. At an implicit door the
// client speaks first.
func (s *session) enter() (room, error) {
	conn, err := s.proxyHeader(s.raw)
	if err == nil {
		err = s.connectVerdict()
	}
	if err != nil {
		return nil, err
	}
	arrive := func() (room, error) { return s.arrive(conn) }
	if s.door.TLS == Upgrade {
		return arrive, nil
	}
	s.record.Room = RoomTLS
	s.setDeadline(s.handshakeDeadline())
	if conn != net.Conn(s.raw) { // some of what it says may have been read
		return arrive, nil
	}
	return s.park(arrive)
}

// arrive begins TLS at an implicit door, and greets.
func (s *session) arrive(conn net.Conn) (room, error) {
	s.client = dialogue.NewConn(conn)
	s.client.Ref = s.record.ID
	if s.door.TLS == Implicit {
		if err := s.beginTLS(conn); err != nil {
			return nil, err
		}
	}
	s.record.Room = RoomDialogue
	s.setDeadline(s.deadline)
	err := s.door.Protocol.Greet(s.client, s.offer())
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

// beginTLS makes the handshake on conn, on which nothing may have been read
// ahead, and puts the client's dialogue behind it.
func (s *session) beginTLS(conn net.Conn) error {
	turn := &inTurn{Conn: conn, handshakes: s.server.handshakes}
	defer turn.done()
	secure := tls.Server(turn, s.door.Config)
	if err := secure.Handshake(); err != nil {
		s.record.Handshake = HandshakeFailed
		return ending{EndTLS, fmt.Errorf("handshake with client: %w", err)}
	}
	state := secure.ConnectionState()
	s.caller.tls = &state
	s.record.Handshake = HandshakeDone
	s.record.TLS = tls.VersionName(state.Version)
	s.record.Cipher = tls.CipherSuiteName(state.CipherSuite)
	s.record.Resumed = state.DidResume
	s.client.Restart(secure)
	return nil
}

// upgrade begins TLS at the client's wish. Octets that came in clear text
// behind the wish end the connection.
func (s *session) upgrade(r dialogue.Request) error {
	if s.rushed() {
		s.meet(inRush)
		s.answer(r, dialogue.AnswerBusy)
		return refused(inRush)
	}
	if err := s.door.Protocol.Answer(s.client, r, dialogue.AnswerTLS); err != nil {
		return err
	}
	if s.client.Buffered() > 0 {
		return ending{EndProtocol, errors.New("clear text behind STARTTLS")}
	}
	s.record.Room = RoomTLS
	s.setDeadline(s.handshakeDeadline())
	return s.beginTLS(s.client.Conn)
}

// offer is what the client may be offered now.
func (s *session) offer() dialogue.Offer {
	inTLS := s.caller.tls != nil
	return dialogue.Offer{
		TLS:       inTLS,
		StartTLS:  !inTLS && s.door.Config != nil,
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
