package backend

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/standin"
)

// open serves until the test ends.
func open(t *testing.T) (*Server, *tls.Config) {
	t.Helper()
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve(cert.Server())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, cert.Client()
}

// exchange sends lines to addr and returns all answers until the server closes
// the connection.
func exchange(t *testing.T, addr string, config *tls.Config, lines ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if config != nil {
		c = tls.Client(c, config)
	}
	io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n")
	answers, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, answers)
	}
	return string(answers)
}

// All ways in which nginx, Dovecot, HAProxy and postern log in.
func TestLogins(t *testing.T) {
	s, client := open(t)
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for _, test := range []struct {
		addr  string
		tls   bool
		lines []string
		want  string // contained in the answers
	}{
		{s.Addrs.IMAP, false, []string{`a LOGIN x secret-of-x`, "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAPS, true, []string{`a LOGIN "x\"y" "secret-of-x\"y"`, "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{`a LOGIN x wrong`, "b LOGOUT"}, "a NO [AUTHENTICATIONFAILED]"},
		{s.Addrs.IMAP, false, []string{"a LOGIN {3}", `x y {13+}`, "secret-of-x y", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE PLAIN AHgAc2VjcmV0LW9mLXg=", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE PLAIN", "AHgAc2VjcmV0LW9mLXg=", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE PLAIN AHgA", "b LOGOUT"}, "a NO [AUTHENTICATIONFAILED]"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE PLAIN eHg=", "b LOGOUT"}, "a BAD Invalid response"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE PLAIN", "?", "b LOGOUT"}, "a BAD Invalid response"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE LOGIN", "b LOGOUT"}, "a NO Unsupported"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE XOAUTH2 dXNlcj14AWF1dGg9QmVhcmVyIHNlY3JldC1vZi14AQE=", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE XOAUTH2", "dXNlcj14AWF1dGg9QmVhcmVyIHNlY3JldC1vZi14AQE=", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE XOAUTH2 dXNlcj14AWF1dGg9QmVhcmVyIHkBAQ==", "b LOGOUT"}, "a NO [AUTHENTICATIONFAILED]"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE XOAUTH2 eCB4", "b LOGOUT"}, "a BAD Invalid response"},
		// The challenges are <1@bench.example> and so on.
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE CRAM-MD5", "eCA2YWMyYTY0YmFjOTRiZGRjNDcyODE5YWFiODRmZjgyNg==", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE CRAM-MD5", "eCA2YWMyYTY0YmFjOTRiZGRjNDcyODE5YWFiODRmZjgyNg==", "b LOGOUT"}, "a NO [AUTHENTICATIONFAILED]"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE CRAM-MD5", "eA==", "b LOGOUT"}, "a BAD Invalid response"},
		{s.Addrs.IMAP, false, []string{"a LOGIN x former-secret-of-x", "b LOGOUT"}, "a NO [AUTHENTICATIONFAILED]"},
		{s.Addrs.ProxiedIMAP, false, []string{"PROXY TCP4 1.2.3.4 5.6.7.8 9 10", `a LOGIN x secret-of-x`, "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.ProxiedIMAP, false, []string{v2 + `a LOGIN x secret-of-x`, "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.POP3, false, []string{"USER x", "PASS secret-of-x", "QUIT"}, "+OK Logged in."},
		{s.Addrs.POP3S, true, []string{"AUTH PLAIN AHgAc2VjcmV0LW9mLXg=", "QUIT"}, "+OK Logged in."},
		{s.Addrs.POP3, false, []string{"AUTH PLAIN", "AHgAc2VjcmV0LW9mLXg=", "QUIT"}, "+OK Logged in."},
		{s.Addrs.POP3, false, []string{"USER x", "PASS wrong", "QUIT"}, "-ERR [AUTH]"},
		{s.Addrs.ProxiedPOP3, false, []string{"PROXY UNKNOWN", "USER x", "PASS secret-of-x", "QUIT"}, "+OK Logged in."},
	} {
		config := client
		if !test.tls {
			config = nil
		}
		if got := exchange(t, test.addr, config, test.lines...); !strings.Contains(got, test.want) {
			t.Errorf("%q: no %q in %q", test.lines, test.want, got)
		}
	}
	counts, err := Control{s.Addrs.Control}.Counts(t.Context())
	if err != nil || counts != (Counts{Accepted: 14, Denied: 6, Former: 1}) {
		t.Errorf("counts: %+v, %v", counts, err)
	}
}

func TestMessages(t *testing.T) {
	s, _ := open(t)
	got := exchange(t, s.Addrs.IMAP, nil, "a SELECT 100000", "b FETCH 1 BODY.PEEK[]", "c APPEND INBOX {5+}", "hello", "d NOOP", "e LOGOUT")
	if len(got) < 100000 || !strings.Contains(got, "(BODY[] {100000}") || !strings.Contains(got, "c OK") || !strings.Contains(got, "d OK") {
		t.Errorf("got %d octets: %.200q", len(got), got)
	}
	if got := exchange(t, s.Addrs.POP3, nil, "STAT", "RETR 1", "CAPA", "QUIT"); !strings.Contains(got, "+OK 1 4096") || !strings.Contains(got, "STLS") {
		t.Errorf("got %.200q", got)
	}
}

// Clients in IDLE get notifications in rotation, until they end IDLE or the rate
// is 0.
func TestNotifications(t *testing.T) {
	s, _ := open(t)
	control := Control{s.Addrs.Control}
	var idle []*bufio.Reader
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", s.Addrs.IMAP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, "a IDLE\r\n")
		r := bufio.NewReader(c)
		wantLine(t, r, "* OK [")
		wantLine(t, r, "+ idling")
		idle, conns = append(idle, r), append(conns, c)
	}
	if sent, err := control.Notify(t.Context(), 1000); err != nil || sent != 0 {
		t.Errorf("got %d lines sent before, %v", sent, err)
	}
	for range 3 {
		for _, r := range idle {
			wantLine(t, r, "* OK 1")
		}
	}
	sent, err := control.Notify(t.Context(), 0)
	if again, _ := control.Notify(t.Context(), 0); err != nil || sent < 6 || again != sent {
		t.Errorf("got %d lines sent, then %d, %v", sent, again, err)
	}
	received := int64(6)
	for i, answer := range []string{"done", "enough"} {
		io.WriteString(conns[i], answer+"\r\nb LOGOUT\r\n")
		rest, err := io.ReadAll(idle[i])
		if err != nil || !strings.Contains(string(rest), []string{"a OK", "a BAD"}[i]) {
			t.Errorf("after %s: got %q, %v", answer, rest, err)
		}
		received += int64(strings.Count(string(rest), "is the time"))
	}
	if received != sent {
		t.Errorf("got %d lines, want %d", received, sent)
	}
	s.notifier.notifyNext() // without clients
	if err := control.ask(t.Context(), "POST", "/notify?rate=x", nil); err == nil {
		t.Error("the rate x is accepted")
	}
}

// wantLine reads a line and checks its prefix.
func wantLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	l, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(l, want) {
		t.Fatalf("got line %q, %v, want prefix %q", l, err, want)
	}
}

// Passwords are checked in order, at the rate of the limit, and the queue is
// bounded.
func TestAuthQueueKeepsRateAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q authQueue
		q.setLimit(10, 50*time.Millisecond, 5)
		begun := time.Now()
		done := make(chan string, 10)
		for range 10 {
			go func() {
				v := q.check(context.Background(), "x", Secret("x"))
				done <- fmt.Sprint(v, time.Since(begun).Milliseconds())
			}()
			synctest.Wait() // one after the other
		}
		var got []string
		for range 10 {
			got = append(got, <-done)
		}
		// Five wait, one is checked at once, four find the queue full.
		want := "2 0,2 0,2 0,2 0,0 50,0 150,0 250,0 350,0 450,0 550"
		if s := strings.Join(got, ","); s != want {
			t.Errorf("got  %s\nwant %s", s, want)
		}
		if q.accepted.Load() != 6 || q.denied.Load() != 0 {
			t.Errorf("got %d accepted, %d denied, want 6 and 0", q.accepted.Load(), q.denied.Load())
		}
	})
}

func TestLimitByControl(t *testing.T) {
	s, _ := open(t)
	c := Control{s.Addrs.Control}
	if err := c.Limit(t.Context(), 1, time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Limit(t.Context(), -1, 0, 0); err == nil {
		t.Error("a negative rate is accepted")
	}
	// A check lasts an hour. Close ends it.
	conn, err := net.Dial("tcp", s.Addrs.IMAP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "a LOGIN x secret-of-x\r\n")
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
		t.Fatalf("%q, %v", line, err)
	}
	s.Close()
	if line, _ := r.ReadString('\n'); strings.HasPrefix(line, "a OK") {
		t.Errorf("got %q, want no answer", line)
	}
}
