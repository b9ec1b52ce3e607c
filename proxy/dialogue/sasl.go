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

// loginMech is the obsolete mechanism that asks for name and password one after
// the other. Outlook and old telephones use it.
const loginMech = "LOGIN"

// errResponse is a SASL message that does not follow its mechanism.
var errResponse = errors.New("malformed SASL message")

// clientFirst holds, for the mechanisms in which the client speaks first, how to
// find the user name in that message. The gate takes it before it dials.
var clientFirst = map[string]func(response []byte) (string, error){
	sasl.Plain:       plainUser,
	sasl.OAuthBearer: gs2User,
	sasl.External:    func(b []byte) (string, error) { return string(b), nil },
	"XOAUTH2":        xoauth2User,
	"SCRAM-SHA-1":    scramUser,
	"SCRAM-SHA-256":  scramUser,
	"SCRAM-SHA-512":  scramUser,
}

// showsSecret says whether whoever reads the exchange can use what it saw.
func showsSecret(mechanism string) bool {
	switch mechanism {
	case sasl.Plain, loginMech, "XOAUTH2", sasl.OAuthBearer:
		return true
	}
	return false
}

// failsInRounds says whether a second challenge means that the credentials are
// wrong: the server tells why, the client must acknowledge, and only then comes
// the refusal (RFC 7628 section 3.2.3).
func failsByChallenge(mechanism string) bool {
	return mechanism == "XOAUTH2" || mechanism == sasl.OAuthBearer
}

// plainMessage makes the message of PLAIN (RFC 4616). This and plainParts are not
// left to go-sasl, which leaves copies of the password behind.
func plainMessage(user string, password []byte) Secret {
	return slices.Concat(Secret{0}, Secret(user), Secret{0}, password)
}

// plainParts takes a PLAIN message apart. ok is false if it does not have three
// parts.
func plainParts(message []byte) (authzid, user, password []byte, ok bool) {
	authzid, rest, _ := bytes.Cut(message, []byte{0})
	user, password, ok = bytes.Cut(rest, []byte{0})
	return authzid, user, password, ok && bytes.IndexByte(password, 0) < 0
}

// plainUser takes the user name out of a PLAIN message.
func plainUser(message []byte) (string, error) {
	_, user, _, ok := plainParts(message)
	if !ok {
		return "", errResponse
	}
	return string(user), nil
}

// xoauth2User takes the user name out of user=<name>^Aauth=Bearer <token>^A^A.
func xoauth2User(message []byte) (string, error) {
	name, rest, ok := bytes.Cut(message, []byte{1})
	name, named := bytes.CutPrefix(name, []byte("user="))
	if !ok || !named || !bytes.HasSuffix(rest, []byte{1, 1}) {
		return "", errResponse
	}
	return string(name), nil
}

// gs2User takes the authorization identity out of a GS2 header (RFC 5801
// section 4): n,a=<name>, and more.
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

// scramUser takes the user name out of a SCRAM client-first message (RFC 5802
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

// gs2Name undoes the escapes of a name: =2C is a comma, =3D an equals sign.
func gs2Name(s string) (string, error) {
	name := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s)
	if strings.Count(s, "=") != strings.Count(s, "=2C")+strings.Count(s, "=3D") {
		return "", errResponse
	}
	return name, nil
}

// cramUser takes the user name out of a CRAM-MD5 response (RFC 2195): name,
// space, digest.
func cramUser(message []byte) (string, error) {
	i := bytes.LastIndexByte(message, ' ')
	if i < 0 {
		return "", errResponse
	}
	return string(message[:i]), nil
}

// unfitName says whether a user name holds what no account has: control
// characters, a NUL or invalid UTF-8. Backends have cut names at NUL, replayed
// line ends as commands and crashed on the rest.
func unfitName(name string) bool {
	return !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r == 0x7f
	})
}

// unfitPassword says whether a password holds what cannot be carried.
func unfitPassword(password []byte) bool { return bytes.ContainsAny(password, "\x00\r\n") }

// decodeBase64 decodes one line of an exchange, strictly: backends have lost
// other users' logins over sloppy base64 (CVE-2025-59028).
func decodeBase64(line []byte) (Secret, error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	if bytes.ContainsAny(line, "\r\n") {
		return nil, errBase64 // the decoder reads over them
	}
	n, err := base64.StdEncoding.Strict().Decode(b, line)
	if err != nil {
		return nil, errBase64
	}
	return b[:n], nil
}

// readResponse reads one line of an exchange from the client: base64, or the
// "*" that cancels.
func (c *Conn) readResponse() (Secret, error) {
	line, err := c.readLine(maxSASL)
	if err != nil {
		return nil, err
	}
	if string(line) == "*" {
		return nil, errCancelled
	}
	return decodeBase64(line)
}

// ask sends a challenge and reads the response to it.
func (c *Conn) challenge(challenge string) (Secret, error) {
	if err := c.writeEncoded([]byte(challenge), "+ "); err != nil {
		return nil, err
	}
	return c.readResponse()
}

// hearSASL brings an exchange as far as the gate can without a backend: to the
// whole message for PLAIN and LOGIN, to the client's first for the mechanisms
// in which it speaks first, and nowhere for the rest. There was no initial
// response if ir is empty: an empty one is "=" (RFC 4959 section 3).
//
// errCancelled, errBase64 and errResponse are the client's mistakes, to be
// answered; any other error ends the conversation.
func readSASL(c *Conn, mechanism string, ir []byte) (r Request, err error) {
	r = Request{Kind: Login, Method: mechanism, Mechanism: mechanism, HasResponse: len(ir) > 0, Response: Secret{}}
	if r.HasResponse && string(ir) != "=" {
		if r.Response, err = decodeBase64(ir); err != nil {
			return r, err
		}
	}
	if mechanism == loginMech {
		return readLOGIN(c, r)
	}
	user, first := clientFirst[mechanism]
	if !first {
		return r, nil
	}
	if !r.HasResponse {
		if r.Response, err = c.challenge(""); err != nil {
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

// hearLogin holds the two rounds of LOGIN, the first of which an initial
// response takes the place of.
func readLOGIN(c *Conn, r Request) (Request, error) {
	name := r.Response
	var err error
	if !r.HasResponse {
		if name, err = c.challenge("Username:"); err != nil {
			return r, err
		}
	}
	password, err := c.challenge("Password:")
	if err != nil {
		return r, err
	}
	defer password.Wipe()
	return passwordRequest(loginMech, string(name), password), nil
}

// passwordRequest turns a name and a password, however they were sent, into a
// request that will be replayed as PLAIN.
func passwordRequest(method, user string, password []byte) Request {
	message := plainMessage(user, password)
	return Request{
		Kind: Login, Account: user,
		Method: method, Mechanism: sasl.Plain, Response: message, HasResponse: true,
		Unfit: unfitName(user) || unfitPassword(password) || len(message) > maxResponse,
	}
}
