package proxy

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// ProxyVersion is the form of PROXY header sent to a backend.
type ProxyVersion uint8

// The forms. Only v2 can say that the client is in TLS; without that, Dovecot
// refuses passwords on a connection that announces a client.
const (
	ProxyV2 ProxyVersion = iota
	ProxyV1
	ProxyOff
)

var proxyVersions = []string{"v2", "v1", "off"}

// String returns "v2", "v1" or "off".
func (v ProxyVersion) String() string { return proxyVersions[v] }

// MarshalText returns the form as String does.
func (v ProxyVersion) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (v *ProxyVersion) UnmarshalText(text []byte) error {
	i, err := oneOf(text, proxyVersions)
	*v = ProxyVersion(i)
	return err
}

// oneOf returns the index of text among words.
func oneOf(text []byte, words []string) (int, error) {
	for i, word := range words {
		if string(text) == word {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of %q", text, words)
}

// caller is what a backend is told about the client.
type clientInfo struct {
	client, local netip.AddrPort
	tls           *clientTLS // nil in clear text
}

// clientTLS is what is told about the client's TLS. A tls.ConnectionState says more,
// and keeps alive more than that.
type clientTLS struct {
	Version, CipherSuite           uint16
	NegotiatedProtocol, ServerName string
}

// header is the PROXY header that announces the caller. It carries the SSL TLV
// exactly when the client is in TLS, so that Dovecot's own policy holds for the
// rest. serves says which server names are safe to pass on: Dovecot looks up
// its settings by them, and the client chose the name.
func (w clientInfo) header(v ProxyVersion, serves func(string) bool) ([]byte, error) {
	h := proxyproto.HeaderProxyFromAddrs(1, net.TCPAddrFromAddrPort(w.client), net.TCPAddrFromAddrPort(w.local))
	if v == ProxyV2 {
		h.Version = 2
		if err := h.SetTLVs(w.tlvs(serves)); err != nil {
			return nil, err
		}
	}
	return h.Format()
}

// tlvs describes the client's TLS. No certificate was asked for, so there is no
// name of one to pass on, and verify is the zero that HAProxy sends then.
func (w clientInfo) tlvs(serves func(string) bool) []proxyproto.TLV {
	if w.tls == nil {
		return nil
	}
	ssl, err := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL,
		TLV: []proxyproto.TLV{
			{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(tlsVersion(w.tls.Version))},
			{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(tls.CipherSuiteName(w.tls.CipherSuite))},
		},
	}.Marshal()
	if err != nil {
		panic("marshal the SSL TLV: " + err.Error()) // only for values above 64 KB
	}
	tlvs := []proxyproto.TLV{ssl}
	if w.tls.NegotiatedProtocol != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(w.tls.NegotiatedProtocol)})
	}
	if w.tls.ServerName != "" && serves != nil && serves(w.tls.ServerName) {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(w.tls.ServerName)})
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
