package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// balancer is an address from which PROXY headers are accepted.
const balancer = "10.0.0.1:5000"

// newProxyBehindBalancer returns a proxy that requires a header from the balancer, and
// allows one connection of each source.
func newProxyBehindBalancer(t *testing.T, p dialogue.Protocol) *testProxy {
	proxy := newTestProxy(t, p, (&fakeBackend{}).protocolFunc(p.Name()))
	proxy.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	proxy.setPolicy(limiter.Policy{Connect: limiter.Rate{Tokens: 1, Per: time.Hour}})
	return proxy
}

// headerV2 is a version 2 header.
func headerV2(client, local string) string {
	h := proxyproto.HeaderProxyFromAddrs(2, tcpAddr(client), tcpAddr(local))
	return formatHeader(h)
}

func formatHeader(h *proxyproto.Header) string {
	b, err := h.Format()
	if err != nil {
		panic(err)
	}
	return string(b)
}

// rawHeaderV2 is a version 2 header with any command, family and rest.
func rawHeaderV2(command, family byte, rest string) string {
	size := []byte{byte(len(rest) >> 8), byte(len(rest))}
	return string(proxyproto.SIGV2) + string([]byte{command, family}) + string(size) + rest
}

const localV2 = "\x20\x00\x00\x00"

func TestProxyHeaderIsRead(t *testing.T) {
	for _, c := range []struct{ name, header, client, local string }{
		{"v1", "PROXY TCP4 203.0.113.9 192.0.2.1 4711 143\r\n", "203.0.113.9:4711", "192.0.2.1:143"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::9 2001:db8::1 4711 143\r\n", "[2001:db8::9]:4711", "[2001:db8::1]:143"},
		{"v1, mapped", "PROXY TCP6 ::ffff:203.0.113.9 ::ffff:192.0.2.1 4711 143\r\n", "203.0.113.9:4711", "192.0.2.1:143"},
		{"v2", headerV2("203.0.113.9:4711", "192.0.2.1:143"), "203.0.113.9:4711", "192.0.2.1:143"},
		{"v2, IPv6", headerV2("[2001:db8::9]:4711", "[2001:db8::1]:143"), "[2001:db8::9]:4711", "[2001:db8::1]:143"},
		{"v2, mixed", headerV2("203.0.113.9:4711", "[2001:db8::1]:143"), "203.0.113.9:4711", "[2001:db8::1]:143"},
		{"v2, TLVs", rawHeaderV2(0x21, 0x11, "\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x00\x8f\xe0\x00\x01x"),
			"203.0.113.9:4711", "192.0.2.1:143"},
		{"v2, a long TLV", rawHeaderV2(0x21, 0x11, "\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x00\x8f\xe0\x0b\xb8"+strings.Repeat("x", 3000)),
			"203.0.113.9:4711", "192.0.2.1:143"},
	} {
		for _, end := range []string{"apart", "in one segment", "byte by byte"} {
			t.Run(c.name+" "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
					client := proxy.connect(balancer, proxy.listen(imapListener))
					switch end {
					case "apart":
						client.Write([]byte(c.header))
						client.expect("* OK …")
						client.send("a1 LOGIN u right")
					case "in one segment":
						client.send(c.header + "a1 LOGIN u right")
						client.expect("* OK …")
					default: // not a header of version 1, which must arrive at once
						if strings.HasPrefix(c.header, "PROXY") {
							return
						}
						for _, b := range []byte(c.header) {
							client.Write([]byte{b})
							synctest.Wait()
						}
						client.expect("* OK …")
						client.send("a1 LOGIN u right")
					}
					client.expect("a1 OK …")
					client.send("still there?")
					client.expect("echo still there?")
					client.Close()
					r := proxy.finalRecord()
					if r.Client.String() != c.client || r.Local.String() != c.local || r.End != EndClient {
						t.Errorf("got client %v, local %v, end %v, want %v, %v, %v", r.Client, r.Local, r.End, c.client, c.local, EndClient)
					}
					if a := proxy.settledAttempts()[0]; a.Client != r.Client {
						t.Errorf("attempt: got client %v, want %v", a.Client, r.Client)
					}
				})
			})
		}
	}
}

