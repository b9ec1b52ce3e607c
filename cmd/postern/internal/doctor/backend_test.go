package doctor

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"postern/cmd/postern/internal/testbed"
)

// serve has handle answer every connection to a new address, which it returns, until the
// test ends. Then it closes each.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(testbed.Patience))
				handle(c)
			}()
		}
	}()
	return ln.Addr().String()
}

// speak sends greeting and then an answer to each line, in turn.
func speak(c io.ReadWriter, greeting string, answers ...string) {
	io.WriteString(c, greeting)
	lines := bufio.NewReader(c)
	for _, a := range answers {
		if _, err := lines.ReadString('\n'); err != nil {
			return
		}
		io.WriteString(c, a)
	}
	io.Copy(io.Discard, lines)
}

// readHeader reads a PROXY header of version 1.
func readHeader(c net.Conn) {
	one := make([]byte, 1)
	for one[0] != '\n' {
		if _, err := io.ReadFull(c, one); err != nil {
			return
		}
	}
}

// checkBackends runs the checks of backends with these settings.
func checkBackends(t *testing.T, o Options) Report {
	t.Helper()
	e := &examination{Options: o}
	if err := e.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(e.wrong) > 0 {
		t.Fatal(e.wrong)
	}
	return e.checkBackends(t.Context())
}

