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

// balancer is whose PROXY headers are believed.
const balancer = "10.0.0.1:5000"

// behindBalancer returns a gate that believes the balancer, and allows a source
// one connection.
func behindBalancer(t *testing.T, p dialogue.Protocol) *gate {
	g := newGate(t, p, (&judge{}).play(p.Name()))
	g.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	g.limit(limiter.Policy{Connect: limiter.Rate{Tokens: 1, Per: time.Hour}})
	return g
}

// v2 is a version 2 header.
func v2(client, local string) string {
	h := proxyproto.HeaderProxyFromAddrs(2, tcpAddr(client), tcpAddr(local))
	return format(h)
}

func format(h *proxyproto.Header) string {
	b, err := h.Format()
	if err != nil {
		panic(err)
	}
	return string(b)
}

// raw2 is a version 2 header of which the command, the family and the rest are
// taken as they are.
func raw2(command, family byte, rest string) string {
	size := []byte{byte(len(rest) >> 8), byte(len(rest))}
	return string(proxyproto.SIGV2) + string([]byte{command, family}) + string(size) + rest
}

const local2 = "\x20\x00\x00\x00"

func TestProxyHeaderIsBelieved(t *testing.T) {
	for _, c := range []struct{ name, header, client, local string }{
		{"v1", "PROXY TCP4 203.0.113.9 192.0.2.1 4711 143\r\n", "203.0.113.9:4711", "192.0.2.1:143"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::9 2001:db8::1 4711 143\r\n", "[2001:db8::9]:4711", "[2001:db8::1]:143"},
		{"v1, mapped", "PROXY TCP6 ::ffff:203.0.113.9 ::ffff:192.0.2.1 4711 143\r\n", "203.0.113.9:4711", "192.0.2.1:143"},
		{"v2", v2("203.0.113.9:4711", "192.0.2.1:143"), "203.0.113.9:4711", "192.0.2.1:143"},
		{"v2, IPv6", v2("[2001:db8::9]:4711", "[2001:db8::1]:143"), "[2001:db8::9]:4711", "[2001:db8::1]:143"},
		{"v2, mixed", v2("203.0.113.9:4711", "[2001:db8::1]:143"), "203.0.113.9:4711", "[2001:db8::1]:143"},
		{"v2, TLVs", raw2(0x21, 0x11, "\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x00\x8f\xe0\x00\x01x"),
			"203.0.113.9:4711", "192.0.2.1:143"},
		{"v2, a long TLV", raw2(0x21, 0x11, "\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x00\x8f\xe0\x0b\xb8"+strings.Repeat("x", 3000)),
			"203.0.113.9:4711", "192.0.2.1:143"},
	} {
		for _, end := range []string{"apart", "in one segment", "octet by octet"} {
			t.Run(c.name+" "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := behindBalancer(t, dialogue.IMAP{})
					p := g.from(balancer, g.open(imapDoor))
					switch end {
					case "apart":
						p.Write([]byte(c.header))
						p.hear("* OK …")
						p.say("a1 LOGIN u right")
					case "in one segment":
						p.say(c.header + "a1 LOGIN u right")
						p.hear("* OK …")
					default: // but for a header in version 1, which must come whole
						if strings.HasPrefix(c.header, "PROXY") {
							return
						}
						for _, octet := range []byte(c.header) {
							p.Write([]byte{octet})
							synctest.Wait()
						}
						p.hear("* OK …")
						p.say("a1 LOGIN u right")
					}
					p.hear("a1 OK …")
					p.say("still there?")
					p.hear("echo still there?")
					p.Close()
					r := g.record()
					if r.Client.String() != c.client || r.Local.String() != c.local || r.End != EndClient {
						t.Errorf("client %v, local %v, end %v", r.Client, r.Local, r.End)
					}
					if a := g.settled()[0]; a.Client != r.Client {
						t.Errorf("the attempt was charged to %v", a.Client)
					}
				})
			})
		}
	}
}

