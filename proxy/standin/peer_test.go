package standin_test

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"postern/proxy/standin"
)

// header is a PROXY header of the given version for a client 203.0.113.7.
func header(t *testing.T, version byte, tlvs ...proxyproto.TLV) *proxyproto.Header {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version,
		&net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 4000}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 993})
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	return h
}

// sslTLV is the SSL TLV of a client in TLS 1.3.
func sslTLV(t *testing.T) proxyproto.TLV {
	t.Helper()
	tlv, err := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1, TLV: []proxyproto.TLV{
		{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte("TLSv1.3")},
		{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte("TLS_AES_128_GCM_SHA256")},
	}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return tlv
}

func TestHooksGetPeer(t *testing.T) {
	client, server := netip.MustParseAddrPort("203.0.113.7:4000"), netip.MustParseAddrPort("192.0.2.1:993")
	v2tls := header(t, 2, sslTLV(t),
		proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("mail.example.org")},
		proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte("imap")})
	tests := map[string]struct {
		header *proxyproto.Header
		want   standin.Peer
	}{
		"v1": {header(t, 1), standin.Peer{Version: 1, Client: client, Server: server}},
		"v2": {header(t, 2), standin.Peer{Version: 2, Client: client, Server: server}},
		"v2 with TLVs": {v2tls, standin.Peer{
			Version: 2, Client: client, Server: server,
			TLS: true, TLSVersion: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", TLSVerify: 1,
			Authority: "mail.example.org", ALPN: "imap",
			TLVs: []proxyproto.PP2Type{proxyproto.PP2_TYPE_SSL, proxyproto.PP2_TYPE_AUTHORITY, proxyproto.PP2_TYPE_ALPN},
		}},
	}
	logins := map[string]string{"imap": "a LOGIN user %s\r\n", "pop3": "USER user\r\nPASS %s\r\n"}
	for protocol, login := range logins {
		for name, tt := range tests {
			t.Run(protocol+" "+name, func(t *testing.T) {
				peers, seen := make(chan standin.Peer, 1), make(chan standin.Login, 2)
				s := start(t, protocol, standin.Options{
					ProxyHeader: true,
					Connect:     func(p standin.Peer) { peers <- p },
					Login:       func(l standin.Login) { seen <- l },
				})
				c := dial(t, s.Addr())
				if _, err := tt.header.WriteTo(c); err != nil {
					t.Fatal(err)
				}
				for _, secret := range []string{"wrong", `"pa ss"`} {
					if protocol == "pop3" {
						secret = strings.Trim(secret, `"`)
					}
					if _, err := io.WriteString(c, strings.ReplaceAll(login, "%s", secret)); err != nil {
						t.Fatal(err)
					}
					got, want := <-seen, standin.Login{Protocol: protocol, Account: "user", Accepted: secret != "wrong", Peer: tt.want}
					if !reflect.DeepEqual(got, want) {
						t.Errorf("Login hook:\ngot  %+v\nwant %+v", got, want)
					}
				}
				if got := <-peers; !reflect.DeepEqual(got, tt.want) {
					t.Errorf("Connect hook:\ngot  %+v\nwant %+v", got, tt.want)
				}
			})
		}
	}
}

// After a LOCAL header, which health checks send, Peer has the addresses of the socket,
// and the server greets as usual.
func TestLocalHeader(t *testing.T) {
	for protocol := range servers {
		peers := make(chan standin.Peer, 1)
		s := start(t, protocol, standin.Options{ProxyHeader: true, Connect: func(p standin.Peer) { peers <- p }})
		c := dial(t, s.Addr())
		h := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
		if _, err := h.WriteTo(c); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "OK") {
			t.Errorf("%s: got greeting %q, %v", protocol, line, err)
		}
		if p := <-peers; !p.Local || p.Version != 2 || p.Client.String() != c.LocalAddr().String() || p.TLS {
			t.Errorf("%s: got peer %+v, want the addresses of the socket", protocol, p)
		}
	}
}

// An IPv4-mapped address in an IPv6 header is an error of the proxy, which tests must be
// able to detect.
func TestMappedAddressIsNotUnmapped(t *testing.T) {
	peers := make(chan standin.Peer, 1)
	s := start(t, "imap", standin.Options{ProxyHeader: true, Connect: func(p standin.Peer) { peers <- p }})
	h := header(t, 2)
	h.TransportProtocol = proxyproto.TCPv6
	if _, err := h.WriteTo(dial(t, s.Addr())); err != nil {
		t.Fatal(err)
	}
	if p := <-peers; p.Client.String() != "[::ffff:203.0.113.7]:4000" {
		t.Errorf("got peer %+v, want the mapped address", p)
	}
}

func TestInvalidHeaderGetsNoAnswer(t *testing.T) {
	malformed := header(t, 2, proxyproto.TLV{Type: proxyproto.PP2_TYPE_SSL, Value: []byte{1}})
	raw, err := malformed.Format()
	if err != nil {
		t.Fatal(err)
	}
	for protocol := range servers {
		for name, first := range map[string]string{
			"none": "a LOGIN user pass\r\n", "half": "\r\n\r\n\x00", "bad SSL TLV": string(raw),
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				s := start(t, protocol, standin.Options{ProxyHeader: true, Connect: func(p standin.Peer) { t.Errorf("Connect hook called with %+v", p) }})
				c := dial(t, s.Addr())
				if _, err := io.WriteString(c, first); err != nil {
					t.Fatal(err)
				}
				if err := c.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if got, _ := io.ReadAll(c); len(got) > 0 {
					t.Errorf("got %q, want no answer", got)
				}
			})
		}
	}
}
