package proxy

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/proxy/dialogue"
)

func TestMappedAddressIsChargedAsIPv4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
		ln := proxy.listen(imapListener)
		for i, header := range []string{
			"PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 4711 143\r\n", headerV2("203.0.113.9:4712", "192.0.2.1:143"),
		} {
			client := proxy.connect(balancer, ln)
			client.Write([]byte(header))
			client.expect([]string{"* OK …", "* BYE [UNAVAILABLE] …"}[i])
		}
		client := proxy.connect("203.0.113.9:99", ln)
		client.expect("* BYE …")
		client = proxy.connect("[::ffff:203.0.113.9]:99", ln)
		client.expect("* BYE …")
		client = proxy.connect("203.0.113.10:99", ln)
		client.expect("* OK …")
	})
}

func TestIPv6BlockIsOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
		ln := proxy.listen(imapListener)
		proxy.connect("[2001:db8:0:1::1]:1", ln).expect("* OK …")
		proxy.connect("[2001:db8:0:1::2]:1", ln).expect("* BYE …")
		proxy.connect("[2001:db8:0:2::1]:1", ln).expect("* OK …")
	})
}

func TestLocalHeaderIsHealthCheck(t *testing.T) {
	for name, probe := range map[string]func(*peer){
		"closes": func(client *peer) { client.Close() },
		"reads":  func(client *peer) { client.expect("* OK …"); client.Close() },
		"logs out": func(client *peer) {
			client.expect("* OK …")
			client.send("a1 LOGOUT")
			client.expect("* BYE …", "a1 OK …")
			client.expectEOF()
		},
	} {
		for block, rest := range map[string]string{
			"bare": localV2, "with addresses": "\x20\x11\x00\x0c" + strings.Repeat("\x01", 12),
		} {
			t.Run(name+" "+block, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
					ln := proxy.listen(imapListener)
					for range 3 {
						client := proxy.connect(balancer, ln)
						client.Write([]byte(string(proxyproto.SIGV2) + rest))
						probe(client)
					}
					for _, r := range proxy.finalRecords() {
						if r.End != EndProbe || r.Client.String() != balancer || r.Local.String() != proxyAddr {
							t.Errorf("got end %v, client %v, local %v, want %v, %v, %v", r.End, r.Client, r.Local, EndProbe, balancer, proxyAddr)
						}
					}
					if n := proxy.Limiter.Stats(time.Now()).Sources; n != 0 {
						t.Errorf("got %d sources charged, want none", n)
					}
				})
			})
		}
	}
}

// A login on a health check's connection is charged like any other.
func TestHealthCheckLogsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
		proxy.setPolicy(sourceRule())
		ln := proxy.listen(imapListener)
		for _, password := range []string{"wrong", "right"} {
			client := proxy.connect(balancer, ln)
			client.Write([]byte(string(proxyproto.SIGV2) + localV2))
			client.expect("* OK …")
			client.send("a1 LOGIN u " + password)
			client.expect("a1 …")
			client.Close()
		}
		if n := proxy.charged(mustAddrPort(balancer).Addr()); n != 1 {
			t.Errorf("got %d tokens charged, want 1", n)
		}
		if all := proxy.finalRecords(); len(all) != 2 || all[1].Account != "u" || all[1].End != EndClient || all[1].Step != StepRelay {
			t.Errorf("got records %+v, want two, the second of a login", all)
		}
	})
}

// A health check that violates the protocol is recorded as such.
func TestHealthCheckViolatesProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
		client := proxy.connect(balancer, proxy.listen(imapListener))
		client.send(string(proxyproto.SIGV2) + localV2 + "GET / HTTP/1.0")
		client.expect("* OK …")
		client.expectClosed()
		if r := proxy.finalRecord(); r.End != EndProtocol {
			t.Errorf("got end %v, want %v", r.End, EndProtocol)
		}
	})
}

// A health check of a listener for TLS need not make a handshake.
func TestLocalHeaderIsHealthCheckInTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
		client := proxy.connect(balancer, proxy.listen(imapsListener))
		client.Write([]byte(string(proxyproto.SIGV2) + localV2))
		client.Close()
		if r := proxy.finalRecord(); r.End != EndProbe {
			t.Errorf("got end %v (%v), want %v", r.End, r.Err, EndProbe)
		}
	})
}

// prefixConn sends a prefix in one segment with what is written first.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (p *prefixConn) Write(b []byte) (int, error) {
	_, err := p.Conn.Write(append(p.prefix, b...))
	p.prefix = nil
	return len(b), err
}

func TestHeaderAndHelloInOneSegment(t *testing.T) {
	for name, header := range map[string]string{
		"v1": "PROXY TCP4 203.0.113.9 192.0.2.1 4711 143\r\n", "v2": headerV2("203.0.113.9:4711", "192.0.2.1:143"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindBalancer(t, dialogue.POP3{})
				client := proxy.connect(balancer, proxy.listen(pop3sListener))
				client.Conn = &prefixConn{client.Conn, []byte(header)}
				proxy.awaitGreeting(client, pop3sListener)
				client.send("AUTH PLAIN " + plain("u", "right"))
				client.expect("+OK Logged in.")
				client.send(strings.Repeat("x", 5000))
				client.expect("echo " + strings.Repeat("x", 5000))
				client.Close()
				if r := proxy.finalRecord(); r.Client.String() != "203.0.113.9:4711" || r.Handshake != HandshakeDone || r.TLS != "TLS 1.3" {
					t.Errorf("got client %v, handshake %v, TLS %q", r.Client, r.Handshake, r.TLS)
				}
			})
		})
	}
}

func TestStartTLSAfterHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
		client := proxy.connect(balancer, proxy.listen(imapListener))
		client.send(headerV2("203.0.113.9:4711", "192.0.2.1:143") + "a1 STARTTLS")
		client.expect("* OK …", "a1 OK …")
		client.startTLS(nil)
		client.send("a2 LOGIN u right")
		client.expect("a2 OK …")
	})
}

// Clear text after STARTTLS ends the connection even if it was read together with the
// header.
func TestClearTextAfterStartTLSAfterHeader(t *testing.T) {
	header := headerV2("203.0.113.9:4711", "192.0.2.1:143")
	for _, fill := range []int{1, 500, headerBuffer, 3000, 5000, 7000} {
		synctest.Test(t, func(t *testing.T) {
			proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
			client := proxy.connect(balancer, proxy.listen(imapListener))
			noop := "a0 NOOP " + string(bytes.Repeat([]byte{'x'}, fill)) + "\r\n"
			client.send(header + noop + "a1 STARTTLS\r\na2 LOGIN u right")
			client.expect("* OK …", "a0 BAD …")
			for err := error(nil); err == nil; {
				var line string
				if line, err = client.readLine(); strings.HasPrefix(line, "a2") {
					t.Errorf("with %d bytes before: got %q, want no answer", fill, line)
				}
			}
			if proxy.dialCount(backendAddr) != 0 {
				t.Error("the backend was dialled")
			}
		})
	}
}
