package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
)

// server answers the n-th line with the n-th answer; the first answer is the
// greeting.
func server(t *testing.T, answers ...string) func(context.Context) (net.Conn, error) {
	t.Helper()
	return func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			r := bufio.NewReader(theirs)
			for i, a := range answers {
				if i > 0 {
					if _, err := r.ReadString('\n'); err != nil {
						return
					}
				}
				if a == "never" {
					_, _ = io.Copy(io.Discard, r)
					return
				}
				theirs.Write([]byte(a + "\r\n"))
			}
		}()
		return ours, nil
	}
}

// call connects to a server with these answers.
func call(t *testing.T, p Protocol, answers ...string) (*Session, error) {
	t.Helper()
	c := &Caller{Protocol: p, Security: Plain, Patience: time.Minute, Dial: server(t, answers...)}
	return c.Call(t.Context(), netip.Addr{})
}

func TestLoginAnswers(t *testing.T) {
	for _, test := range []struct {
		protocol Protocol
		answers  []string
		want     Answer
		reason   string // of the error, if there is one
	}{
		{IMAP, []string{"a OK [CAPABILITY X] in"}, Accepted, ""},
		{IMAP, []string{"* CAPABILITY X\r\n* OK hm\r\na OK in"}, Accepted, ""},
		{IMAP, []string{"a NO [AUTHENTICATIONFAILED] no"}, Denied, ""},
		{IMAP, []string{"a NO no"}, Denied, ""},
		{IMAP, []string{"a NO [UNAVAILABLE] later"}, Busy, ""},
		{IMAP, []string{"a BAD what"}, 0, "wrong answer"},
		{IMAP, []string{"b OK in"}, 0, "wrong answer"},
		{IMAP, []string{"HTTP/1.1 200 OK"}, 0, "wrong answer"},
		{IMAP, nil, 0, "connection lost"},
		{IMAP, []string{"never"}, 0, "no answer in time"},
		{POP3, []string{"+OK", "+OK in"}, Accepted, ""},
		{POP3, []string{"+OK", "-ERR [AUTH] no"}, Denied, ""},
		{POP3, []string{"-ERR [LOGIN-DELAY] later"}, Busy, ""},
		{POP3, []string{"+OK", "-ERR [SYS/TEMP] later"}, Busy, ""},
		{POP3, []string{"+OK", "OK"}, 0, "wrong answer"},
	} {
		t.Run(fmt.Sprint(test.protocol, test.answers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := map[Protocol]string{IMAP: "* OK hi", POP3: "+OK hi"}[test.protocol]
				s, err := call(t, test.protocol, append([]string{greeting}, test.answers...)...)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				got, err := s.Login(`a"b`, "secret", Login)
				switch {
				case test.reason == "" && (err != nil || got != test.want):
					t.Errorf("%v, %v", got, err)
				case test.reason != "" && (err == nil || Reason(err) != test.reason):
					t.Errorf("reason %q of %v", Reason(err), err)
				}
			})
		})
	}
}

func TestGreetings(t *testing.T) {
	for greeting, reason := range map[string]string{
		"* BYE [UNAVAILABLE] later": "turned away", "-ERR [SYS/TEMP] later": "turned away",
		"220 smtp": "wrong answer", "never": "no answer in time",
	} {
		synctest.Test(t, func(t *testing.T) {
			if _, err := call(t, IMAP, greeting); err == nil || Reason(err) != reason {
				t.Errorf("%q: %v", greeting, err)
			}
		})
	}
}

func TestTransfers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := call(t, IMAP, "* OK hi", "* 1 FETCH (BODY[] {5}\r\nhello)\r\na OK done", "* 1 FETCH (BODY[] {x}", "a NO none")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if n, err := s.Download(); n != 5 || err != nil {
			t.Errorf("fetched %d, %v", n, err)
		}
		if _, err := s.Download(); !errors.Is(err, errNonsense) {
			t.Errorf("a size that is none: %v", err)
		}
		if err := s.Upload("INBOX", 10); !errors.Is(err, errNonsense) {
			t.Errorf("an upload that was refused: %v", err)
		}
	})
}

// The end of the context ends a wait at once.
func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &Caller{Protocol: IMAP, Security: Plain, Patience: time.Hour, Dial: server(t, "* OK hi", "never")}
		s, err := c.Call(ctx, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		begun := time.Now()
		time.AfterFunc(time.Second, cancel)
		if err := s.Noop(); err == nil || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestAnnounce(t *testing.T) {
	for _, addr := range []string{"203.0.113.7", "2001:db8:1:2::3"} {
		ours, theirs := net.Pipe()
		c := &Caller{Protocol: IMAP, Security: Plain, Announce: true, Patience: time.Minute, Dial: func(context.Context) (net.Conn, error) { return ours, nil }}
		heard := make(chan string, 1)
		go func() {
			defer theirs.Close()
			h, err := proxyproto.Read(bufio.NewReader(theirs))
			if err != nil {
				heard <- err.Error()
				return
			}
			heard <- h.SourceAddr.(*net.TCPAddr).IP.String()
			io.WriteString(theirs, "* OK hi\r\n")
		}()
		s, err := c.Call(t.Context(), netip.MustParseAddr(addr))
		if got := <-heard; err != nil || got != addr {
			t.Fatalf("announced %s: heard %q, %v", addr, got, err)
		}
		s.Close()
	}
}

func TestReasons(t *testing.T) {
	for want, err := range map[string]error{
		"interrupted":          context.Canceled,
		"no answer in time":    context.DeadlineExceeded,
		"connection refused":   &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"bench out of sockets": &net.OpError{Op: "dial", Err: syscall.EADDRNOTAVAIL},
		"connection lost":      fmt.Errorf("read: %w", syscall.ECONNRESET),
		"TLS failed":           fmt.Errorf("%w: %w", errTLS, io.EOF),
		"other error":          errors.New("odd"),
	} {
		if got := Reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if strings.Contains(fmt.Sprint(nonsense("login", []byte("\x1b[31m"))), "\x1b") {
		t.Error("what a server says reaches the terminal")
	}
}