func TestProxyHeaderIsRequired(t *testing.T) {
	address4 := "\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x00\x8f"
	for name, begin := range map[string]string{
		"nothing":              "",
		"command":              "a1 NOOP\r\n",
		"QUIT":                 "QUIT\r\n",
		"ClientHello":          "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"v1, cut short":        "PROXY TCP4 203.0.113.9 192.0.2.1 47",
		"v1, LF alone":         "PROXY TCP4 203.0.113.9 192.0.2.1 4711 143\n",
		"v1, no addresses":     "PROXY TCP4\r\n",
		"v1, wrong family":     "PROXY TCP4 2001:db8::9 2001:db8::1 4711 143\r\n",
		"v1, port":             "PROXY TCP4 203.0.113.9 192.0.2.1 65536 143\r\n",
		"v1, bad IPv4 address": "PROXY TCP4 203.0.113.256 192.0.2.1 4711 143\r\n",
		"v1, too long":         "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n",
		"v1, lower case":       "proxy tcp4 203.0.113.9 192.0.2.1 4711 143\r\n",
		"v2, cut short":        rawHeaderV2(0x21, 0x11, address4)[:20],
		"v2, half signature":   string(proxyproto.SIGV2[:6]),
		"v2, other signature":  strings.Replace(rawHeaderV2(0x21, 0x11, address4), "QUIT", "QUIX", 1),
		"v2, version 3":        rawHeaderV2(0x31, 0x11, address4),
		"v2, unknown command":  rawHeaderV2(0x22, 0x11, address4),
		"v2, too short":        rawHeaderV2(0x21, 0x11, address4[:11]),
		"v2, unspecified":      rawHeaderV2(0x21, 0x00, ""),
		"v2, UDP":              rawHeaderV2(0x21, 0x12, address4),
		"v2, AF_UNIX":          rawHeaderV2(0x21, 0x31, strings.Repeat("\x00", 216)),
		"v2, enormous":         rawHeaderV2(0x21, 0x11, address4+strings.Repeat("\x00", 65000)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
				ln := proxy.listen(imapListener)
				client := proxy.connect(balancer, ln)
				client.Write([]byte(begin))
				_ = client.Conn.(*memConn).CloseWrite()
				client.expectClosed()
				r := proxy.finalRecord()
				if r.End != EndProxyHeader || r.Step != StepProxyHeader || r.Err == nil || r.End.String() != "proxy_header" {
					t.Errorf("got end %v in step %v (%v), want %v in %v", r.End, r.Step, r.Err, EndProxyHeader, StepProxyHeader)
				}
				if n := proxy.Limiter.Stats(time.Now()).Sources; n != 0 {
					t.Errorf("got %d sources charged, want none", n)
				}
			})
		})
	}
}

func TestProxyHeaderTimeout(t *testing.T) {
	for name, begin := range map[string]string{
		"nothing": "", "half": string(proxyproto.SIGV2), "no v1 yet": "PROX", "all but the addresses": rawHeaderV2(0x21, 0x11, strings.Repeat("x", 12))[:16],
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
				client := proxy.connect(balancer, proxy.listen(imapListener))
				start := time.Now()
				client.Write([]byte(begin))
				client.expectEOF()
				if took := time.Since(start); took != proxy.Timeouts.Handshake {
					t.Errorf("took %v, want %v", took, proxy.Timeouts.Handshake)
				}
				if r := proxy.finalRecord(); r.End != EndProxyHeader || r.Step != StepProxyHeader {
					t.Errorf("got end %v in step %v, want %v in %v", r.End, r.Step, EndProxyHeader, StepProxyHeader)
				}
			})
		})
	}
}

// A header from any other address ends the connection, on every listener.
func TestProxyHeaderIsRefused(t *testing.T) {
	for name, header := range map[string]string{
		"v1": "PROXY TCP4 198.51.100.1 192.0.2.1 4711 143\r\n",
		"v2": headerV2("198.51.100.1:4711", "192.0.2.1:143"), "LOCAL": string(proxyproto.SIGV2) + localV2,
	} {
		for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
			t.Run(name+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyBehindBalancer(t, l.Protocol)
					client := proxy.connect(clientAddr, proxy.listen(l))
					client.Write([]byte(header))
					for range 9 { // a greeting, an alert or answers to bad commands
						if _, err := client.readLine(); err != nil {
							break
						}
					}
					if _, err := client.readLine(); err == nil {
						t.Error("the connection was not closed")
					}
					r := proxy.finalRecord()
					if want := map[TLSMode]End{Upgrade: EndProtocol, Implicit: EndTLS}[l.TLS]; r.End != want {
						t.Errorf("got end %v, want %v", r.End, want)
					}
					if r.Client.String() != clientAddr {
						t.Errorf("got client %v, want %v", r.Client, clientAddr)
					}
				})
			})
		}
	}
}
