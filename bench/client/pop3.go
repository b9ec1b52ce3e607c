package client

import "bytes"

// pop3 sends a command and expects +OK.
func (s *Session) pop3(command string) error {
	if err := s.writeLine(command); err != nil {
		return err
	}
	l, err := s.readLine()
	if err == nil && !bytes.HasPrefix(l, []byte("+OK")) {
		err = unexpected(command, l)
	}
	return err
}

// pop3Login logs in. A server may refuse at USER already.
func (s *Session) pop3Login(account, secret string, how Method) (Answer, error) {
	lines := []string{"USER " + account, "PASS " + secret}
	if how != Login {
		start, err := saslStart(account, secret, how)
		if err != nil {
			return 0, err
		}
		lines = []string{"AUTH " + start}
	}
	for _, line := range lines {
		if err := s.writeLine(line); err != nil {
			return 0, err
		}
		l, err := s.readLine()
		if err != nil {
			return 0, err
		}
		if bytes.HasPrefix(l, []byte("+OK")) {
			continue
		}
		s.Refusal = shown(l)
		switch {
		case bytes.HasPrefix(l, []byte("-ERR [SYS/TEMP]")), bytes.HasPrefix(l, []byte("-ERR [LOGIN-DELAY]")), bytes.HasPrefix(l, []byte("-ERR [IN-USE]")):
			return Busy, nil
		case bytes.HasPrefix(l, []byte("-ERR")):
			return Denied, nil
		default:
			return 0, unexpected("login", l)
		}
	}
	return Accepted, nil
}
