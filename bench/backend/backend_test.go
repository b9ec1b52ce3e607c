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

// talk sends lines to addr as they stand, and returns all it says until it
// closes the connection.
func talk(t *testing.T, addr string, config *tls.Config, lines ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if config != nil {
		c = tls.Client(c, config)
	}
	io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n")
	said, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, said)
	}
	return string(said)
}

// What nginx, Dovecot, HAProxy and postern may send to log in.
func TestLogins(t *testing.T) {
	s, client := open(t)
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for _, test := range []struct {
		addr  string
		tls   bool
		lines []string
		want  string // in what it says
	}{
		{s.Addrs.IMAP, false, []string{`a LOGIN x secret-of-x`, "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAPS, true, []string{`a LOGIN "x\"y" "secret-of-x\"y"`, "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{`a LOGIN x wrong`, "b LOGOUT"}, "a NO [AUTHENTICATIONFAILED]"},
		{s.Addrs.IMAP, false, []string{"a LOGIN {3}", `x y {13+}`, "secret-of-x y", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE PLAIN AHgAc2VjcmV0LW9mLXg=", "b LOGOUT"}, "a OK [CAPABILITY"},
		{s.Addrs.IMAP, false, []string{"a AUTHENTICATE PLAIN", "AHgAc2VjcmV0LW9mLXg=", "b LOGOUT"}, "a OK [CAPABILITY"},
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
		if said := talk(t, test.addr, config, test.lines...); !strings.Contains(said, test.want) {
			t.Errorf("%q: no %q in %q", test.lines, test.want, said)
		}
	}
	counts, err := Control{s.Addrs.Control}.Counts(t.Context())
	if err != nil || counts.Accepted != 11 || counts.Denied != 2 {
		t.Errorf("counts: %+v, %v", counts, err)
	}
}

func TestMail(t *testing.T) {
	s, _ := open(t)
	said := talk(t, s.Addrs.IMAP, nil, "a SELECT 100000", "b FETCH 1 BODY.PEEK[]", "c APPEND INBOX {5+}", "hello", "d NOOP", "e LOGOUT")
	if len(said) < 100000 || !strings.Contains(said, "(BODY[] {100000}") || !strings.Contains(said, "c OK") || !strings.Contains(said, "d OK") {
		t.Errorf("it says %d octets: %.200q", len(said), said)
	}
	if said := talk(t, s.Addrs.POP3, nil, "STAT", "RETR 1", "CAPA", "QUIT"); !strings.Contains(said, "+OK 1 4096") || !strings.Contains(said, "STLS") {
		t.Errorf("it says %.200q", said)
	}
}

// Those who idle are told what time it is, each in turn, until they have heard
// enough or it is over.
func TestIdle(t *testing.T) {
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
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "a IDLE\r\n")
		r := bufio.NewReader(c)
		hear(t, r, "* OK [")
		hear(t, r, "+ idling")
		idle, conns = append(idle, r), append(conns, c)
	}
	if rung, err := control.Ring(t.Context(), 1000); err != nil || rung != 0 {
		t.Errorf("rung %d times before, %v", rung, err)
	}
	for range 3 {
		for _, r := range idle {
			hear(t, r, "* OK 1")
		}
	}
	rung, err := control.Ring(t.Context(), 0)
	if again, _ := control.Ring(t.Context(), 0); err != nil || rung < 6 || again != rung {
		t.Errorf("rung %d times, then %d, %v", rung, again, err)
	}
	heard := int64(6)
	for i, word := range []string{"done", "enough"} {
		io.WriteString(conns[i], word+"\r\nb LOGOUT\r\n")
		rest, err := io.ReadAll(idle[i])
		if err != nil || !strings.Contains(string(rest), []string{"a OK", "a BAD"}[i]) {
			t.Errorf("after %s it says %q, %v", word, rest, err)
		}
		heard += int64(strings.Count(string(rest), "is the time"))
	}
	if heard != rung {
		t.Errorf("%d lines came of %d", heard, rung)
	}
	s.bell.once() // nobody is left
	if err := control.ask(t.Context(), "POST", "/ring?rate=x", nil); err == nil {
		t.Error("it rings at the rate x")
	}
}

// hear reads a line that begins with what is wanted.
func hear(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	l, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(l, want) {
		t.Fatalf("it says %q, %v; %q is wanted", l, err, want)
	}
}

// Passwords are checked at their pace, in turn, and no more wait than may.
func TestDeskKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d desk
		d.limit(10, 50*time.Millisecond, 5)
		begun := time.Now()
		done := make(chan string, 10)
		for range 10 {
			go func() {
				v := d.check(context.Background(), "x", Secret("x"))
				done <- fmt.Sprint(v, time.Since(begun).Milliseconds())
			}()
			synctest.Wait() // one after the other
		}
		var got []string
		for range 10 {
			got = append(got, <-done)
		}
		// Five may wait, and one is being checked; four are turned away.
		want := "2 0,2 0,2 0,2 0,0 50,0 150,0 250,0 350,0 450,0 550"
		if s := strings.Join(got, ","); s != want {
			t.Errorf("got  %s\nwant %s", s, want)
		}
		if d.accepted.Load() != 6 || d.turnedAway.Load() != 4 {
			t.Errorf("%d accepted, %d turned away", d.accepted.Load(), d.turnedAway.Load())
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
		t.Error("a negative rate is taken")
	}
	// With an hour per check nobody is answered; Close ends that.
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
		t.Errorf("answered at once: %q", line)
	}
}
