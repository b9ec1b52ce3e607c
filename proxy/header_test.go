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

// announced is what a backend makes of a header.
type announced struct {
	client, local   string
	tls             bool
	version, cipher string
	alpn, authority string
}

// parse reads a header as a backend does.
func parse(t *testing.T, h *proxyproto.Header) announced {
	t.Helper()
	client, local, ok := h.TCPAddrs()
	if !ok || !h.Command.IsProxy() {
		t.Fatalf("header %+v announces nobody", h)
	}
	a := announced{client: client.String(), local: local.String()}
	tlvs, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	for _, tlv := range tlvs {
		if len(tlv.Value) == 0 {
			t.Errorf("TLV %#x is empty", tlv.Type)
		}
		switch tlv.Type {
		case proxyproto.PP2_TYPE_ALPN:
			a.alpn = string(tlv.Value)
		case proxyproto.PP2_TYPE_AUTHORITY:
			a.authority = string(tlv.Value)
		case proxyproto.PP2_TYPE_SSL:
			ssl, err := tlvparse.SSL(tlv)
			if err != nil || ssl.Client != tlvparse.PP2_BITFIELD_CLIENT_SSL || ssl.Verify != 0 || len(ssl.TLV) != 2 {
				t.Errorf("SSL TLV %+v, %v", ssl, err)
			}
			a.tls = true
			a.version, _ = ssl.SSLVersion()
			a.cipher, _ = ssl.SSLCipher()
		default:
			t.Errorf("TLV %#x", tlv.Type)
		}
	}
	return a
}

// read takes apart the octets of a header.
func read(t *testing.T, b []byte) *proxyproto.Header {
	t.Helper()
	p := newClient(t, func() *memConn {
		near, far := newMemPair(clientAddr, gateAddr)
		far.Write(b)
		far.Close()
		return near
	}())
	p.readHeader()
	p.seeEnd()
	return p.header
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// inTLS is what the gate knows of a client in TLS.
func inTLS(change func(*clientTLS)) *clientTLS {
	c := &clientTLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_CHACHA20_POLY1305_SHA256}
	if change != nil {
		change(c)
	}
	return c
}

func TestHeader(t *testing.T) {
	client, local := ap(clientAddr), ap(gateAddr)
	serves := func(name string) bool { return name == "mail.example.org" }
	plain := announced{client: clientAddr, local: gateAddr}
	secure := plain
	secure.tls, secure.version, secure.cipher = true, "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"
	with := func(change func(*announced)) announced {
		a := secure
		change(&a)
		return a
	}
	for name, c := range map[string]struct {
		caller clientInfo
		serves func(string) bool
		want   announced
	}{
		"clear text": {clientInfo{client, local, nil}, serves, plain},
		"TLS":        {clientInfo{client, local, inTLS(nil)}, serves, secure},
		"TLS 1.2": {clientInfo{client, local, inTLS(func(c *clientTLS) {
			c.Version, c.CipherSuite = tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
		})}, serves, with(func(a *announced) { a.version, a.cipher = "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" })},
		"TLS of the future": {clientInfo{client, local, inTLS(func(c *clientTLS) { c.Version = 0x0305 })}, serves,
			with(func(a *announced) { a.version = "0x0305" })},
		"ALPN": {clientInfo{client, local, inTLS(func(c *clientTLS) { c.NegotiatedProtocol = "imap" })}, serves,
			with(func(a *announced) { a.alpn = "imap" })},
		"name": {clientInfo{client, local, inTLS(func(c *clientTLS) { c.ServerName = "mail.example.org" })}, serves,
			with(func(a *announced) { a.authority = "mail.example.org" })},
		"foreign name":        {clientInfo{client, local, inTLS(func(c *clientTLS) { c.ServerName = "evil.example.org" })}, serves, secure},
		"name, none served":   {clientInfo{client, local, inTLS(func(c *clientTLS) { c.ServerName = "mail.example.org" })}, nil, secure},
		"no name, all served": {clientInfo{client, local, inTLS(nil)}, func(string) bool { return true }, secure},
		"IPv6": {clientInfo{ap("[2001:db8::7]:4"), ap("[2001:db8::1]:143"), nil}, serves,
			announced{client: "[2001:db8::7]:4", local: "[2001:db8::1]:143"}},
		"from IPv4 to IPv6": {clientInfo{client, ap("[2001:db8::1]:143"), nil}, serves,
			announced{client: clientAddr, local: "[2001:db8::1]:143"}},
		"from IPv6 to IPv4": {clientInfo{ap("[2001:db8::7]:4"), local, nil}, serves,
			announced{client: "[2001:db8::7]:4", local: gateAddr}},
		"link-local": {clientInfo{ap("[fe80::7%eth0]:4"), ap("[fe80::1%eth0]:143"), nil}, serves,
			announced{client: "[fe80::7]:4", local: "[fe80::1]:143"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := c.caller.header(ProxyV2, c.serves)
			if err != nil {
				t.Fatal(err)
			}
			if got := parse(t, read(t, b)); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			b, err = c.caller.header(ProxyV1, c.serves)
			if err != nil || !strings.HasPrefix(string(b), "PROXY TCP") || len(b) > 107 {
				t.Fatalf("v1: %q, %v", b, err)
			}
			if got := parse(t, read(t, b)); got.client != c.want.client || got.local != c.want.local || got.tls {
				t.Errorf("v1: got %+v, want %+v", got, c.want)
			}
		})
	}
}

