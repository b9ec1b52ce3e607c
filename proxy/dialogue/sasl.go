package dialogue

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
)

// errResponse is a SASL message that does not follow its mechanism.
var errResponse = errors.New("malformed SASL message")

// clientFirst are the mechanisms in which the client sends the first message, each
// with the function that finds the user name in it. The proxy reads that message
// before it dials a backend.
var clientFirst = map[string]func(response []byte) (string, error){
	sasl.Plain:       plainUser,
	sasl.OAuthBearer: gs2User,
	sasl.External:    func(b []byte) (string, error) { return string(b), nil },
	"XOAUTH2":        xoauth2User,
	"SCRAM-SHA-1":    scramUser,
	"SCRAM-SHA-256":  scramUser,
	"SCRAM-SHA-512":  scramUser,
}

// showsSecret reports whether an eavesdropper on the exchange can log in with what
// was sent.
func showsSecret(mechanism string) bool {
	switch mechanism {
	case sasl.Plain, sasl.Login, "XOAUTH2", sasl.OAuthBearer:
		return true
	}
	return false
}

// failsByChallenge reports whether a second challenge means wrong credentials: it
// has the reason, the client must acknowledge it, and the refusal comes only then
// (RFC 7628 section 3.2.3).
func failsByChallenge(mechanism string) bool {
	return mechanism == "XOAUTH2" || mechanism == sasl.OAuthBearer
}

// plainMessage makes the message of PLAIN (RFC 4616). plainMessage, plainParts and
// readLOGIN do what go-sasl's PLAIN and LOGIN do. They do not use it, because it
// passes passwords as strings, which are further copies and cannot be wiped. The
// tests compare both.
func plainMessage(user string, password []byte) Secret {
	return slices.Concat(Secret{0}, Secret(user), Secret{0}, password)
}

// plainParts splits a PLAIN message without copying it. ok is false if it does not
// have three parts.
func plainParts(message []byte) (authzid, user, password []byte, ok bool) {
	authzid, rest, _ := bytes.Cut(message, []byte{0})
	user, password, ok = bytes.Cut(rest, []byte{0})
	return authzid, user, password, ok && bytes.IndexByte(password, 0) < 0
}

// plainUser returns the user name in a PLAIN message.
func plainUser(message []byte) (string, error) {
	_, user, _, ok := plainParts(message)
	if !ok {
		return "", errResponse
	}
	return string(user), nil
}

// xoauth2User returns the user name in user=<name>^Aauth=Bearer <token>^A^A.
func xoauth2User(message []byte) (string, error) {
	name, rest, ok := bytes.Cut(message, []byte{1})
	name, named := bytes.CutPrefix(name, []byte("user="))
	if !ok || !named || !bytes.HasSuffix(rest, []byte{1, 1}) {
		return "", errResponse
	}
	return string(name), nil
}

// gs2User returns the authorization identity in a GS2 header (RFC 5801 section 4):
// n,a=<name>, and more.
func gs2User(message []byte) (string, error) {
	parts := strings.SplitN(string(message), ",", 3)
	if len(parts) != 3 || parts[0] != "n" && parts[0] != "y" {
		return "", errResponse
	}
	if parts[1] == "" {
		return "", nil
	}
	name, ok := strings.CutPrefix(parts[1], "a=")
	if !ok {
		return "", errResponse
	}
	return gs2Name(name)
}

// scramUser returns the user name in a SCRAM client-first message (RFC 5802
// section 7): n,,n=<name>,r=<nonce>.
func scramUser(message []byte) (string, error) {
	if authzid, err := gs2User(message); err != nil || unfitName(authzid) {
		return "", errResponse
	}
	parts := strings.SplitN(string(message), ",", 4)
	if len(parts) != 4 || !strings.HasPrefix(parts[2], "n=") {
		return "", errResponse
	}
	return gs2Name(parts[2][len("n="):])
}

// gs2Name decodes the escapes of a name: =2C is a comma, =3D an equals sign.
func gs2Name(s string) (string, error) {
	name := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s)
	if strings.Count(s, "=") != strings.Count(s, "=2C")+strings.Count(s, "=3D") {
		return "", errResponse
	}
	return name, nil
}

// cramUser returns the user name in a CRAM-MD5 response (RFC 2195): name, space,
// digest.
func cramUser(message []byte) (string, error) {
	i := bytes.LastIndexByte(message, ' ')
	if i < 0 {
		return "", errResponse
	}
	return string(message[:i]), nil
}

// unfitName reports whether a user name has control characters, a NUL or invalid
// UTF-8, which no account has. Backends have truncated names at NUL, replayed line
// ends as commands and crashed on the rest.
func unfitName(name string) bool {
	return !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r == 0x7f
	})
}

