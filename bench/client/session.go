package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
)

// Method is how a secret is sent.
type Method string

// The methods.
const (
	Login        Method = "login"        // IMAP LOGIN, POP3 USER and PASS
	Authenticate Method = "authenticate" // SASL PLAIN with an initial response
	XOAuth2      Method = "xoauth2"      // SASL XOAUTH2 with an initial response; the secret is a token
)

// Answer is the answer to a login.
type Answer int

// The answers.
const (
	Accepted Answer = iota
	Denied          // the password is wrong
	Busy            // temporary: [UNAVAILABLE], [SYS/TEMP], [LOGIN-DELAY] and the like
)

// Session is one connection to a target. It is not safe for concurrent use.
type Session struct {
	net.Conn
	Resumed bool   // the TLS handshake resumed an earlier session
	Refusal string // line that answered the last login, unless that was accepted

	protocol Protocol
	lastLine string // with which the server announced that it closes the connection
	r        *bufio.Reader
	out      []byte
	stop     func() bool
}

// readers is a pool of buffers for sessions.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// blocks is a pool of buffers for the contents of messages.
var blocks = sync.Pool{New: func() any { b := bytes.Repeat([]byte("A line of an uploaded message.\r\n"), 2048); return &b }}

// setConn makes s read and write on c.
func (s *Session) setConn(c net.Conn) {
	s.Conn = c
	if s.r == nil {
		s.r = readers.Get().(*bufio.Reader)
	}
	s.r.Reset(c)
}

// SetTimeout limits everything from now on to d in sum.
func (s *Session) SetTimeout(d time.Duration) { _ = s.SetDeadline(time.Now().Add(d)) }

// Close closes the connection without a logout.
func (s *Session) Close() error {
	s.stop()
	if s.r != nil {
		s.r.Reset(nil)
		readers.Put(s.r)
		s.r = nil
	}
	return s.Conn.Close()
}

// readGreeting reads the first line.
func (s *Session) readGreeting() error {
	l, err := s.readLine()
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(l, []byte("* OK")), bytes.HasPrefix(l, []byte("+OK")):
		return nil
	case bytes.HasPrefix(l, []byte("* BYE")), bytes.HasPrefix(l, []byte("-ERR")):
		s.lastLine = shown(l)
		return errRefused
	}
	return unexpected("greeting", l)
}

// startTLS sends STARTTLS or STLS; the handshake comes next.
func (s *Session) startTLS() error {
	if s.protocol == POP3 {
		return s.pop3("STLS")
	}
	return s.imap("STARTTLS")
}

// Login logs in. An error means that there was no answer.
func (s *Session) Login(account, secret string, how Method) (Answer, error) {
	s.Refusal = ""
	if s.protocol == POP3 {
		a, err := s.pop3Login(account, secret, how)
		return a, s.failed(StepLogin, err)
	}
	a, err := s.imapLogin(account, secret, how)
	return a, s.failed(StepLogin, err)
}

// saslStart returns the mechanism and the initial response in base64 of a SASL
// method.
func saslStart(account, secret string, how Method) (string, error) {
	mechanism, response := "XOAUTH2", []byte("user="+account+"\x01auth=Bearer "+secret+"\x01\x01")
	if how != XOAuth2 {
		var err error
		if mechanism, response, err = sasl.NewPlainClient("", account, secret).Start(); err != nil {
			return "", err
		}
	}
	return mechanism + " " + base64.StdEncoding.EncodeToString(response), nil
}

// SendNothing keeps the connection open for d and sends nothing. An error means that
// the server did not keep it open or sent something. The end of ctx, which must
// be that of Dial, ends it early.
func (s *Session) SendNothing(ctx context.Context, d time.Duration) error {
	s.SetTimeout(d)
	if ctx.Err() != nil { // SetTimeout may have replaced the deadline that the end of ctx has set
		return context.Cause(ctx)
	}
	l, err := s.readLine()
	var timeout net.Error
	switch {
	case err == nil:
		return unexpected("no command", l)
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil
	}
	return err
}

// Noop sends NOOP and waits for the answer.
func (s *Session) Noop() error {
	if s.protocol == POP3 {
		return s.pop3("NOOP")
	}
	return s.imap("NOOP")
}

// Logout sends LOGOUT or QUIT, waits for the answer and the end of the
// connection, and closes the session.
func (s *Session) Logout() error {
	defer s.Close()
	if s.protocol == POP3 {
		if err := s.pop3("QUIT"); err != nil {
			return s.failed(StepLogout, err)
		}
	} else if err := s.imap("LOGOUT"); err != nil {
		return s.failed(StepLogout, err)
	}
	_, _ = s.r.ReadByte() // waits for the end, whatever its error
	return nil
}

// readLine returns the next line without its end, valid until the next read.
func (s *Session) readLine() ([]byte, error) {
	l, err := s.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(l, "\r\n"), nil
}

// writeLine sends the parts as one line.
func (s *Session) writeLine(parts ...string) error {
	s.out = s.out[:0]
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
	s.out = append(s.out, "\r\n"...)
	_, err := s.Write(s.out)
	return err
}

// discard reads n octets and drops them.
func (s *Session) discard(n int64) error {
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for n > 0 {
		got, err := s.r.Read((*block)[:min(n, int64(len(*block)))])
		if err != nil {
			return err
		}
		n -= int64(got)
	}
	return nil
}
