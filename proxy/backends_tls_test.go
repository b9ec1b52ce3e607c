package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/standin"
)

// namedAddr is a backend that is configured by name.
const namedAddr = "mail.internal:143"

// newProxyWithTLSBackend returns a proxy with one backend. It begins TLS as mode says;
// serve is the backend's configuration and trust the proxy's.
func newProxyWithTLSBackend(t *testing.T, l Listener, mode BackendTLS, serve *tls.Config, trust *tls.Config) *testProxy {
	fake := &fakeBackend{}
	play := func(b *peer) {
		b.readHeader()
		if mode == BackendStartTLS {
			acceptStartTLS(b, l.Protocol.Name())
		}
		if b.serveTLS(serve) != nil {
			return
		}
		if mode == BackendImplicit {
			b.send(map[string]string{"imap": imapHello, "pop3": pop3Hello}[l.Protocol.Name()])
		}
		fake.serveLogin(b, l.Protocol.Name())
	}
	c := BackendConfig{Addrs: []string{namedAddr}, TLS: mode, TLSConfig: trust}
	return newTestProxyWith(t, l.Protocol, c, map[string]func(*peer){namedAddr: play})
}

// acceptStartTLS reads and accepts STARTTLS or STLS.
func acceptStartTLS(b *peer, protocol string) {
	if protocol == "imap" {
		b.send("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready")
		b.expect("1 STARTTLS")
		b.send("1 OK Begin TLS negotiation now.")
		return
	}
	b.send(pop3Hello)
	b.expect("STLS")
	b.send("+OK Begin TLS negotiation now.")
}

func newCertificate(t *testing.T, names ...string) *standin.Certificate {
	t.Helper()
	c, err := standin.NewCertificate(names...) // valid from the time in the bubble
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// backendTLSModes are the modes in which a backend begins TLS.
var backendTLSModes = []BackendTLS{BackendStartTLS, BackendImplicit}

func TestBackendTLS(t *testing.T) {
	for _, mode := range backendTLSModes {
		for _, l := range []Listener{imapListener, pop3Listener} {
			t.Run(mode.String()+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cert := newCertificate(t, "mail.internal")
					proxy := newProxyWithTLSBackend(t, l, mode, cert.Server(), cert.Client())
					proxy.watchBackends()
					if s := proxy.backendStats(namedAddr); !s.Up {
						t.Fatalf("got stats %+v", s)
					}
					client := proxy.connectGreeted(l)
					sendLogin(client, l, "right")
					client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
					long := strings.Repeat("x", 100_000)
					client.send(long)
					client.expect("echo " + long)
					client.closeWrite()
					client.expectEOF()
				})
			})
		}
	}
}

// A backend with the wrong certificate gets no password.
func TestBackendIsVerified(t *testing.T) {
	for _, mode := range backendTLSModes {
		for name, c := range map[string]struct {
			names string // in the backend's certificate
			trust func(mine, other *standin.Certificate) *tls.Config
			is    func(error) bool
		}{
			"by another authority": {"mail.internal", func(_, other *standin.Certificate) *tls.Config { return other.Client() }, isError[x509.UnknownAuthorityError]},
			"with another name": {"web.internal", func(mine, _ *standin.Certificate) *tls.Config {
				c := mine.Client()
				c.ServerName = "mail.internal"
				return c
			}, isError[x509.HostnameError]},
		} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					mine, other := newCertificate(t, c.names), newCertificate(t, "mail.internal")
					proxy := newProxyWithTLSBackend(t, imapListener, mode, mine.Server(), c.trust(mine, other))
					client := proxy.connectGreeted(imapListener)
					client.send("a1 LOGIN u right")
					client.expect("a1 " + imapBusy)
					if err := proxy.settledAttempts()[0].Err; !c.is(err) {
						t.Errorf("got error %v", err)
					}
					proxy.watchBackends()
					<-time.After(5 * time.Second)
					if s := proxy.backendStats(namedAddr); s.Up || s.ProbeError == nil {
						t.Errorf("got stats %+v", s)
					}
				})
			})
		}
	}
}

