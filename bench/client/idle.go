package client

import (
	"bytes"
	"strconv"
	"time"
)

// Idle asks the mail server to say what happens. IMAP only.
func (s *Session) Idle() error {
	if err := s.say(tag, " IDLE"); err != nil {
		return err
	}
	l, err := s.hear()
	if err == nil && !bytes.HasPrefix(l, []byte("+")) {
		err = nonsense("idle", l)
	}
	return err
}

// Rung waits for the bench's mail server to say a line and returns when it was
// said, by that server's clock.
func (s *Session) Rung() (time.Time, error) {
	l, err := s.hear()
	if err != nil {
		return time.Time{}, err
	}
	text, isLine := bytes.CutPrefix(l, []byte("* OK "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	at, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || !isLine {
		return time.Time{}, nonsense("idling", l)
	}
	return time.Unix(0, at), nil
}
