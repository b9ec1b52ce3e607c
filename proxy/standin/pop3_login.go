package standin

import (
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// user remembers a name for PASS (RFC 1939 section 7). All of arg is the name,
// spaces included.
func (s *pop3Session) user(arg string) error {
	if arg == "" {
		s.err("", "Name missing")
		return nil
	}
	s.name = arg
	s.ok("Send PASS")
	return nil
}

// pass tries a password, which is all of arg. A failed one forgets the name.
func (s *pop3Session) pass(arg string) error {
	if s.name == "" {
		s.err("", "USER first")
		return nil
	}
	name := s.name
	s.name = ""
	s.login(name, arg)
	return nil
}

// auth runs SASL PLAIN (RFC 5034, RFC 4616), with or without initial response.
// Without a mechanism it lists what there is.
func (s *pop3Session) auth(arg string) error {
	mechanism, initial, hasInitial := strings.Cut(arg, " ")
	switch strings.ToUpper(mechanism) {
	case "":
		s.multi("Mechanisms follow", "PLAIN")
		return nil
	case "PLAIN":
	default:
		s.err("", "Unsupported mechanism")
		return nil
	}
	if !hasInitial {
		s.w.WriteString("+ \r\n")
		line, err := s.readLine()
		if err != nil {
			return err
		}
		initial = line
	}
	s.plain(initial)
	return nil
}

// plain judges the response of SASL PLAIN: authorisation identity, name and
// password with NUL between them. The identity must be the name, or absent.
func (s *pop3Session) plain(response string) {
	switch response {
	case "*":
		s.err("", "Authentication cancelled")
		return
	case "=": // an empty initial response, RFC 5034 section 4
		response = ""
	}
	message, err := base64.StdEncoding.Strict().DecodeString(response)
	if err != nil {
		s.err("", "Invalid base64")
		return
	}
	parts := strings.Split(string(message), "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[0] != "" && parts[0] != parts[1] {
		s.err("AUTH", "Authentication failed")
		return
	}
	s.login(parts[1], parts[2])
}

// login decides, tells whoever asked, and answers.
func (s *pop3Session) login(name, secret string) {
	user := s.users[name]
	accepted := user != nil && subtle.ConstantTimeCompare([]byte(user.secret), []byte(secret)) == 1
	s.options.loggedIn(Login{Protocol: "pop3", Account: name, Accepted: accepted, Peer: s.peer})
	if !accepted {
		s.err("AUTH", "Authentication failed")
		return
	}
	s.drop = user.maildrop()
	s.ok("Logged in")
}
