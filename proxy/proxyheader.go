package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"postern/proxy/dialogue"
)

// ProxyVersion is the version of the PROXY header sent to a backend.
type ProxyVersion uint8

// The versions. Only v2 can say that the client is in TLS; without that, Dovecot
// refuses passwords on a connection that announces a client.
const (
	ProxyV2 ProxyVersion = iota
	ProxyV1
	ProxyOff
)

var proxyVersions = []string{"v2", "v1", "off"}

// String returns "v2", "v1" or "off".
func (v ProxyVersion) String() string { return proxyVersions[v] }

// MarshalText returns the version as String does.
func (v ProxyVersion) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (v *ProxyVersion) UnmarshalText(text []byte) error {
	i, err := oneOf(text, proxyVersions)
	*v = ProxyVersion(i)
	return err
}

// oneOf returns the index of text among values.
func oneOf(text []byte, values []string) (int, error) {
	for i, value := range values {
		if string(text) == value {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of %q", text, values)
}

// readProxyHeader reads the PROXY header of a connection from one of the ProxyFrom
// networks, and takes the client's address from it. There the header is required; it is
// not accepted from anywhere else. A LOCAL header is a health check: the addresses of
// the socket are kept. So are those of a v1 header for an UNKNOWN protocol.
func (s *session) readProxyHeader(raw net.Conn) (net.Conn, error) {
	s.record.Step = StepProxyHeader
	peer := s.record.Client.Addr()
	if !contains(s.server.ProxyFrom, peer) {
		return raw, nil
	}
	s.record.Proxied = true
	s.setDeadline(s.handshakeDeadline())
	conn := &readAhead{Conn: raw, r: bufio.NewReaderSize(raw, headerBuffer)}
	header, err := proxyproto.Read(conn.r)
	if err != nil {
		return nil, ending{EndProxyHeader, fmt.Errorf("read PROXY header from %v: %w", s.record.Client, err)}
	}
	if header.Command.IsLocal() {
		s.beginProbe()
		return conn, nil
	}
	client, local, ok := header.TCPAddrs()
	if !ok {
		return nil, ending{EndProxyHeader, fmt.Errorf("PROXY header from %v has no TCP address", s.record.Client)}
	}
	s.record.Client, s.record.Local = addrPort(client), addrPort(local)
	return conn, nil
}

// maxProbes is how many connections of load balancers' own count as health checks at
// once. There are fewer health checks, and none lasts long; a balancer that announces
// other connections in the same way must not lift the limits for them.
const maxProbes = 100

// beginProbe makes the session a health check, unless there are too many: a health check
// does not meet the rules about connections, and its handshake goes before those of
// strangers.
func (s *session) beginProbe() {
	if s.probe = s.server.probes.Add(1) <= maxProbes; !s.probe {
		s.server.probes.Add(-1)
	}
}

// endProbe makes the session one of the clients', unless it was not a health check.
func (s *session) endProbe() {
	if s.probe {
		s.probe = false
		s.server.probes.Add(-1)
	}
}

// admitPeer applies the rules about connections to a client that asks to log in, if they were
// not applied before: to a health check, with the balancer as its source, or to a forwarder
// that has named no client. It returns how the session ends if they refuse it.
func (s *session) admitPeer(r dialogue.Request) error {
	if !s.probe && !s.forward.unnamed {
		return nil
	}
	s.endProbe()
	s.endUnnamed()
	refusal := s.connectVerdict()
	if refusal != nil {
		r.Response.Wipe()
		s.answer(r, dialogue.AnswerBusy)
	}
	return refusal
}

// headerBuffer holds the longest header that carries what proxies send (536 octets), and
// not much that follows.
const headerBuffer = 1024

// readAhead is a connection from which r has read ahead. r is dropped once it is empty.
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

// clientInfo is what a backend learns about the client.
type clientInfo struct {
	client, local netip.AddrPort
	tls           *clientTLS // nil in clear text
}

// clientTLS is what a backend learns about the client's TLS, and what the limiter learns. A
// tls.ConnectionState would keep the certificates and the handshake in memory.
type clientTLS struct {
	Version, CipherSuite           uint16
	NegotiatedProtocol, ServerName string
	device                         clientDevice
}

// header is the PROXY header that announces the client. It carries the SSL TLV exactly
// when the client is in TLS, so that Dovecot can apply its own policy to clear text.
// serves says which server names are safe to pass on: the client chose the name, and
// Dovecot looks up settings by it.
func (i clientInfo) header(v ProxyVersion, serves func(string) bool) ([]byte, error) {
	h := proxyproto.HeaderProxyFromAddrs(1, net.TCPAddrFromAddrPort(i.client), net.TCPAddrFromAddrPort(i.local))
	if v == ProxyV2 {
		h.Version = 2
		if err := h.SetTLVs(i.tlvs(serves)); err != nil {
			return nil, err
		}
	}
	return h.Format()
}

// Header returns the PROXY header that announces a client to a backend like the header
// of a login does, with TLS 1.3 if inTLS is set. It is for checks of backends.
func Header(v ProxyVersion, client, local netip.AddrPort, inTLS bool) ([]byte, error) {
	i := clientInfo{client: client, local: local}
	if inTLS {
		i.tls = probeTLS
	}
	return i.header(v, nil)
}

// HeaderRemedy says what to change if a backend closes connections from gateway behind
// the PROXY header instead of greeting. The backend does not say why: Dovecot writes
// "Client not trusted" into its own log.
func HeaderRemedy(gateway netip.Addr) string {
	return fmt.Sprintf("in Dovecot, haproxy_trusted_networks must contain %v, the address of this gateway, "+
		"and the inet_listener must have `haproxy = yes`; without PROXY headers, set POSTERN_BACKEND_PROXY=off", gateway)
}

// HeaderError is the error of a backend that has closed a connection behind the PROXY
// header, without a greeting.
type HeaderError struct {
	Gateway netip.Addr // local address of the connection
	Err     error
}

// Error returns what happened. The remedy is longer and apart from it.
func (e *HeaderError) Error() string { return "closed after the PROXY header: " + e.Err.Error() }

// Unwrap returns Err.
func (e *HeaderError) Unwrap() error { return e.Err }

// Remedy returns HeaderRemedy for the connection.
func (e *HeaderError) Remedy() string { return HeaderRemedy(e.Gateway) }

// tlvs describes the client's TLS. No client certificate is requested, so there is no
// name of one to pass on, and verify is zero as HAProxy sends it then.
func (i clientInfo) tlvs(serves func(string) bool) []proxyproto.TLV {
	if i.tls == nil {
		return nil
	}
	ssl, err := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL,
		TLV: []proxyproto.TLV{
			{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(tlsVersion(i.tls.Version))},
			{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(tls.CipherSuiteName(i.tls.CipherSuite))},
		},
	}.Marshal()
	if err != nil {
		panic("marshal the SSL TLV: " + err.Error()) // only for values above 64 KB
	}
	tlvs := []proxyproto.TLV{ssl}
	if i.tls.NegotiatedProtocol != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(i.tls.NegotiatedProtocol)})
	}
	if i.tls.ServerName != "" && serves != nil && serves(i.tls.ServerName) {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(i.tls.ServerName)})
	}
	return tlvs
}

// tlsVersion names a TLS version as OpenSSL does: "TLSv1.3".
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return tls.VersionName(v)
}
