package client

import (
	"bufio"
	"context"
	"encoding/base64"
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

// answering returns a server that answers the n-th line with the n-th answer.
// The first answer is the greeting; "never" is none.
func answering(t *testing.T, answers ...string) func(context.Context) (net.Conn, error) {
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

// dial connects to a server with these answers.
func dial(t *testing.T, p Protocol, answers ...string) (*Session, error) {
	t.Helper()
	d := &Dialer{Protocol: p, Security: Plain, Timeout: time.Minute, Connect: answering(t, answers...)}
	return d.Dial(t.Context(), netip.Addr{})
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
		{IMAP, []string{"a BAD what"}, 0, "unexpected answer"},
		{IMAP, []string{"b OK in"}, 0, "unexpected answer"},
		{IMAP, []string{"HTTP/1.1 200 OK"}, 0, "unexpected answer"},
		{IMAP, nil, 0, "connection lost"},
		{IMAP, []string{"never"}, 0, "no answer in time"},
		{POP3, []string{"+OK", "+OK in"}, Accepted, ""},
		{POP3, []string{"+OK", "-ERR [AUTH] no"}, Denied, ""},
		{POP3, []string{"-ERR [LOGIN-DELAY] later"}, Busy, ""},
		{POP3, []string{"+OK", "-ERR [SYS/TEMP] later"}, Busy, ""},
		{POP3, []string{"+OK", "OK"}, 0, "unexpected answer"},
	} {
		t.Run(fmt.Sprint(test.protocol, test.answers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := map[Protocol]string{IMAP: "* OK hi", POP3: "+OK hi"}[test.protocol]
				s, err := dial(t, test.protocol, append([]string{greeting}, test.answers...)...)
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

// A token is sent as XOAUTH2 wants it.
func TestToken(t *testing.T) {
	sent := make(chan string, 1)
	d := &Dialer{Protocol: IMAP, Security: Plain, Timeout: time.Minute, Connect: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			io.WriteString(theirs, "* OK hi\r\n")
			line, _ := bufio.NewReader(theirs).ReadString('\n')
			sent <- line
			io.WriteString(theirs, "a OK in\r\n")
		}()
		return ours, nil
	}}
	s, err := d.Dial(t.Context(), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if answer, err := s.Login("x", "y", XOAuth2); err != nil || answer != Accepted {
		t.Errorf("%v, %v", answer, err)
	}
	want := "a AUTHENTICATE XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=x\x01auth=Bearer y\x01\x01")) + "\r\n"
	if got := <-sent; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A server that sends no challenge is noticed.
func TestChallenge(t *testing.T) {
	for answer, reason := range map[string]string{
		"+ PHhAeT4=": "", "+ ": "unexpected answer", "a NO [UNAVAILABLE] later": "unexpected answer", "* BYE": "unexpected answer", "never": "no answer in time",
	} {
		synctest.Test(t, func(t *testing.T) {
			s, err := dial(t, IMAP, "* OK hi", answer)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Challenge(); reason == "" && err != nil || reason != "" && (err == nil || Reason(err) != reason) {
				t.Errorf("%q: %v", answer, err)
			}
		})
	}
}

// A server that closes a connection without commands, or sends something, is noticed.
func TestSendNothing(t *testing.T) {
	for answers, reason := range map[string]string{"* OK hi\r\n": "", "* OK hi\r\n* BYE idle\r\n": "unexpected answer", "* OK hi\r\n|": "connection lost"} {
		synctest.Test(t, func(t *testing.T) {
			greeting, ends := strings.CutSuffix(answers, "|")
			d := &Dialer{Protocol: IMAP, Security: Plain, Timeout: time.Second, Connect: func(context.Context) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					io.WriteString(theirs, greeting)
					if !ends {
						_, _ = io.Copy(io.Discard, theirs)
					}
					theirs.Close()
				}()
				return ours, nil
			}}
			s, err := d.Dial(t.Context(), netip.Addr{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			begun := time.Now()
			err = s.SendNothing(t.Context(), time.Minute)
			if reason == "" && (err != nil || time.Since(begun) != time.Minute) || reason != "" && (err == nil || Reason(err) != reason) {
				t.Errorf("%q: %v after %v", answers, err, time.Since(begun))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := (&Dialer{Protocol: IMAP, Security: Plain, Timeout: time.Second, Connect: answering(t, "* OK hi", "never")}).Dial(ctx, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		cancel()
		if err := s.SendNothing(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
	})
}

func TestGreetings(t *testing.T) {
	for greeting, reason := range map[string]string{
		"* BYE [UNAVAILABLE] later": "refused by the greeting", "-ERR [SYS/TEMP] later": "refused by the greeting",
		"220 smtp": "unexpected answer", "never": "no answer in time",
	} {
		synctest.Test(t, func(t *testing.T) {
			if _, err := dial(t, IMAP, greeting); err == nil || Reason(err) != reason {
				t.Errorf("%q: %v", greeting, err)
			}
		})
	}
}

func TestTransfers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := dial(t, IMAP, "* OK hi", "* 1 FETCH (BODY[] {5}\r\nhello)\r\na OK done", "* 1 FETCH (BODY[] {x}", "a NO none")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if n, err := s.Download(); n != 5 || err != nil {
			t.Errorf("fetched %d, %v", n, err)
		}
		if _, err := s.Download(); !errors.Is(err, errUnexpected) {
			t.Errorf("invalid size: %v", err)
		}
		if err := s.Upload("INBOX", 10); !errors.Is(err, errUnexpected) {
			t.Errorf("refused upload: %v", err)
		}
	})
}

// The end of the context ends a read.
func TestContextEndsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &Dialer{Protocol: IMAP, Security: Plain, Timeout: time.Hour, Connect: answering(t, "* OK hi", "never")}
		s, err := c.Dial(ctx, netip.Addr{})
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

func TestProxyHeader(t *testing.T) {
	for _, addr := range []string{"203.0.113.7", "2001:db8:1:2::3"} {
		ours, theirs := net.Pipe()
		c := &Dialer{Protocol: IMAP, Security: Plain, ProxyHeader: true, Timeout: time.Minute, Connect: func(context.Context) (net.Conn, error) { return ours, nil }}
		header := make(chan string, 1)
		go func() {
			defer theirs.Close()
			h, err := proxyproto.Read(bufio.NewReader(theirs))
			if err != nil {
				header <- err.Error()
				return
			}
			header <- h.SourceAddr.(*net.TCPAddr).IP.String()
			io.WriteString(theirs, "* OK hi\r\n")
		}()
		s, err := c.Dial(t.Context(), netip.MustParseAddr(addr))
		if got := <-header; err != nil || got != addr {
			t.Fatalf("got PROXY header with %q, %v, want %s", got, err, addr)
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
	if strings.Contains(fmt.Sprint(unexpected("login", []byte("\x1b[31m"))), "\x1b") {
		t.Error("an error contains control characters of a server")
	}
}