// TestFaultyBackends of every kind get a line that says what is wrong and what to change.
func TestFaultyBackends(t *testing.T) {
	t.Parallel()
	const refused = "127.77.0.1:1"
	behindHeader := func(greeting string, answers ...string) func(net.Conn) {
		return func(c net.Conn) {
			readHeader(c)
			speak(c, greeting, answers...)
		}
	}
	cert := testbed.NewCertificate(t)
	type row struct {
		handle   func(net.Conn)
		settings []string
		level    Level
		want     []string
	}
	rows := map[string]row{
		"refuses":              {nil, nil, Failure, []string{"cannot be reached: connect: connection refused", "correct POSTERN_IMAP_BACKENDS"}},
		"closes at once":       {func(net.Conn) {}, nil, Failure, []string{"with a PROXY v1 header", "haproxy_trusted_networks must contain 127.0.0.1", "`haproxy = yes`"}},
		"closes behind header": {readHeader, nil, Failure, []string{"haproxy_trusted_networks must contain 127.0.0.1"}},
		"resets behind header": {func(c net.Conn) { readHeader(c); c.(*net.TCPConn).SetLinger(0) }, nil, Failure, []string{"resets the connection", "haproxy_trusted_networks must contain 127.0.0.1"}},
		"closes without one":   {func(net.Conn) {}, []string{"BACKEND_PROXY=off"}, Failure, []string{"closes the connection", "BACKEND_PROXY=v2"}},
		"never greets":         {func(c net.Conn) { io.Copy(io.Discard, c) }, nil, Failure, []string{"sends nothing in time", "process_limit"}},
		"another protocol":     {behindHeader("220 mail.example.org ESMTP\x1b]0;x\a\r\n"), nil, Failure, []string{`"220 mail.example.org ESMTP\x1b]0;x\a"`, "speaks IMAP"}},
		"garbage":              {behindHeader(strings.Repeat("\xff\x00\u202e", 20000)), nil, Failure, []string{"a line of more than", "speaks IMAP"}},
		"half a line":          {behindHeader("* O"), nil, Failure, []string{"POSTERN_IMAP_BACKENDS"}},
		"sends BYE":            {behindHeader("* BYE Too many connections.\r\n"), nil, Failure, []string{"Too many connections.", "process_limit"}},
		"is logged in":         {behindHeader("* PREAUTH hello\r\n"), nil, Failure, []string{"PREAUTH"}},
		"closes after command": {behindHeader("* OK ready\r\n", ""), nil, Failure, []string{"POSTERN_IMAP_BACKENDS"}},
		"answers the header": {func(c net.Conn) {
			speak(c, "* OK ready\r\n", "PROXY BAD what\r\n", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nd1 OK\r\n")
		}, nil, Failure, []string{`"PROXY BAD what"`, "does not expect a PROXY header", "`haproxy = yes`", "BACKEND_PROXY=off"}},
		"speaks unasked": {behindHeader("* OK ready\r\n", "* PWNED\r\nd1 OK\r\n"), nil, Failure, []string{"* PWNED", "speaks IMAP"}},
		"endless reply":  {behindHeader("* OK ready\r\n", strings.Repeat("* X\r\n", 10000)), nil, Failure, []string{"* X", "IMAP"}},
		"no passwords":   {behindHeader("* OK ready\r\n", "* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=SCRAM-SHA-256\r\nd1 OK\r\n"), nil, Warning, []string{"LOGINDISABLED", "BACKEND_PROXY=v2"}},
		"no mechanisms":  {behindHeader("* OK ready\r\n", "* CAPABILITY IMAP4rev1\r\nd1 OK\r\n"), nil, Warning, []string{"no way to log in"}},
		"no PLAIN":       {behindHeader("* OK ready\r\n", "* CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256\r\nd1 OK\r\n"), nil, Warning, []string{"no PLAIN", "auth_mechanisms"}},
		"no STARTTLS":    {behindHeader("* OK ready\r\n", "d1 BAD unknown\r\n"), []string{"BACKEND_TLS=starttls"}, Failure, []string{"offers no STARTTLS", "`ssl = yes`"}},
		"wrong name": {func(c net.Conn) { readHeader(c); speak(tls.Server(c, cert.Server()), "* OK\r\n") },
			[]string{"BACKEND_TLS=tls", "BACKEND_TLS_NAME=mail.example", "BACKEND_TLS_CA=" + caFile(t, cert.CertPEM)}, Failure, []string{"TLS fails", "localhost", "BACKEND_TLS_NAME"}},
	}
	atOnce(t, rows, func(t *testing.T, tt row) {
		addr := refused
		if tt.handle != nil {
			addr = serve(t, tt.handle)
		}
		settings := []string{prefix + "POP3_LISTEN=off", prefix + "POP3S_LISTEN=off", prefix + "IMAP_BACKENDS=" + addr, prefix + "BACKEND_PROXY=v1"}
		for _, s := range tt.settings {
			settings = append(settings, prefix+s)
		}
		r := checkBackends(t, Options{Environ: testbed.Environ(settings...)})
		r.expect(t, tt.level, append([]string{"backend imap " + addr}, tt.want...)...)
		if text := r.text(t); strings.ContainsAny(text, "\x1b\a\x00\u202e") || !utf8.ValidString(text) || strings.Count(text, "\n") != len(r) {
			t.Errorf("steers a terminal: %q", text)
		}
	})
}

// atOnce runs a test for every row at the same time, however many processors there are:
// most of the time passes with waiting for what does not come.
func atOnce[T any](t *testing.T, rows map[string]T, test func(*testing.T, T)) {
	var done sync.WaitGroup
	for name, row := range rows {
		done.Go(func() {
			t.Run(name, func(t *testing.T) { test(t, row) })
		})
	}
	done.Wait()
}

// caFile is a file with a certificate.
func caFile(t *testing.T, certificate []byte) string {
	return testbed.WriteFile(t, string(certificate))
}

// TestBackendNameMustResolve.
func TestBackendNameMustResolve(t *testing.T) {
	r := checkBackends(t, Options{Environ: testbed.Environ(prefix+"POP3_LISTEN=off", prefix+"POP3S_LISTEN=off", prefix+"IMAP_BACKENDS=no.such.host.invalid:143")})
	r.expect(t, Failure, "backend imap no.such.host.invalid:143", "does not resolve", "correct POSTERN_IMAP_BACKENDS")
}

// TestBackendCAMustBeReadable.
func TestBackendCAMustBeReadable(t *testing.T) {
	r := checkBackends(t, Options{Environ: testbed.Environ(prefix+"BACKEND_TLS=tls", prefix+"BACKEND_TLS_CA=/no/such/file")})
	r.expect(t, Failure, "backends", "/no/such/file", "correct POSTERN_BACKEND_TLS_CA")
}
