package proxy

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"postern/proxy/dialogue"
)

// announcedClient is what a header says about the client.
type announcedClient struct {
	client, local   string
	tls             bool
	version, cipher string
	alpn, authority string
}

// parseHeader reads a header as a backend does.
func parseHeader(t *testing.T, h *proxyproto.Header) announcedClient {
	t.Helper()
	client, local, ok := h.TCPAddrs()
	if !ok || !h.Command.IsProxy() {
		t.Fatalf("got header %+v, want one that announces a client", h)
	}
	a := announcedClient{client: client.String(), local: local.String()}
	tlvs, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	for _, tlv := range tlvs {
		if len(tlv.Value) == 0 {
			t.Errorf("got empty TLV %#x", tlv.Type)
		}
		switch tlv.Type {
		case proxyproto.PP2_TYPE_ALPN:
			a.alpn = string(tlv.Value)
		case proxyproto.PP2_TYPE_AUTHORITY:
			a.authority = string(tlv.Value)
		case proxyproto.PP2_TYPE_SSL:
			ssl, err := tlvparse.SSL(tlv)
			if err != nil || ssl.Client != tlvparse.PP2_BITFIELD_CLIENT_SSL || ssl.Verify != 0 || len(ssl.TLV) != 2 {
				t.Errorf("got SSL TLV %+v, %v", ssl, err)
			}
			a.tls = true
			a.version, _ = ssl.SSLVersion()
			a.cipher, _ = ssl.SSLCipher()
		default:
			t.Errorf("got unexpected TLV %#x", tlv.Type)
		}
	}
	return a
}

// readHeaderBytes parses the bytes of a header.
func readHeaderBytes(t *testing.T, b []byte) *proxyproto.Header {
	t.Helper()
	client := newClient(t, func() *memConn {
		near, far := newMemPair(clientAddr, proxyAddr)
		far.Write(b)
		far.Close()
		return near
	}())
	client.readHeader()
	client.expectEOF()
	return client.header
}

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// inTLS is what the proxy knows about a client in TLS.
func inTLS(change func(*clientTLS)) *clientTLS {
	c := &clientTLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_CHACHA20_POLY1305_SHA256}
	if change != nil {
		change(c)
	}
	return c
}

func TestHeaderFields(t *testing.T) {
	client, local := mustAddrPort(clientAddr), mustAddrPort(proxyAddr)
	serves := func(name string) bool { return name == "mail.example.org" }
	plain := announcedClient{client: clientAddr, local: proxyAddr}
	secure := plain
	secure.tls, secure.version, secure.cipher = true, "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"
	with := func(change func(*announcedClient)) announcedClient {
		a := secure
		change(&a)
		return a
	}
	for name, c := range map[string]struct {
		info   clientInfo
		serves func(string) bool
		want   announcedClient
	}{
		"clear text": {clientInfo{client, local, nil}, serves, plain},
		"TLS":        {clientInfo{client, local, inTLS(nil)}, serves, secure},
		"TLS 1.2": {clientInfo{client, local, inTLS(func(c *clientTLS) {
			c.Version, c.CipherSuite = tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
		})}, serves, with(func(a *announcedClient) { a.version, a.cipher = "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" })},
		"unknown TLS version": {clientInfo{client, local, inTLS(func(c *clientTLS) { c.Version = 0x0305 })}, serves,
			with(func(a *announcedClient) { a.version = "0x0305" })},
		"ALPN": {clientInfo{client, local, inTLS(func(c *clientTLS) { c.NegotiatedProtocol = "imap" })}, serves,
			with(func(a *announcedClient) { a.alpn = "imap" })},
		"name": {clientInfo{client, local, inTLS(func(c *clientTLS) { c.ServerName = "mail.example.org" })}, serves,
			with(func(a *announcedClient) { a.authority = "mail.example.org" })},
		"foreign name":        {clientInfo{client, local, inTLS(func(c *clientTLS) { c.ServerName = "evil.example.org" })}, serves, secure},
		"name, none served":   {clientInfo{client, local, inTLS(func(c *clientTLS) { c.ServerName = "mail.example.org" })}, nil, secure},
		"no name, all served": {clientInfo{client, local, inTLS(nil)}, func(string) bool { return true }, secure},
		"IPv6": {clientInfo{mustAddrPort("[2001:db8::7]:4"), mustAddrPort("[2001:db8::1]:143"), nil}, serves,
			announcedClient{client: "[2001:db8::7]:4", local: "[2001:db8::1]:143"}},
		"from IPv4 to IPv6": {clientInfo{client, mustAddrPort("[2001:db8::1]:143"), nil}, serves,
			announcedClient{client: clientAddr, local: "[2001:db8::1]:143"}},
		"from IPv6 to IPv4": {clientInfo{mustAddrPort("[2001:db8::7]:4"), local, nil}, serves,
			announcedClient{client: "[2001:db8::7]:4", local: proxyAddr}},
		"link-local": {clientInfo{mustAddrPort("[fe80::7%eth0]:4"), mustAddrPort("[fe80::1%eth0]:143"), nil}, serves,
			announcedClient{client: "[fe80::7]:4", local: "[fe80::1]:143"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := c.info.header(ProxyV2, c.serves)
			if err != nil {
				t.Fatal(err)
			}
			if got := parseHeader(t, readHeaderBytes(t, b)); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			b, err = c.info.header(ProxyV1, c.serves)
			if err != nil || !strings.HasPrefix(string(b), "PROXY TCP") || len(b) > 107 {
				t.Fatalf("v1: got header %q, %v", b, err)
			}
			if got := parseHeader(t, readHeaderBytes(t, b)); got.client != c.want.client || got.local != c.want.local || got.tls {
				t.Errorf("v1: got %+v, want %+v", got, c.want)
			}
		})
	}
}

