package proxy

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/mailtest"
	"postern/proxy/netpoll"
	"postern/proxy/standin"
)

// offers is what the scripts' backends have told about themselves.
var offers = map[string]dialogue.Capabilities{
	"imap": {
		"IMAP4rev1", "SASL-IR", "LOGIN-REFERRALS", "LITERAL+", "ID", "ENABLE", "STARTTLS", "AUTH=PLAIN", "AUTH=LOGIN",
		"AUTH=CRAM-MD5", "AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-256-PLUS", "AUTH=XOAUTH2", "AUTH=OAUTHBEARER",
	},
	"pop3": {
		"TOP", "UIDL", "RESP-CODES", "PIPELINING", "STLS", "USER",
		"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER",
	},
}

// TestScripts plays every scripted dialogue through a whole Server over loopback.
func TestScripts(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range readScripts(t, "dialogue/testdata/dlg/*.dlg") {
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			protocol := protocols[script.Listener.Protocol]
			backendListener := listen(t)
			upstream := mailtest.AcceptBackend(t, backendListener, standin.Options{ProxyHeader: true})
			backends := NewBackends(protocol, BackendConfig{Addrs: []string{backendListener.Addr().String()}, Logins: 1})
			offer := offers[protocol.Name()]
			backends.offered.Store(&offer)
			door := Listener{Name: script.Listener.Protocol, Protocol: protocol, Config: cert.Server()}
			if script.Listener.TLS {
				door.TLS = Implicit
			}
			s := newTestServer(t, backends)
			s.CleartextLogin = script.Listener.Cleartext
			addr := serve(t, s, door)
			client, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			script.Play(t, mailtest.Endpoints{Client: client, Backends: upstream})
		})
	}
}

var protocols = map[string]dialogue.Protocol{"imap": dialogue.IMAP{}, "pop3": dialogue.POP3{}}

// readScripts parses every script of the files that match pattern.
func readScripts(t *testing.T, pattern string) (all []mailtest.Script) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts %s: %v, %d found", pattern, err, len(files))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := mailtest.ParseScripts(filepath.Base(file), data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scripts...)
	}
	return all
}

// newTestServer returns a Server in front of backends that limits nothing.
func newTestServer(t testing.TB, backends *Backends) *Server {
	t.Helper()
	return &Server{
		Limiter:   newLimiter(t, limiter.Policy{}),
		Backends:  map[string]*Backends{backends.protocol.Name(): backends},
		Tries:     3,
		TarpitMax: 10 * time.Second,
		Timeouts:  Timeouts{Login: time.Minute, Handshake: 10 * time.Second, Idle: time.Hour},
	}
}

// newLimiter returns a limiter that holds p, with room for a test's sources.
func newLimiter(t testing.TB, p limiter.Policy) *limiter.Limiter {
	t.Helper()
	p.WaitMax, p.TableMax = 10*time.Second, 10_000
	l, err := limiter.New(p, limiter.Key{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve opens a door of s on loopback until the test ends, and returns its address.
func serve(t testing.TB, s *Server, d Listener) string {
	t.Helper()
	ln, err := netpoll.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, d) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return ln.Addr().String()
}