// Dovecot and others read the header at one go, and not without bound.
func TestHeaderIsNeverLong(t *testing.T) {
	longest := clientInfo{ap("[2001:db8::7]:4"), ap(gateAddr), inTLS(func(c *clientTLS) {
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
		t.Errorf("%d octets, %v", len(b), err)
	}
	if got := parse(t, read(t, b)); len(got.authority) != 255 || got.alpn != "imap" {
		t.Errorf("got %+v", got)
	}
}

// TestHeaderOut has clients come in every way TLS can begin, and looks at what
// the backend is told.
func TestHeaderOut(t *testing.T) {
	withALPN := func(d Listener) Listener {
		d.Config = d.Config.Clone()
		d.Config.NextProtos = []string{"imap"}
		return d
	}
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", MaxVersion: tls.VersionTLS12}
	clientALPN := client.Clone()
	clientALPN.NextProtos, clientALPN.MaxVersion = []string{"imap"}, tls.VersionTLS13
	for name, c := range map[string]struct {
		door     Listener
		version  ProxyVersion
		starttls bool
		client   *tls.Config
		serves   bool
		want     announced
	}{
		"clear":            {door: imapDoor},
		"starttls":         {door: imapDoor, starttls: true, client: client, want: announced{tls: true, version: "TLSv1.2"}},
		"starttls, served": {door: imapDoor, starttls: true, client: client, serves: true, want: announced{tls: true, version: "TLSv1.2", authority: "mail.example.org"}},
		"implicit":         {door: withALPN(imapsDoor), client: client, want: announced{tls: true, version: "TLSv1.2"}},
		"implicit, ALPN":   {door: withALPN(imapsDoor), client: clientALPN, want: announced{tls: true, version: "TLSv1.3", alpn: "imap"}},
		"implicit, v1":     {door: imapsDoor, version: ProxyV1, client: client},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.want.client, c.want.local = clientAddr, gateAddr
				headers := make(chan *proxyproto.Header, 1)
				play := func(b *peer) {
					b.readHeader()
					headers <- b.header
				}
				config := BackendConfig{Addrs: []string{backendAddr}, Proxy: c.version, Serves: func(string) bool { return c.serves }}
				g := newGateOf(t, dialogue.IMAP{}, config, map[string]func(*peer){backendAddr: play})
				p := g.from(clientAddr, g.open(c.door))
				if c.door.TLS == Implicit {
					p.startTLS(c.client)
				}
				p.hear("* OK …")
				if c.starttls {
					p.say("a0 STARTTLS")
					p.hear("a0 OK …")
					p.startTLS(c.client)
				}
				p.say("a1 LOGIN u p")
				p.hear("a1 NO [UNAVAILABLE] …")
				got := parse(t, <-headers)
				if got.cipher != "" != got.tls {
					t.Errorf("cipher %q, TLS %t", got.cipher, got.tls)
				}
				if got.cipher = ""; got != c.want {
					t.Errorf("got  %+v\nwant %+v", got, c.want)
				}
			})
		})
	}
}

// Dovecot drops a connection whose header comes in parts, and must hear nothing
// else before it has greeted.
func TestHeaderIsOneWrite(t *testing.T) {
	for _, d := range []Listener{imapsDoor, pop3sDoor} {
		synctest.Test(t, func(t *testing.T) {
			arrived, looked := make(chan *memConn, 1), make(chan bool)
			g := newGate(t, d.Protocol, func(b *peer) {
				arrived <- b.Conn.(*memConn)
				<-looked
			})
			c := g.enter(d)
			c.say(map[string]string{"imap": "a1 LOGIN u p", "pop3": "USER u\r\nPASS p"}[d.Protocol.Name()])
			far := <-arrived
			synctest.Wait()
			defer close(looked)
			size := far.unread()
			b := make([]byte, size)
			far.Read(b)
			if n := int(b[14])<<8 + int(b[15]); n+16 != size {
				t.Errorf("%s: a header of %d octets, %d octets in all", d.Name, n+16, size)
			}
			if n := far.peerWrote(); n != 1 {
				t.Errorf("%s: %d writes", d.Name, n)
			}
		})
	}
}

func TestNoHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := BackendConfig{Addrs: []string{backendAddr}, Proxy: ProxyOff}
		g := newGateOf(t, dialogue.IMAP{}, config, map[string]func(*peer){backendAddr: func(b *peer) {
			b.say(imapHello)
			b.hear("1 AUTHENTICATE PLAIN " + plain("u", "p"))
			b.say("1 OK in")
		}})
		c := g.enter(imapsDoor)
		c.say("a1 LOGIN u p")
		c.hear("a1 OK in")
	})
}

func TestWordsOfSettings(t *testing.T) {
	versions, ways := []string{"v2", "v1", "off"}, []string{"off", "starttls", "tls"}
	for i, word := range versions {
		var v ProxyVersion
		err := v.UnmarshalText([]byte(word))
		text, _ := v.MarshalText()
		if err != nil || v != ProxyVersion(i) || string(text) != word || v.String() != word {
			t.Errorf("%s: %v, %s, %v", word, v, text, err)
		}
	}
	for i, word := range ways {
		var m BackendTLS
		err := m.UnmarshalText([]byte(word))
		text, _ := m.MarshalText()
		if err != nil || m != BackendTLS(i) || string(text) != word || m.String() != word {
			t.Errorf("%s: %v, %s, %v", word, m, text, err)
		}
	}
	for _, word := range []string{"", "V2", "v3", "v2 ", "on", "TLS", "implicit"} {
		var v ProxyVersion
		var m BackendTLS
		for _, err := range []error{v.UnmarshalText([]byte(word)), m.UnmarshalText([]byte(word))} {
			if err == nil || !strings.Contains(err.Error(), "off") {
				t.Errorf("%q gave %v", word, err)
			}
		}
	}
}
