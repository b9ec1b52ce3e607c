package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"postern/proxy/standin"
)

// Walks through a whole gate, to see that each setting reaches the room it is
// for. What the rooms do with it is tested where they are.

// TestSourceLimit guesses until the gate has had enough, and is then made
// exempt at SIGHUP.
func TestSourceLimit(t *testing.T) {
	file := writeFile(t, "POSTERN_LIMIT_SOURCE=2/1h\n")
	h := newHouse(t, "POSTERN_ENV_FILE="+file, "POSTERN_TARPIT_MAX=1ms")
	c := h.dial(t, "imaps")
	c.say("a LOGIN demo guess1", "a NO [AUTHENTICATIONFAILED]")
	c.say("b LOGIN demo guess2", "b NO [AUTHENTICATIONFAILED]")
	c.say("c LOGIN demo gatekeeper", "c NO [UNAVAILABLE]")
	h.log.await(t, "event=login", "action=reject", "rule=source", "result=refused", "account=demo")
	h.log.await(t, "event=connection", "action=reject", "rule=source", "result=refused", "attempts=3")

	p := h.dial(t, "pop3s")
	if answer := p.say("USER demo", ""); strings.HasPrefix(answer, "+OK") {
		answer = p.say("PASS gatekeeper", "")
		if !strings.HasPrefix(answer, "-ERR [SYS/TEMP]") {
			t.Errorf("POP3: got %q", answer)
		}
	}

	if err := os.WriteFile(file, []byte("POSTERN_LIMIT_SOURCE=2/1h\nPOSTERN_EXEMPT=127.0.0.0/8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.reread(h.read)
	h.dial(t, "imaps").login()
}

// TestTries: so many denied attempts, and the connection ends.
func TestTries(t *testing.T) {
	h := newHouse(t, "POSTERN_TRIES=1")
	c := h.dial(t, "imaps")
	c.say("a LOGIN demo guess", "a NO [AUTHENTICATIONFAILED]")
	h.log.await(t, "event=connection", "result=tries")
}

// TestCleartextLogin: passwords in clear text only where they are allowed.
func TestCleartextLogin(t *testing.T) {
	for allowed, want := range map[string]string{"false": "a NO [PRIVACYREQUIRED]", "true": "a OK"} {
		h := newHouse(t, "POSTERN_CLEARTEXT_LOGIN="+allowed)
		c := newClient(t, h.knock(t, "imap"))
		c.until("* OK")
		c.say("a LOGIN demo gatekeeper", want)
	}
}

// TestProxyFrom stands behind a load balancer on 127.0.0.1.
func TestProxyFrom(t *testing.T) {
	h := newHouse(t, "POSTERN_PROXY_FROM=127.0.0.1", "POSTERN_CLEARTEXT_LOGIN=true")
	c := newClient(t, h.knock(t, "imap"))
	c.PrintfLine("PROXY TCP4 198.51.100.23 203.0.113.1 50001 143")
	c.until("* OK")
	c.login()
	h.log.await(t, "event=login", "rip=198.51.100.23", "rport=50001", "result=accepted")

	bare := newClient(t, h.knock(t, "imap"))
	bare.PrintfLine("a LOGIN demo gatekeeper")
	if line, err := bare.ReadLine(); err == nil {
		t.Errorf("served without a header: %q", line)
	}
	h.log.await(t, "event=connection", "rip=127.0.0.1", "result=proxy_header")
	f := gather(t, h.metrics.registry)["postern_proxy_header_errors_total"]
	if got := total(f, "listener", "imap"); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// TestHealthCheckOfALoadBalancer comes every second and is not worth a line.
func TestHealthCheckOfALoadBalancer(t *testing.T) {
	h := newHouse(t, "POSTERN_PROXY_FROM=127.0.0.0/8")
	probe := h.knock(t, "imap")
	probe.Write([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")) // PROXY v2, LOCAL, no addresses
	c := newClient(t, probe)
	c.until("* OK")
	c.Close()
	after := newClient(t, h.knock(t, "imap"))
	after.PrintfLine("PROXY TCP4 198.51.100.24 203.0.113.1 50002 143")
	after.until("* OK")
	after.say("a LOGOUT", "a OK")
	h.log.await(t, "event=connection", "rip=198.51.100.24")
	if strings.Contains(h.log.String(), "result=probe") {
		t.Error("the probe was logged")
	}
}

// TestMaxConnections: one more than there may be, and one leaves.
func TestMaxConnections(t *testing.T) {
	h := newHouse(t, "POSTERN_MAX_CONNECTIONS=2")
	for range 3 {
		h.dial(t, "imaps")
	}
	h.log.await(t, "event=connection", "result=evicted")
}

// TestIPv6Door serves a client that comes by IPv6, and calls it by its address.
func TestIPv6Door(t *testing.T) {
	h := newHouse(t, "POSTERN_IMAPS_LISTEN=[::1]:0")
	h.dial(t, "imaps").login()
	h.log.await(t, "event=login", "rip=::1", "result=accepted")
}

// TestBackendTLS puts the mail server behind TLS. The certificate must be that
// of the name, or of the backend's host when no name is set.
func TestBackendTLS(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	ca, _, err := cert.Write(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ host, setting, want string }{
		"by the host":     {"localhost", "", "a OK"},
		"by a name":       {"127.0.0.1", "localhost", "a OK"},
		"not by the host": {"127.0.0.1", "", "a NO [UNAVAILABLE]"},
		"not by a name":   {"localhost", "mail.example", "a NO [UNAVAILABLE]"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "POSTERN_BACKEND_PROXY=off", "POSTERN_BACKEND_TLS=tls", "POSTERN_BACKEND_TLS_CA="+ca,
				"POSTERN_BACKEND_TLS_NAME="+tt.setting, "POSTERN_IMAP_BACKENDS="+tlsBackend(t, cert, tt.host))
			h.dial(t, "imaps").say("a LOGIN demo gatekeeper", tt.want)
		})
	}
}

// tlsBackend starts an IMAP server behind TLS and returns its address, with
// host for its IP address.
func tlsBackend(t *testing.T, cert *standin.Certificate, host string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := standin.ServeIMAP(tls.NewListener(ln, cert.Server()), []standin.Account{demoAccount}, standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return fmt.Sprintf("%s:%d", host, ln.Addr().(*net.TCPAddr).Port)
}
