package client

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"postern/proxy/standin"
)

// A failure names the step and the line with which the server closed.
func TestFailureNamesStepAndLine(t *testing.T) {
	for _, test := range []struct {
		name     string
		protocol Protocol
		security Security
		answers  []string
		step     Step
		line     string
		reason   string
	}{
		{"greeting", IMAP, Plain, []string{"* BYE [UNAVAILABLE] later (abcdef-1)"}, StepGreeting, "* BYE [UNAVAILABLE] later (abcdef-1)", Refused},
		{"POP3 greeting", POP3, Plain, []string{"-ERR [SYS/TEMP] later"}, StepGreeting, "-ERR [SYS/TEMP] later", Refused},
		{"no mail server", IMAP, Plain, []string{"HTTP/1.1 400"}, StepGreeting, "", Unexpected},
		{"no greeting", IMAP, Plain, nil, StepGreeting, "", Lost},
		{"STARTTLS", IMAP, StartTLS, []string{"* OK hi", "a NO no"}, StepStartTLS, "", Unexpected},
		{"TLS after STARTTLS", IMAP, StartTLS, []string{"* OK hi", "a OK go"}, StepTLS, "", TLSFailed},
		{"login", IMAP, Plain, []string{"* OK hi", "* BYE too many"}, StepLogin, "* BYE too many", Lost},
		{"logout", IMAP, Plain, []string{"* OK hi", "a OK in"}, StepLogout, "", Lost},
		{"POP3 logout", POP3, Plain, []string{"+OK hi", "+OK", "+OK in"}, StepLogout, "", Lost},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &Dialer{Protocol: test.protocol, Security: test.security, Timeout: time.Minute, TLS: &tls.Config{ServerName: "localhost"}, Connect: answering(t, test.answers...)}
			s, err := d.Dial(t.Context(), netip.Addr{})
			if err == nil {
				if _, err = s.Login("x", "y", Login); err == nil {
					err = s.Logout()
				} else {
					s.Close()
				}
			}
			var f *Failure
			if !errors.As(err, &f) || f.Step != test.step || f.Line != test.line || Reason(err) != test.reason {
				t.Errorf("got %+v (%s), want %s at %s with %q", err, Reason(err), test.reason, test.step, test.line)
			}
		})
	}
	d := &Dialer{Addr: "127.0.0.1:1", Protocol: IMAP, Security: Plain, Timeout: time.Minute}
	var f *Failure
	if _, err := d.Dial(t.Context(), netip.Addr{}); !errors.As(err, &f) || f.Step != StepConnect || Reason(err) != NoListener {
		t.Errorf("got %v, want a refused connection", err)
	}
}

// A session keeps the answer to a login until the next login.
func TestRefusalIsKept(t *testing.T) {
	s, err := dial(t, IMAP, "* OK hi", "a NO [UNAVAILABLE] later (abcdef-1)", "a OK in")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a, err := s.Login("x", "y", Login); a != Busy || err != nil || s.Refusal != "NO [UNAVAILABLE] later (abcdef-1)" {
		t.Errorf("%v, %v, %q", a, err, s.Refusal)
	}
	if a, err := s.Login("x", "y", Login); a != Accepted || err != nil || s.Refusal != "" {
		t.Errorf("%v, %v, %q", a, err, s.Refusal)
	}
}

// The cause of a failed handshake is what the server did.
func TestCauseOfTLS(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	handshake := func(server func(net.Conn), config *tls.Config) error {
		ln, err := net.Listen("tcp", "127.0.0.1:0") // a pipe has no buffer, and both sides may write at the same time
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				defer c.Close()
				server(c)
			}
		}()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return tls.Client(c, config).Handshake()
	}
	sends := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte(text))
		}
	}
	answers := func(c net.Conn) { _ = tls.Server(c, cert.Server()).Handshake() }
	for _, test := range []struct {
		name   string
		server func(net.Conn)
		config *tls.Config
		want   TLSCause
	}{
		{"internal_error", sends("\x15\x03\x03\x00\x02\x02\x50"), cert.Client(), TLSRefused},
		{"protocol_version", sends("\x15\x03\x03\x00\x02\x02\x46"), cert.Client(), TLSVersion},
		{"other alert", sends("\x15\x03\x03\x00\x02\x02\x0a"), cert.Client(), TLSOther},
		{"closed", sends(""), cert.Client(), TLSClosed},
		{"clear text", sends("* OK ready, with more text\r\n"), cert.Client(), TLSNone},
		{"certificate", answers, &tls.Config{ServerName: "localhost"}, TLSCertificate},
	} {
		if err := handshake(test.server, test.config); err == nil || CauseOfTLS(err) != test.want {
			t.Errorf("%s: got %v of %v, want %v", test.name, CauseOfTLS(err), err, test.want)
		}
	}
}
