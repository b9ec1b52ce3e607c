package client

import (
	"bufio"
	"bytes"
	"net"
	"sync"
	"time"
)

// Method is how a password is shown.
type Method string

// The methods.
const (
	Login        Method = "login"        // IMAP LOGIN, POP3 USER and PASS
	Authenticate Method = "authenticate" // SASL PLAIN with an initial response
)

// Answer is what became of a login.
type Answer int

// The answers.
const (
	Accepted Answer = iota
	Denied          // the password is wrong
	Busy            // to be tried again later: [UNAVAILABLE], [SYS/TEMP], [LOGIN-DELAY] and the like
)

// Session is one connection to a target. It is not safe for concurrent use.
type Session struct {
	net.Conn
	Resumed bool // TLS began with a ticket

	protocol Protocol
	r        *bufio.Reader
	out      []byte
	stop     func() bool
}

// readers lends buffers to sessions.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// use goes on with c.
func (s *Session) use(c net.Conn) {
	s.Conn = c
	if s.r == nil {
		s.r = readers.Get().(*bufio.Reader)
	}
	s.r.Reset(c)
}

// Patience gives whatever comes next so much time, all together.
func (s *Session) Patience(d time.Duration) { _ = s.SetDeadline(time.Now().Add(d)) }

// Close ends the session without a word.
func (s *Session) Close() error {
	s.stop()
	if s.r != nil {
		s.r.Reset(nil)
		readers.Put(s.r)
		s.r = nil
	}
	return s.Conn.Close()
}

// greeting reads the first line.
func (s *Session) greeting() error {
	l, err := s.hear()
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(l, []byte("* OK")), bytes.HasPrefix(l, []byte("+OK")):
		return nil
	case bytes.HasPrefix(l, []byte("* BYE")), bytes.HasPrefix(l, []byte("-ERR")):
		return errTurnedAway
	}
	return nonsense("greeting", l)
}

// startTLS asks for TLS; the handshake comes next.
func (s *Session) startTLS() error {
	if s.protocol == POP3 {
		return s.pop3("STLS")
	}
	return s.imap("STARTTLS")
}

// Login shows a password. An error means that there was no answer.
func (s *Session) Login(account, secret string, how Method) (Answer, error) {
	if s.protocol == POP3 {
		return s.pop3Login(account, secret, how)
	}
	return s.imapLogin(account, secret, how)
}

// Noop asks for an answer and waits for it.
func (s *Session) Noop() error {
	if s.protocol == POP3 {
		return s.pop3("NOOP")
	}
	return s.imap("NOOP")
}

// Leave says goodbye, waits for the answer and for the end of the connection,
// and closes the session.
func (s *Session) Leave() error {
	defer s.Close()
	if s.protocol == POP3 {
		if err := s.pop3("QUIT"); err != nil {
			return err
		}
	} else if err := s.imap("LOGOUT"); err != nil {
		return err
	}
	_, _ = s.r.ReadByte() // however it ends
	return nil
}

// hear returns the next line without its end, valid until the next read.
func (s *Session) hear() ([]byte, error) {
	l, err := s.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(l, "\r\n"), nil
}

// say sends the parts as one line.
func (s *Session) say(parts ...string) error {
	s.out = s.out[:0]
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
	s.out = append(s.out, "\r\n"...)
	_, err := s.Write(s.out)
	return err
}