// unfitPassword reports whether a password has octets that a login command cannot
// carry.
func unfitPassword(password []byte) bool { return bytes.ContainsAny(password, "\x00\r\n") }

// decodeBase64 decodes one line of an exchange, strictly: backends have lost
// other users' logins over sloppy base64 (CVE-2025-59028).
func decodeBase64(line []byte) (Secret, error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	if bytes.ContainsAny(line, "\r\n") {
		return nil, errBase64 // the decoder ignores them
	}
	n, err := base64.StdEncoding.Strict().Decode(b, line)
	if err != nil {
		return nil, errBase64
	}
	return b[:n], nil
}

// framing is how a protocol puts the base64 texts of an exchange into lines.
type framing interface {
	// challenge returns what precedes and what follows a text of n octets from a
	// server.
	challenge(n int) (before, after string)
	// response is the same for a text from a client.
	response(n int) (before, after string)
	// noResponse is an initial response of no octets, framed.
	noResponse() string
	// read reads a client's text.
	read(c *Conn) ([]byte, error)
}

// lineFraming is the framing of IMAP and POP3: a text is a line (RFC 3501 section
// 6.2.2, RFC 5034 section 4).
type lineFraming struct{}

func (lineFraming) challenge(int) (before, after string) { return "+ ", "" }
func (lineFraming) response(int) (before, after string)  { return "", "" }
func (lineFraming) noResponse() string                   { return "=" }
func (lineFraming) read(c *Conn) ([]byte, error)         { return c.readLine(maxSASL) }

// readResponse reads one response of an exchange from the client: base64, or the
// "*" that cancels.
func (c *Conn) readResponse(f framing) (Secret, error) {
	text, err := f.read(c)
	defer Secret(text).Wipe() // of ManageSieve it is a copy outside of the read buffer
	if err != nil {
		return nil, err
	}
	if string(text) == "*" {
		return nil, errCancelled
	}
	return decodeBase64(text)
}

// challenge writes a challenge and reads the response.
func (c *Conn) challenge(f framing, text string) (Secret, error) {
	before, after := f.challenge(base64.StdEncoding.EncodedLen(len(text)))
	if err := c.writeEncoded([]byte(text), after, before); err != nil {
		return nil, err
	}
	return c.readResponse(f)
}

// readSASL reads an exchange as far as possible without a backend: the whole
// message for PLAIN and LOGIN, the first one for other mechanisms in which the
// client sends first, and nothing for the rest. If ir is empty there was no
// initial response: an empty one is "=" (RFC 4959 section 3).
//
// errCancelled, errBase64 and errResponse are the client's mistakes and must be
// answered; any other error ends the dialogue.
func readSASL(c *Conn, f framing, mechanism string, ir []byte) (r Request, err error) {
	r = Request{Kind: Login, Method: mechanism, Mechanism: mechanism, HasResponse: len(ir) > 0, Response: Secret{}}
	if r.HasResponse && string(ir) != "=" {
		if r.Response, err = decodeBase64(ir); err != nil {
			return r, err
		}
	}
	if mechanism == sasl.Login {
		return readLOGIN(c, f, r)
	}
	user, first := clientFirst[mechanism]
	if !first {
		return r, nil
	}
	if !r.HasResponse {
		if r.Response, err = c.challenge(f, ""); err != nil {
			return r, err
		}
		r.HasResponse = true
	}
	if r.Account, err = user(r.Response); err != nil {
		return r, fmt.Errorf("%s: %w", mechanism, err)
	}
	r.Unfit = unfitName(r.Account) || len(r.Response) > maxResponse
	if mechanism == sasl.Plain {
		authzid, _, password, _ := plainParts(r.Response)
		r.Unfit = r.Unfit || unfitName(string(authzid)) || unfitPassword(password)
	}
	return r, nil
}

// readLOGIN reads the two responses of LOGIN, an obsolete mechanism that Outlook
// and old phones use. An initial response takes the place of the first one.
func readLOGIN(c *Conn, f framing, r Request) (Request, error) {
	name := r.Response
	var err error
	if !r.HasResponse {
		if name, err = c.challenge(f, "Username:"); err != nil {
			return r, err
		}
	}
	password, err := c.challenge(f, "Password:")
	if err != nil {
		return r, err
	}
	defer password.Wipe()
	return passwordRequest(sasl.Login, string(name), password), nil
}

// passwordRequest makes the request for a name and a password that the client has
// sent by any method. It is replayed as PLAIN.
func passwordRequest(method, user string, password []byte) Request {
	message := plainMessage(user, password)
	return Request{
		Kind: Login, Account: user,
		Method: method, Mechanism: sasl.Plain, Response: message, HasResponse: true,
		Unfit: unfitName(user) || unfitPassword(password) || len(message) > maxResponse,
	}
}
