package daemon

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// These tests connect to a complete gateway, to see that each setting reaches the
// part that it is for. What that part does with it is tested there.

// TestSourceLimit guesses until the source is refused, and makes it exempt by a
// reload then.
func TestSourceLimit(t *testing.T) {
	file := testbed.WriteFile(t, "POSTERN_LIMIT_SOURCE=2/1h\n")
	g := start(t, prefix+"ENV_FILE="+file, prefix+"TARPIT_MAX=1ms")
	c := g.dial(t, "imaps")
	c.Say("a LOGIN demo guess1", "a NO [AUTHENTICATIONFAILED]")
	c.Say("b LOGIN demo guess2", "b NO [AUTHENTICATIONFAILED]")
	c.Say("c LOGIN demo gatekeeper", "c NO [UNAVAILABLE]")
	g.log.Await(t, "event=login", "action=reject", "rule=source", "result=refused", "account=demo")
	g.log.Await(t, "event=connection", "action=reject", "rule=source", "result=refused", "attempts=3")

	p := g.dial(t, "pop3s")
	if answer := p.Say("USER demo", ""); strings.HasPrefix(answer, "+OK") {
		answer = p.Say("PASS gatekeeper", "")
		if !strings.HasPrefix(answer, "-ERR [SYS/TEMP]") {
			t.Errorf("POP3: got %q", answer)
		}
	}

	if err := os.WriteFile(file, []byte("POSTERN_LIMIT_SOURCE=2/1h\nPOSTERN_EXEMPT=127.0.0.0/8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = g.reload(g.read)
	g.dial(t, "imaps").Login()
}

// TestTries ends a connection after so many denied logins.
func TestTries(t *testing.T) {
	g := start(t, prefix+"TRIES=1")
	c := g.dial(t, "imaps")
	c.Say("a LOGIN demo guess", "a NO [AUTHENTICATIONFAILED]")
	g.log.Await(t, "event=connection", "result=tries")
}

// TestCleartextLogin accepts passwords in clear text only where that is allowed.
func TestCleartextLogin(t *testing.T) {
	for allowed, want := range map[string]string{"false": "a NO [PRIVACYREQUIRED]", "true": "a OK"} {
		g := start(t, prefix+"CLEARTEXT_LOGIN="+allowed)
		c := g.connect(t, "imap")
		c.Until("* OK")
		c.Say("a LOGIN demo gatekeeper", want)
	}
}

// TestProxyFrom takes 127.0.0.1 for a load balancer.
func TestProxyFrom(t *testing.T) {
	g := start(t, prefix+"PROXY_FROM=127.0.0.1", prefix+"CLEARTEXT_LOGIN=true")
	c := g.connect(t, "imap")
	c.PrintfLine("PROXY TCP4 198.51.100.23 203.0.113.1 50001 143")
	c.Until("* OK")
	c.Login()
	g.log.Await(t, "event=login", "rip=198.51.100.23", "rport=50001", "result=accepted")

	bare := g.connect(t, "imap")
	bare.PrintfLine("a LOGIN demo gatekeeper")
	if line, err := bare.ReadLine(); err == nil {
		t.Errorf("served without a header: %q", line)
	}
	g.log.Await(t, "event=connection", "rip=127.0.0.1", "result=proxy_header")
	if got := testbed.Total(g.scrape(t)["postern_proxy_header_errors_total"], "listener", "imap"); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// TestHealthChecksAreNotLogged: a load balancer connects every second.
func TestHealthChecksAreNotLogged(t *testing.T) {
	g := start(t, prefix+"PROXY_FROM=127.0.0.0/8")
	probe := g.connect(t, "imap")
	probe.W.WriteString("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00") // PROXY v2, LOCAL, no addresses
	probe.W.Flush()
	probe.Until("* OK")
	probe.Close()
	after := g.connect(t, "imap")
	after.PrintfLine("PROXY TCP4 198.51.100.24 203.0.113.1 50002 143")
	after.Until("* OK")
	after.Say("a LOGOUT", "a OK")
	g.log.Await(t, "event=connection", "rip=198.51.100.24")
	if strings.Contains(g.log.String(), "result=probe") {
		t.Error("the probe was logged")
	}
}

// TestMaxConnections evicts one connection when there is one too many.
func TestMaxConnections(t *testing.T) {
	g := start(t, prefix+"MAX_CONNECTIONS=2")
	for range 3 {
		g.dial(t, "imaps")
	}
	g.log.Await(t, "event=connection", "result=evicted")
}

// TestIPv6Listener serves a client that connects by IPv6, and logs its address.
func TestIPv6Listener(t *testing.T) {
	g := start(t, prefix+"IMAPS_LISTEN=[::1]:0")
	g.dial(t, "imaps").Login()
	g.log.Await(t, "event=login", "rip=::1", "result=accepted")
}

// TestBackendTLS connects to a mail server inside TLS. Its certificate must have
// the name that is set, or that of the backend's host when none is.
func TestBackendTLS(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := testbed.WriteCertificate(t, cert)
	for name, tt := range map[string]struct{ host, setting, want string }{
		"right host":          {"localhost", "", "a OK"},
		"right name":          {"127.0.0.1", "localhost", "a OK"},
		"wrong host":          {"127.0.0.1", "", "a NO [UNAVAILABLE]"},
		"right host but name": {"localhost", "mail.example", "a NO [UNAVAILABLE]"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, prefix+"BACKEND_PROXY=off", prefix+"BACKEND_TLS=tls", prefix+"BACKEND_TLS_CA="+ca,
				prefix+"BACKEND_TLS_NAME="+tt.setting, prefix+"IMAP_BACKENDS="+tlsBackend(t, cert, tt.host))
			g.dial(t, "imaps").Say("a LOGIN demo gatekeeper", tt.want)
		})
	}
}

// tlsBackend starts an IMAP server inside TLS and returns its address, with host
// for its IP address.
func tlsBackend(t *testing.T, cert *standin.Certificate, host string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := standin.ServeIMAP(tls.NewListener(ln, cert.Server()), []standin.Account{testbed.Account}, standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return fmt.Sprintf("%s:%d", host, ln.Addr().(*net.TCPAddr).Port)
}