// A header fits into what Dovecot and others read at once.
func TestHeaderIsBounded(t *testing.T) {
	longest := clientInfo{mustAddrPort("[2001:db8::7]:4"), mustAddrPort(proxyAddr), inTLS(func(c *clientTLS) {
		c.NegotiatedProtocol = "imap"
		c.ServerName = strings.Repeat(strings.Repeat("x", 63)+".", 4)[:255]
		for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			if len(suite.Name) > len(tls.CipherSuiteName(c.CipherSuite)) {
				c.CipherSuite = suite.ID
			}
		}
	})}
	b, err := longest.header(ProxyV2, func(string) bool { return true })
	if err != nil || len(b) >= 536 {
		t.Errorf("got %d bytes, %v; want less than 536", len(b), err)
	}
	if got := parseHeader(t, readHeaderBytes(t, b)); len(got.authority) != 255 || got.alpn != "imap" {
		t.Errorf("got %+v", got)
	}
}

// A backend is told how the client has begun TLS.
func TestHeaderAnnouncesTLS(t *testing.T) {
	withALPN := func(l Listener) Listener {
		l.Config = l.Config.Clone()
		l.Config.NextProtos = []string{"imap"}
		return l
	}
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", MaxVersion: tls.VersionTLS12}
	clientALPN := client.Clone()
	clientALPN.NextProtos, clientALPN.MaxVersion = []string{"imap"}, tls.VersionTLS13
	for name, c := range map[string]struct {
		listener Listener
		version  ProxyVersion
		starttls bool
		client   *tls.Config
		serves   bool
		want     announcedClient
	}{
		"clear":            {listener: imapListener},
		"starttls":         {listener: imapListener, starttls: true, client: client, want: announcedClient{tls: true, version: "TLSv1.2"}},
		"starttls, served": {listener: imapListener, starttls: true, client: client, serves: true, want: announcedClient{tls: true, version: "TLSv1.2", authority: "mail.example.org"}},
		"implicit":         {listener: withALPN(imapsListener), client: client, want: announcedClient{tls: true, version: "TLSv1.2"}},
		"implicit, ALPN":   {listener: withALPN(imapsListener), client: clientALPN, want: announcedClient{tls: true, version: "TLSv1.3", alpn: "imap"}},
		"implicit, v1":     {listener: imapsListener, version: ProxyV1, client: client},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.want.client, c.want.local = clientAddr, proxyAddr
				headers := make(chan *proxyproto.Header, 1)
				play := func(b *peer) {
					b.readHeader()
					headers <- b.header
				}
				config := BackendConfig{Addrs: []string{backendAddr}, Proxy: c.version, Serves: func(string) bool { return c.serves }}
				proxy := newTestProxyWith(t, dialogue.IMAP{}, config, map[string]func(*peer){backendAddr: play})
				client := proxy.connect(clientAddr, proxy.listen(c.listener))
				if c.listener.TLS == Implicit {
					client.startTLS(c.client)
				}
				client.expect("* OK …")
				if c.starttls {
					client.send("a0 STARTTLS")
					client.expect("a0 OK …")
					client.startTLS(c.client)
				}
				client.send("a1 LOGIN u p")
				client.expect("a1 NO [UNAVAILABLE] …")
				got := parseHeader(t, <-headers)
				if got.cipher != "" != got.tls {
					t.Errorf("got cipher %q with TLS %t", got.cipher, got.tls)
				}
				if got.cipher = ""; got != c.want {
					t.Errorf("got  %+v\nwant %+v", got, c.want)
				}
			})
		})
	}
}

// Dovecot closes a connection whose header arrives in parts, and must get nothing else
// before its greeting.
func TestHeaderIsOneWrite(t *testing.T) {
	for _, l := range []Listener{imapsListener, pop3sListener} {
		synctest.Test(t, func(t *testing.T) {
			arrived, looked := make(chan *memConn, 1), make(chan bool)
			proxy := newTestProxy(t, l.Protocol, func(b *peer) {
				arrived <- b.Conn.(*memConn)
				<-looked
			})
			client := proxy.connectGreeted(l)
			client.send(map[string]string{"imap": "a1 LOGIN u p", "pop3": "USER u\r\nPASS p"}[l.Protocol.Name()])
			far := <-arrived
			synctest.Wait()
			defer close(looked)
			size := far.unread()
			b := make([]byte, size)
			far.Read(b)
			if n := int(b[14])<<8 + int(b[15]); n+16 != size {
				t.Errorf("%s: got a header of %d bytes in %d bytes, want nothing else", l.Name, n+16, size)
			}
			if n := far.peerWrites(); n != 1 {
				t.Errorf("%s: got %d writes, want 1", l.Name, n)
			}
		})
	}
}

func TestProxyHeaderOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := BackendConfig{Addrs: []string{backendAddr}, Proxy: ProxyOff}
		proxy := newTestProxyWith(t, dialogue.IMAP{}, config, map[string]func(*peer){backendAddr: func(b *peer) {
			b.send(imapHello)
			b.expect("1 AUTHENTICATE PLAIN " + plain("u", "p"))
			b.send("1 OK in")
		}})
		client := proxy.connectGreeted(imapsListener)
		client.send("a1 LOGIN u p")
		client.expect("a1 OK in")
	})
}