func TestProxyHeaderIsRequired(t *testing.T) {
	address4 := "\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x00\x8f"
	for name, begin := range map[string]string{
		"nothing":             "",
		"command":             "a1 NOOP\r\n",
		"QUIT":                "QUIT\r\n",
		"hello of TLS":        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"v1, cut short":       "PROXY TCP4 203.0.113.9 192.0.2.1 47",
		"v1, LF alone":        "PROXY TCP4 203.0.113.9 192.0.2.1 4711 143\n",
		"v1, no addresses":    "PROXY TCP4\r\n",
		"v1, wrong family":    "PROXY TCP4 2001:db8::9 2001:db8::1 4711 143\r\n",
		"v1, port":            "PROXY TCP4 203.0.113.9 192.0.2.1 65536 143\r\n",
		"v1, octets":          "PROXY TCP4 203.0.113.256 192.0.2.1 4711 143\r\n",
		"v1, too long":        "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n",
		"v1, lower case":      "proxy tcp4 203.0.113.9 192.0.2.1 4711 143\r\n",
		"v2, cut short":       raw2(0x21, 0x11, address4)[:20],
		"v2, half signature":  string(proxyproto.SIGV2[:6]),
		"v2, other signature": strings.Replace(raw2(0x21, 0x11, address4), "QUIT", "QUIX", 1),
		"v2, version 3":       raw2(0x31, 0x11, address4),
		"v2, unknown command": raw2(0x22, 0x11, address4),
		"v2, no room":         raw2(0x21, 0x11, address4[:11]),
		"v2, unspecified":     raw2(0x21, 0x00, ""),
		"v2, UDP":             raw2(0x21, 0x12, address4),
		"v2, AF_UNIX":         raw2(0x21, 0x31, strings.Repeat("\x00", 216)),
		"v2, enormous":        raw2(0x21, 0x11, address4+strings.Repeat("\x00", 65000)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := behindBalancer(t, dialogue.IMAP{})
				ln := g.open(imapDoor)
				p := g.from(balancer, ln)
				p.Write([]byte(begin))
				_ = p.Conn.(*memConn).CloseWrite()
				p.seeBreak()
				r := g.record()
				if r.End != EndProxyHeader || r.Step != StepProxyHeader || r.Err == nil || r.End.String() != "proxy_header" {
					t.Errorf("end %v in %v: %v", r.End, r.Step, r.Err)
				}
				if n := g.Limiter.Stats(time.Now()).Sources; n != 0 {
					t.Errorf("%d sources were charged", n)
				}
			})
		})
	}
}

func TestProxyHeaderIsDue(t *testing.T) {
	for name, begin := range map[string]string{
		"nothing": "", "half": string(proxyproto.SIGV2), "no v1 yet": "PROX", "all but the addresses": raw2(0x21, 0x11, strings.Repeat("x", 12))[:16],
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := behindBalancer(t, dialogue.IMAP{})
				p := g.from(balancer, g.open(imapDoor))
				begun := time.Now()
				p.Write([]byte(begin))
				p.seeEnd()
				if took := time.Since(begun); took != g.Timeouts.Handshake {
					t.Errorf("it took %v", took)
				}
				if r := g.record(); r.End != EndProxyHeader || r.Step != StepProxyHeader {
					t.Errorf("end %v in %v", r.End, r.Step)
				}
			})
		})
	}
}

// Whoever is not the balancer must not say who they are, at any door.
func TestProxyHeaderIsRefused(t *testing.T) {
	for name, header := range map[string]string{
		"v1": "PROXY TCP4 198.51.100.1 192.0.2.1 4711 143\r\n",
		"v2": v2("198.51.100.1:4711", "192.0.2.1:143"), "LOCAL": string(proxyproto.SIGV2) + local2,
	} {
		for _, d := range []Listener{imapDoor, imapsDoor, pop3Door, pop3sDoor} {
			t.Run(name+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := behindBalancer(t, d.Protocol)
					p := g.from(clientAddr, g.open(d))
					p.Write([]byte(header))
					for range 9 { // a greeting, an alert or complaints
						if _, err := p.line(); err != nil {
							break
						}
					}
					if _, err := p.line(); err == nil {
						t.Error("the connection goes on")
					}
					r := g.record()
					if want := map[TLSMode]End{Upgrade: EndProtocol, Implicit: EndTLS}[d.TLS]; r.End != want {
						t.Errorf("end %v, want %v", r.End, want)
					}
					if r.Client.String() != clientAddr {
						t.Errorf("client %v", r.Client)
					}
				})
			})
		}
	}
}
