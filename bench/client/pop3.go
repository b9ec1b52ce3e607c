package client

import (
	"bytes"
	"sync"
)

// pop3 sends a command and wants +OK.
func (s *Session) pop3(command string) error {
	if err := s.say(command); err != nil {
		return err
	}
	l, err := s.hear()
	if err == nil && !bytes.HasPrefix(l, []byte("+OK")) {
		err = nonsense(command, l)
	}
	return err
}

// pop3Login logs in. A refusal may come at USER already.
func (s *Session) pop3Login(account, secret string, how Method) (Answer, error) {
	lines := []string{"USER " + account, "PASS " + secret}
	if how == Authenticate {
		lines = []string{"AUTH PLAIN " + initial(account, secret)}
	}
	for _, line := range lines {
		if err := s.say(line); err != nil {
			return 0, err
		}
		l, err := s.hear()
		if err != nil {
			return 0, err
		}
		switch {
		case bytes.HasPrefix(l, []byte("+OK")):
		case bytes.HasPrefix(l, []byte("-ERR [SYS/TEMP]")), bytes.HasPrefix(l, []byte("-ERR [LOGIN-DELAY]")), bytes.HasPrefix(l, []byte("-ERR [IN-USE]")):
			return Busy, nil
		case bytes.HasPrefix(l, []byte("-ERR")):
			return Denied, nil
		default:
			return 0, nonsense("login", l)
		}
	}
	return Accepted, nil
}

// blocks lends room for what is sent and what is read and forgotten.
var blocks = sync.Pool{New: func() any { b := bytes.Repeat([]byte("knock, knock; who is there? 123\n"), 2048); return &b }}

// swallow reads n octets.
func (s *Session) swallow(n int64) error {
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
