package client

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// tag is the tag of all commands: only one is sent at a time.
const tag = "a"

// imap sends a command and expects OK.
func (s *Session) imap(command string) error {
	if err := s.writeLine(tag, " ", command); err != nil {
		return err
	}
	return s.expectOK(command)
}

// expectOK reads up to the tagged answer to a command and expects OK.
func (s *Session) expectOK(command string) error {
	l, err := s.tagged()
	if err == nil && !bytes.HasPrefix(l, []byte("OK")) {
		err = unexpected(command, l)
	}
	return err
}

// tagged reads up to the tagged answer and returns it without the tag.
func (s *Session) tagged() ([]byte, error) {
	for {
		l, err := s.readLine()
		if err != nil {
			return nil, err
		}
		if rest, found := bytes.CutPrefix(l, []byte(tag+" ")); found {
			return rest, nil
		}
		if bytes.HasPrefix(l, []byte("* BYE")) {
			s.lastLine = shown(l)
		}
		if !bytes.HasPrefix(l, []byte("* ")) {
			return nil, unexpected("a command", l)
		}
	}
}

// expectContinuation expects a command continuation request.
func (s *Session) expectContinuation(command string) error {
	l, err := s.readLine()
	if err == nil && !bytes.HasPrefix(l, []byte("+")) {
		err = unexpected(command, l)
	}
	return err
}

// imapLogin logs in.
func (s *Session) imapLogin(account, secret string, how Method) (Answer, error) {
	if err := s.writeLogin(account, secret, how); err != nil {
		return 0, err
	}
	l, err := s.tagged()
	if err != nil {
		return 0, err
	}
	if bytes.HasPrefix(l, []byte("OK")) {
		return Accepted, nil
	}
	s.Refusal = shown(l)
	switch {
	case bytes.HasPrefix(l, []byte("NO [UNAVAILABLE]")), bytes.HasPrefix(l, []byte("NO [LIMIT]")), bytes.HasPrefix(l, []byte("NO [INUSE]")):
		return Busy, nil
	case bytes.HasPrefix(l, []byte("NO")):
		return Denied, nil
	}
	return 0, unexpected("login", l)
}

// writeLogin sends the command of a login.
func (s *Session) writeLogin(account, secret string, how Method) error {
	if how == Login {
		return s.writeLine(tag, " LOGIN ", quoted(account), " ", quoted(secret))
	}
	start, err := saslStart(account, secret, how)
	if err != nil {
		return err
	}
	return s.writeLine(tag, " AUTHENTICATE ", start)
}

// Challenge begins CRAM-MD5 and reads the challenge. No call of this package
// answers it. IMAP only.
func (s *Session) Challenge() error {
	if err := s.writeLine(tag, " AUTHENTICATE CRAM-MD5"); err != nil {
		return err
	}
	l, err := s.readLine()
	if err == nil && len(l) < len("+ x") || err == nil && !bytes.HasPrefix(l, []byte("+ ")) {
		err = unexpected("AUTHENTICATE", l)
	}
	return err
}

// quoted returns text as a quoted string.
func quoted(text string) string {
	b := make([]byte, 0, len(text)+2)
	b = append(b, '"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, text[i])
	}
	return string(append(b, '"'))
}

// Select opens a mailbox.
func (s *Session) Select(mailbox string) error { return s.imap("SELECT " + quoted(mailbox)) }

// Download fetches the first message of the selected mailbox and returns its
// size. Transfers exist for IMAP only: after the login, a proxy treats both
// protocols alike.
func (s *Session) Download() (int64, error) {
	if err := s.writeLine(tag, " FETCH 1 BODY.PEEK[]"); err != nil {
		return 0, err
	}
	l, err := s.readLine()
	if err != nil {
		return 0, err
	}
	open := bytes.LastIndexByte(l, '{')
	if open < 0 || !bytes.HasPrefix(l, []byte("* ")) {
		return 0, unexpected("FETCH", l)
	}
	size, err := strconv.ParseInt(string(bytes.TrimSuffix(l[open+1:], []byte("}"))), 10, 64)
	if err != nil {
		return 0, unexpected("FETCH", l)
	}
	if err := s.discard(size); err != nil {
		return 0, err
	}
	if _, err := s.readLine(); err != nil { // the closing bracket
		return 0, err
	}
	return size, s.expectOK("FETCH")
}

// Upload appends a message of that size to a mailbox. IMAP only.
func (s *Session) Upload(mailbox string, size int64) error {
	if err := s.writeLine(tag, " APPEND ", quoted(mailbox), fmt.Sprintf(" {%d}", size)); err != nil {
		return err
	}
	if err := s.expectContinuation("APPEND"); err != nil {
		return err
	}
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for left := size; left > 0; {
		part := min(left, int64(len(*block)))
		if _, err := s.Write((*block)[:part]); err != nil {
			return err
		}
		left -= part
	}
	if err := s.writeLine(); err != nil {
		return err
	}
	return s.expectOK("APPEND")
}

// Idle starts IDLE, which no call of this package ends. IMAP only.
func (s *Session) Idle() error {
	if err := s.writeLine(tag, " IDLE"); err != nil {
		return err
	}
	return s.expectContinuation("IDLE")
}

// Notification waits during IDLE for a line of the stand-in mail server and
// returns when it was sent, by the clock of that server.
func (s *Session) Notification() (time.Time, error) {
	l, err := s.readLine()
	if err != nil {
		return time.Time{}, err
	}
	text, isLine := bytes.CutPrefix(l, []byte("* OK "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	at, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || !isLine {
		return time.Time{}, unexpected("IDLE", l)
	}
	return time.Unix(0, at), nil
}