func isError[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// Without a name for all backends, each must show a certificate for the host it is
// configured by.
func TestBackendIsVerifiedByItsHost(t *testing.T) {
	for _, mode := range backendTLSModes {
		for name, ok := range map[string]bool{"mail.internal": true, "web.internal": false} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cert := newCertificate(t, name)
					trust := cert.Client()
					trust.ServerName = ""
					proxy := newProxyWithTLSBackend(t, imapListener, mode, cert.Server(), trust)
					proxy.watchBackends()
					<-time.After(5 * time.Second)
					if s := proxy.backendStats(namedAddr); s.Up != ok {
						t.Errorf("got up %t (%v), want %t", s.Up, s.ProbeError, ok)
					}
				})
			})
		}
	}
}

func TestWithServerName(t *testing.T) {
	given := &tls.Config{ServerName: "given.internal"}
	for _, c := range []struct {
		config     *tls.Config
		addr, want string
	}{
		{given, namedAddr, "given.internal"},
		{&tls.Config{}, namedAddr, "mail.internal"},
		{&tls.Config{}, "[2001:db8::1]:143", "2001:db8::1"},
		{&tls.Config{}, "no port", ""}, // the dial fails with the same error
	} {
		if got := withServerName(c.config, c.addr); got.ServerName != c.want {
			t.Errorf("%s: got name %q, want %q", c.addr, got.ServerName, c.want)
		}
	}
	shared := &tls.Config{}
	if withServerName(shared, namedAddr); shared.ServerName != "" {
		t.Error("the shared config was changed")
	}
	if withServerName(nil, namedAddr) != nil || withServerName(given, namedAddr) != given {
		t.Error("a config that has a name, or is nil, was copied")
	}
}

// Clear text after the backend's reply to STARTTLS could come from somebody in between,
// and ends the connection.
func TestClearTextAfterBackendStartTLS(t *testing.T) {
	for _, l := range []Listener{imapListener, pop3Listener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert := newCertificate(t, "mail.internal")
				proxy := newProxyWithTLSBackend(t, l, BackendStartTLS, cert.Server(), cert.Client())
				proxy.setBackend(namedAddr, func(b *peer) {
					b.readHeader()
					if l.Name == "imap" {
						b.send(imapHello)
						b.expect("1 STARTTLS")
						b.send("1 OK begin", "1 OK [CAPABILITY IMAP4rev1] in")
					} else {
						b.send(pop3Hello)
						b.expect("STLS")
						b.send("+OK begin", "+OK in")
					}
					if _, err := b.r.Peek(1); err == nil {
						t.Error("the proxy sent more after clear text")
					}
				})
				client := proxy.connectGreeted(l)
				sendLogin(client, l, "right")
				client.expect(map[string]string{"imap": "a1 " + imapBusy, "pop3": pop3Busy}[l.Name])
				if err := proxy.settledAttempts()[0].Err; err == nil || !strings.Contains(err.Error(), "clear text") {
					t.Errorf("got error %v, want clear text in it", err)
				}
			})
		})
	}
}

// A backend that cannot begin TLS gets no password in clear text.
func TestBackendWithoutTLSGetsNoLogin(t *testing.T) {
	for name, play := range map[string]func(*peer){
		"refuses": func(b *peer) {
			b.readHeader()
			b.send(imapHello)
			b.expect("1 STARTTLS")
			b.send("1 BAD What?")
			b.expectClosed()
		},
		"goes on": func(b *peer) {
			b.readHeader()
			b.send(imapHello)
			b.expect("1 STARTTLS")
			b.send("1 OK fine")
			<-time.After(time.Second)
			b.send("* OK in clear text")
		},
		"does not answer": func(b *peer) { b.readHeader(); b.send(imapHello); b.expect("1 STARTTLS"); b.expectClosed() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyWithTLSBackend(t, imapListener, BackendStartTLS, nil, newCertificate(t, "mail.internal").Client())
				proxy.setBackend(namedAddr, play)
				client := proxy.connectGreeted(imapListener)
				client.send("a1 LOGIN u right")
				client.expect("a1 " + imapBusy)
			})
		})
	}
}
