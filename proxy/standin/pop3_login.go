package standin

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
)

// errLogin is the error of a login with an unknown name, a wrong password or an
// authorization identity other than the name.
var errLogin = errors.New("authentication failed")

// user stores the name for PASS (RFC 1939 section 7). All of arg is the name, spaces
// included.
func (s *pop3Session) user(arg string) error {
	if arg == "" {
		s.err("", "Name missing")
		return nil
	}
	s.name = arg
	s.ok("Send PASS")
	return nil
}

// pass logs in with the name from USER. All of arg is the password. After a failure the
// client must send USER again.
func (s *pop3Session) pass(arg string) error {
	if s.name == "" {
		s.err("", "USER first")
		return nil
	}
	name := s.name
	s.name = ""
	s.answerLogin(s.login(name, arg))
	return nil
}

// auth answers AUTH PLAIN (RFC 5034, RFC 4616), with or without initial response.
// Without a mechanism it lists those supported.
func (s *pop3Session) auth(arg string) error {
	mechanism, line, hasResponse := strings.Cut(arg, " ")
	switch strings.ToUpper(mechanism) {
	case "":
		s.multi("Mechanisms follow", sasl.Plain)
		return nil
	case sasl.Plain:
	default:
		s.err("", "Unsupported mechanism")
		return nil
	}
	server := sasl.NewPlainServer(s.plain)
	for {
		var response []byte // nil without initial response
		if hasResponse {
			var ok bool
			if response, ok = s.decodeResponse(line); !ok {
				return nil
			}
		}
		challenge, done, err := server.Next(response)
		if done || err != nil {
			s.answerLogin(err)
			return nil
		}
		fmt.Fprintf(s.w, "+ %s\r\n", base64.StdEncoding.EncodeToString(challenge))
		if line, err = s.readLine(); err != nil {
			return err
		}
		hasResponse = true
	}
}

// decodeResponse decodes a SASL response (RFC 5034 section 4). If the client has
// cancelled or the line is not base64, it answers -ERR and returns false.
func (s *pop3Session) decodeResponse(line string) (response []byte, ok bool) {
	switch line {
	case "*":
		s.err("", "Authentication cancelled")
		return nil, false
	case "=": // an empty initial response
		return []byte{}, true
	}
	response, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil {
		s.err("", "Invalid base64")
		return nil, false
	}
	return response, true
}

// plain checks the credentials of SASL PLAIN. The authorization identity must be empty
// or the same as the name.
func (s *pop3Session) plain(identity, name, secret string) error {
	if name == "" || identity != "" && identity != name {
		return errLogin
	}
	return s.login(name, secret)
}

// login checks the password, calls the Login hook and opens the maildrop.
func (s *pop3Session) login(name, secret string) error {
	user := s.users[name]
	accepted := user != nil && subtle.ConstantTimeCompare([]byte(user.secret), []byte(secret)) == 1
	s.options.loggedIn(Login{Protocol: "pop3", Account: name, Accepted: accepted, Peer: s.peer})
	if !accepted {
		return errLogin
	}
	s.drop = user.maildrop()
	return nil
}

// answerLogin answers a login that returned err.
func (s *pop3Session) answerLogin(err error) {
	if err != nil {
		s.err("AUTH", "Authentication failed")
		return
	}
	s.ok("Logged in")
}
