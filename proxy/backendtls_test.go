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

// The host of a backend with a name.
const namedAddr = "mail.internal:143"

// secureBackend is a gate with one backend, which begins TLS in the way of mode
// with the certificate of the other.
func secureBackend(t *testing.T, d Listener, mode BackendTLS, serve *tls.Config, trust *tls.Config) *gate {
	j := &judge{}
	play := func(b *peer) {
		b.readHeader()
		if mode == BackendStartTLS {
			beginHere(b, d.Protocol.Name())
		}
		if b.serveTLS(serve) != nil {
			return
		}
		if mode == BackendImplicit {
			b.say(map[string]string{"imap": imapHello, "pop3": pop3Hello}[d.Protocol.Name()])
		}
		j.converse(b, d.Protocol.Name())
	}
	c := BackendConfig{Addrs: []string{namedAddr}, TLS: mode, TLSConfig: trust}
	return newGateOf(t, d.Protocol, c, map[string]func(*peer){namedAddr: play})
}

// beginHere hears the wish for TLS.
func beginHere(b *peer, protocol string) {
	if protocol == "imap" {
		b.say("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready")
		b.hear("1 STARTTLS")
		b.say("1 OK Begin TLS negotiation now.")
		return
	}
	b.say(pop3Hello)
	b.hear("STLS")
	b.say("+OK Begin TLS negotiation now.")
}

func newBubbleCertificate(t *testing.T, names ...string) *standin.Certificate {
	t.Helper()
	c, err := standin.NewCertificate(names...) // valid now, which in a bubble is long ago
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// modes are the ways of TLS towards a backend.
var modes = []BackendTLS{BackendStartTLS, BackendImplicit}

func TestBackendTLS(t *testing.T) {
	for _, mode := range modes {
		for _, d := range []Listener{imapDoor, pop3Door} {
			t.Run(mode.String()+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cert := newBubbleCertificate(t, "mail.internal")
					g := secureBackend(t, d, mode, cert.Server(), cert.Client())
					g.watch()
					if s := g.stats(namedAddr); !s.Up {
						t.Fatalf("stats %+v", s)
					}
					p := g.enter(d)
					tryLogin(p, d, "right")
					p.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
					long := strings.Repeat("x", 100_000)
					p.say(long)
					p.hear("echo " + long)
					p.halfClose()
					p.seeEnd()
				})
			})
		}
	}
}

// A backend that is somebody else gets neither a header's worth of trust nor a
// password.
func TestBackendIsVerified(t *testing.T) {
	for _, mode := range modes {
		for name, c := range map[string]struct {
			names string // of the backend's certificate
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
					mine, other := newBubbleCertificate(t, c.names), newBubbleCertificate(t, "mail.internal")
					g := secureBackend(t, imapDoor, mode, mine.Server(), c.trust(mine, other))
					p := g.enter(imapDoor)
					p.say("a1 LOGIN u right")
					p.hear("a1 " + imapBusy)
					if err := g.settled()[0].Err; !c.is(err) {
						t.Errorf("attempt: %v", err)
					}
					g.watch()
					<-time.After(5 * time.Second)
					if s := g.stats(namedAddr); s.Up || s.ProbeError == "" {
						t.Errorf("stats %+v", s)
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

// Without a name for all backends, each must show the certificate of the host it
// is configured by.
func TestBackendIsVerifiedByItsHost(t *testing.T) {
	for _, mode := range modes {
		for name, ok := range map[string]bool{"mail.internal": true, "web.internal": false} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cert := newBubbleCertificate(t, name)
					trust := cert.Client()
					trust.ServerName = ""
					g := secureBackend(t, imapDoor, mode, cert.Server(), trust)
					g.watch()
					<-time.After(5 * time.Second)
					if s := g.stats(namedAddr); s.Up != ok {
						t.Errorf("up: %t, %s", s.Up, s.ProbeError)
					}
				})
			})
		}
	}
}

func TestNamed(t *testing.T) {
	given := &tls.Config{ServerName: "given.internal"}
	for _, c := range []struct {
		config     *tls.Config
		addr, want string
	}{
		{given, namedAddr, "given.internal"},
		{&tls.Config{}, namedAddr, "mail.internal"},
		{&tls.Config{}, "[2001:db8::1]:143", "2001:db8::1"},
		{&tls.Config{}, "no port", ""}, // and no connection either
	} {
		if got := withServerName(c.config, c.addr); got.ServerName != c.want {
			t.Errorf("%s is named %q, want %q", c.addr, got.ServerName, c.want)
		}
	}
	shared := &tls.Config{}
	if withServerName(shared, namedAddr); shared.ServerName != "" {
		t.Error("the config of all backends was changed for one")
	}
	if withServerName(nil, namedAddr) != nil || withServerName(given, namedAddr) != given {
		t.Error("what has a name already, or none to have, was copied")
	}
}

// What a backend says in clear text behind its leave to begin TLS was put there
// by somebody else.
func TestClearTextBehindTheBackendsLeave(t *testing.T) {
	for _, d := range []Listener{imapDoor, pop3Door} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert := newBubbleCertificate(t, "mail.internal")
				g := secureBackend(t, d, BackendStartTLS, cert.Server(), cert.Client())
				g.play(namedAddr, func(b *peer) {
					b.readHeader()
					if d.Name == "imap" {
						b.say(imapHello)
						b.hear("1 STARTTLS")
						b.say("1 OK begin", "1 OK [CAPABILITY IMAP4rev1] in")
					} else {
						b.say(pop3Hello)
						b.hear("STLS")
						b.say("+OK begin", "+OK in")
					}
					if _, err := b.r.Peek(1); err == nil {
						t.Error("the gate goes on")
					}
				})
				p := g.enter(d)
				tryLogin(p, d, "right")
				p.hear(map[string]string{"imap": "a1 " + imapBusy, "pop3": pop3Busy}[d.Name])
				if err := g.settled()[0].Err; err == nil || !strings.Contains(err.Error(), "clear text") {
					t.Errorf("attempt: %v", err)
				}
			})
		})
	}
}

// A backend that says it cannot do TLS is not talked to without.
func TestBackendWithoutTLS(t *testing.T) {
	for name, play := range map[string]func(*peer){
		"refuses": func(b *peer) {
			b.readHeader()
			b.say(imapHello)
			b.hear("1 STARTTLS")
			b.say("1 BAD What?")
			b.seeBreak()
		},
		"goes on": func(b *peer) {
			b.readHeader()
			b.say(imapHello)
			b.hear("1 STARTTLS")
			b.say("1 OK fine")
			<-time.After(time.Second)
			b.say("* OK in clear text")
		},
		"is silent": func(b *peer) { b.readHeader(); b.say(imapHello); b.hear("1 STARTTLS"); b.seeBreak() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := secureBackend(t, imapDoor, BackendStartTLS, nil, newBubbleCertificate(t, "mail.internal").Client())
				g.play(namedAddr, play)
				p := g.enter(imapDoor)
				p.say("a1 LOGIN u right")
				p.hear("a1 " + imapBusy)
			})
		})
	}
}
