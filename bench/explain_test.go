package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"postern/bench/client"
)

// at is a failure at a step.
func at(step client.Step, err error) error { return &client.Failure{Step: step, Err: err} }

// saying is a failure before which the server has sent a line.
func saying(step client.Step, line string) error {
	return &client.Failure{Step: step, Line: line, Err: io.EOF}
}

// alert is an alert of the server, as package tls returns it.
func alert(number uint8) error {
	return &net.OpError{Op: "remote error", Err: tls.AlertError(number)}
}

func TestExplainsFailures(t *testing.T) {
	for _, tc := range []struct {
		name        string
		err         error
		proxyHeader bool
		served      bool // a login was accepted before
		want        string
	}{
		{"nothing listens", at(client.StepConnect, syscall.ECONNREFUSED), false, false, "connection refused: nothing listens at 10.0.0.7:993"},
		{"no host", at(client.StepConnect, os.ErrDeadlineExceeded), false, false, "no connection in time"},
		{"reset", at(client.StepConnect, syscall.ECONNRESET), false, true, "connection reset while it was made"},
		{"no route", at(client.StepConnect, syscall.EHOSTUNREACH), false, false, "no connection to 10.0.0.7:993"},
		{"no descriptors", at(client.StepConnect, syscall.EMFILE), false, true, "bench out of file descriptors"},
		{"no ports", at(client.StepConnect, syscall.EADDRNOTAVAIL), false, true, "bench out of file descriptors or local ports"},
		{"alert internal_error", at(client.StepTLS, alert(80)), false, true, "TLS failed: refused by rule handshakes"},
		{"alert protocol_version", at(client.StepTLS, alert(70)), false, false, "TLS failed: the gateway offers no version"},
		{"other alert", at(client.StepTLS, alert(50)), false, true, "TLS failed"},
		{"alert after PROXY header", at(client.StepTLS, alert(10)), true, false, needsProxyFrom},
		{"no TLS", at(client.StepTLS, tls.RecordHeaderError{}), false, false, "TLS failed: the port does not begin with TLS"},
		{"certificate", at(client.StepTLS, &tls.CertificateVerificationError{Err: errors.New("x")}), false, false, "TLS failed: the certificate"},
		{"closed, TLS", at(client.StepTLS, io.EOF), false, true, closedAtOnce},
		{"closed at first, TLS", at(client.StepTLS, io.EOF), false, false, wantsHeader},
		{"closed after PROXY header, TLS", at(client.StepTLS, syscall.ECONNRESET), true, false, needsProxyFrom},
		{"closed later with PROXY header", at(client.StepTLS, io.EOF), true, true, closedAtOnce},
		{"no handshake in time", at(client.StepTLS, os.ErrDeadlineExceeded), true, true, "TLS failed: no answer in time"},
		{"closed before the greeting", at(client.StepGreeting, io.EOF), false, true, closedAtOnce},
		{"closed after PROXY header", at(client.StepGreeting, io.EOF), true, false, needsProxyFrom},
		{"no greeting", at(client.StepGreeting, os.ErrDeadlineExceeded), false, false, "no greeting in time, or the gateway waits for a PROXY header"},
		{"no greeting later", at(client.StepGreeting, os.ErrDeadlineExceeded), false, true, "no greeting in time"},
		{"tries", saying(client.StepLogin, "* BYE Too many failed logins. (abcdef-1x)"), false, true, "closed after too many wrong passwords"},
		{"shutdown", saying(client.StepLogin, "* BYE Server is shutting down, please try again later."), true, true, "closed: the gateway shuts down"},
		{"header taken for commands", saying(client.StepStartTLS, "* BYE Too many invalid commands."), true, false, needsProxyFrom},
		{"other reason", saying(client.StepLogin, "* BYE maintenance"), false, true, "closed at login with a reason"},
		{"no answer to login", at(client.StepLogin, os.ErrDeadlineExceeded), true, false, "no answer to login in time: it waits in the tarpit"},
		{"closed at login", at(client.StepLogin, syscall.ECONNRESET), false, true, "closed at login without a reason"},
		{"closed at logout", at(client.StepLogout, io.EOF), false, true, "closed at logout without a reason"},
		{"not of the client", context.DeadlineExceeded, false, true, context.DeadlineExceeded.Error()},
	} {
		e := newExplainer(&client.Dialer{Addr: "10.0.0.7:993", ProxyHeader: tc.proxyHeader})
		e.served.Store(tc.served)
		got := e.explain(attempt{who: whoUsers, err: tc.err})
		if !strings.HasPrefix(got, tc.want) || !strings.Contains(tc.name, "no greeting") && tc.served && strings.Contains(got, "PROXY") {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestExplainsAnswers(t *testing.T) {
	for _, tc := range []struct {
		who    string
		answer client.Answer
		line   string
		want   string
	}{
		{whoUsers, client.Busy, "NO [UNAVAILABLE] Account is temporarily unavailable. (abcdef-1x)", "NO [UNAVAILABLE]: postern refused by a limit, for lack of capacity"},
		{whoUsers, client.Busy, "-ERR [SYS/TEMP] Account is temporarily unavailable. (abcdef-1x)", "-ERR [SYS/TEMP]: postern refused"},
		{whoUsers, client.Busy, "NO [UNAVAILABLE] Temporary authentication failure.", "NO [UNAVAILABLE]: refused for now, without a session ID of postern"},
		{whoUsers, client.Busy, "NO [LIMIT] Too many connections.", "NO [LIMIT]: the mail server allows the account no more sessions"},
		{whoUsers, client.Denied, "NO [AUTHENTICATIONFAILED] Authentication failed.", "denied although the password was right before"},
		{whoUsers, client.Denied, "NO [PRIVACYREQUIRED] Logging in needs TLS.", "refused: the listener takes no passwords in clear text"},
		{whoAttackers, client.Denied, "-ERR [AUTH] Authentication failed.", "denied: the password is wrong, as it should be"},
		{whoUsers, client.Busy, "NO", "NO: refused for now"},
	} {
		e := newExplainer(&client.Dialer{})
		if got := e.explain(attempt{who: tc.who, answer: tc.answer, line: tc.line}); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s, %q: got %q, want %q", tc.who, tc.line, got, tc.want)
		}
	}
}

// Attempts of one kind are counted together, with the first as their example.
func TestCountsExplanations(t *testing.T) {
	e := newExplainer(&client.Dialer{Addr: "10.0.0.7:993"})
	source := netip.MustParseAddr("192.0.2.7")
	for _, id := range []string{"abcdef-1", "abcdef-2"} {
		e.add(attempt{who: whoAttackers, account: "eve", source: source, answer: client.Busy, line: "NO [UNAVAILABLE] Later. (" + id + ")"})
	}
	for range 3 {
		e.add(attempt{who: whoAttackers, account: "eve", answer: client.Denied, line: "NO no"})
	}
	e.add(attempt{who: whoUsers, account: "ann", err: at(client.StepConnect, syscall.ECONNREFUSED)})
	all := e.all()
	if len(all) != 3 || all[0].Who != whoUsers || all[1].Count != 3 || all[2].Count != 2 {
		t.Fatalf("got %+v, want users first, then by count", all)
	}
	if want := `eve from 192.0.2.7: "NO [UNAVAILABLE] Later. (abcdef-1)": postern explain abcdef-1`; all[2].Example != want {
		t.Errorf("got  %s\nwant %s", all[2].Example, want)
	}
	if want := "users, 1 × connection refused: nothing listens at 10.0.0.7:993 (as ann: connect: connection refused)"; all[0].String() != want {
		t.Errorf("got  %s\nwant %s", all[0], want)
	}
	if e.reset(); len(e.all()) != 0 {
		t.Errorf("after a reset: %+v", e.all())
	}
}

// The explanations of all rounds are counted together.
func TestExplanationsOfRounds(t *testing.T) {
	c := newCollector(Work{Name: "attack"})
	for range 2 {
		c.add("server", &sample{conclusion: "held", explanations: []Explanation{{whoAttackers, 5, "denied", "x"}, {whoUsers, 1, "closed", "y"}}}, 0, nil)
	}
	r := c.finish().Rounds["server"]
	if len(r.Conclusions) != 2 || len(r.Explanations) != 2 || r.Explanations[0].Who != whoUsers || r.Explanations[1].Count != 10 {
		t.Errorf("%+v", r)
	}
}
