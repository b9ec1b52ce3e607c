package client

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
)

// tag is the same for all commands: one is sent at a time.
const tag = "a"

// imap sends a command and wants OK.
func (s *Session) imap(command string) error {
	if err := s.say(tag, " ", command); err != nil {
		return err
	}
	l, err := s.tagged()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(l, []byte("OK")) {
		return nonsense(command, l)
	}
	return nil
}

// tagged reads up to the tagged answer and returns it without the tag.
func (s *Session) tagged() ([]byte, error) {
	for {
		l, err := s.hear()
		if err != nil {
			return nil, err
		}
		if rest, found := bytes.CutPrefix(l, []byte(tag+" ")); found {
			return rest, nil
		}
		if !bytes.HasPrefix(l, []byte("* ")) {
			return nil, nonsense("answer", l)
		}
	}
}

// imapLogin logs in.
func (s *Session) imapLogin(account, secret string, how Method) (Answer, error) {
	var err error
	if how == Authenticate {
		err = s.say(tag, " AUTHENTICATE PLAIN ", initial(account, secret))
	} else {
		err = s.say(tag, " LOGIN ", quoted(account), " ", quoted(secret))
	}
	if err != nil {
		return 0, err
	}
	l, err := s.tagged()
	if err != nil {
		return 0, err
	}
	switch {
	case bytes.HasPrefix(l, []byte("OK")):
		return Accepted, nil
	case bytes.HasPrefix(l, []byte("NO [UNAVAILABLE]")), bytes.HasPrefix(l, []byte("NO [LIMIT]")), bytes.HasPrefix(l, []byte("NO [INUSE]")):
		return Busy, nil
	case bytes.HasPrefix(l, []byte("NO")):
		return Denied, nil
	}
	return 0, nonsense("login", l)
}

// initial is the initial response of SASL PLAIN.
func initial(account, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + secret))
}

// quoted is text as a quoted string.
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
// size. IMAP only, as all that moves bytes: behind the login a proxy does not
// know one protocol from the other.
func (s *Session) Download() (int64, error) {
	if err := s.say(tag, " FETCH 1 BODY.PEEK[]"); err != nil {
		return 0, err
	}
	l, err := s.hear()
	if err != nil {
		return 0, err
	}
	open := bytes.LastIndexByte(l, '{')
	if open < 0 || !bytes.HasPrefix(l, []byte("* ")) {
		return 0, nonsense("fetch", l)
	}
	size, err := strconv.ParseInt(string(bytes.TrimSuffix(l[open+1:], []byte("}"))), 10, 64)
	if err != nil {
		return 0, nonsense("fetch", l)
	}
	if err := s.swallow(size); err != nil {
		return 0, err
	}
	if _, err := s.hear(); err != nil { // the closing bracket
		return 0, err
	}
	if l, err = s.tagged(); err == nil && !bytes.HasPrefix(l, []byte("OK")) {
		err = nonsense("fetch", l)
	}
	return size, err
}

// Upload appends a message of that size to a mailbox.
func (s *Session) Upload(mailbox string, size int64) error {
	if err := s.say(tag, " APPEND ", quoted(mailbox), fmt.Sprintf(" {%d}", size)); err != nil {
		return err
	}
	if l, err := s.hear(); err != nil {
		return err
	} else if !bytes.HasPrefix(l, []byte("+")) {
		return nonsense("append", l)
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
	if err := s.say(); err != nil {
		return err
	}
	l, err := s.tagged()
	if err == nil && !bytes.HasPrefix(l, []byte("OK")) {
		err = nonsense("append", l)
	}
	return err
}
