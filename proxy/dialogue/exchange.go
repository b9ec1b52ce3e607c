package dialogue

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

// maxReplyLines bounds the lines a backend may send before it has answered a
// command.
const maxReplyLines = 64

// badReply is the error for a reply of the backend that the protocol does not
// allow. It quotes the start of the line.
func badReply(step string, line []byte) error {
	return fmt.Errorf("backend: %s: unexpected reply %.100q", step, line)
}

// exchange is one login at a backend. Its challenges and responses are relayed
// between the backend and the client.
type exchange struct {
	up, c   *Conn
	framing framing
	r       Request
	account string
	denial  func(tag string) string // the line that denies without the backend
	// secretSent means that the client has sent its token or proof.
	secretSent bool
	// failed means that the backend has reported wrong credentials in a
	// challenge. Its final reply is still to come.
	failed bool
	// cancelled means that the client cancelled, and the backend has the "*".
	cancelled bool
}

func newExchange(up, c *Conn, r Request, f framing, denial func(tag string) string) *exchange {
	return &exchange{up: up, c: c, framing: f, r: r, account: r.Account, denial: denial, secretSent: r.HasResponse}
}

// start sends the command that begins the exchange.
func (e *exchange) start(command string) error {
	before, after := e.framing.response(len(e.r.Mechanism))
	command += " " + before + e.r.Mechanism + after
	switch {
	case !e.r.HasResponse:
		return e.up.writeLine(command)
	case len(e.r.Response) == 0:
		return e.up.writeLine(command, " ", e.framing.noResponse())
	}
	return e.respond(e.r.Response, command, " ")
}

// respond sends a response to the backend, behind the parts.
func (e *exchange) respond(response []byte, parts ...string) error {
	before, after := e.framing.response(base64.StdEncoding.EncodedLen(len(response)))
	return e.up.writeEncoded(response, after, append(parts, before)...)
}

// cancel sends the response that cancels the exchange to the backend.
func (e *exchange) cancel() error {
	before, after := e.framing.response(1)
	return e.up.writeLine(before, "*", after)
}

// round relays one challenge to the client and its response to the backend. line is the
// challenge as it came, challenge its base64 text. It returns over = true when the
// result is known without a further reply of the backend.
//
// If the client cancels or sends invalid base64, the backend gets "*" and its
// reply answers the client. If the client closes the connection, the exchange
// ends: the attempt is denied if the challenge has reported wrong credentials,
// else its result is unknown.
func (e *exchange) round(line, challenge []byte) (reply Reply, over bool, err error) {
	if e.r.Mechanism == sasl.Plain {
		return reply, true, badReply("login", line)
	}
	e.failed = e.failed || e.failsCredentials(challenge)
	if err := e.c.writeLine(string(line)); err != nil {
		return e.reply(e.result(Unavailable), nil), true, nil
	}
	response, err := e.c.readResponse(e.framing)
	defer response.Wipe()
	switch {
	case errors.Is(err, errCancelled), errors.Is(err, errBase64):
		e.cancelled = true
		return reply, false, e.cancel()
	case err != nil:
		return e.reply(e.result(Unavailable), nil), true, nil
	case e.readCRAM(response):
		return e.denyLocally(), true, nil
	case e.r.Account == "" && e.account != "" && e.r.Admits != nil && !e.r.Admits(e.account):
		return e.reply(Refused, nil), true, nil
	}
	e.secretSent = true
	return reply, false, e.respond(response)
}

// failsCredentials reports whether a challenge means wrong credentials, which the
// client must acknowledge before the final reply: any challenge after the token
// in OAuth, and one that begins with e= in SCRAM (RFC 5802 section 7).
func (e *exchange) failsCredentials(challenge []byte) bool {
	if failsByChallenge(e.r.Mechanism) {
		return e.secretSent
	}
	message, err := decodeBase64(challenge)
	return err == nil && strings.HasPrefix(e.r.Mechanism, "SCRAM-") && bytes.HasPrefix(message, []byte("e="))
}

// readCRAM takes the user name from a response of CRAM-MD5, and reports whether
// the name must not reach a backend. It ignores other mechanisms.
func (e *exchange) readCRAM(response []byte) (unfit bool) {
	if e.r.Mechanism != "CRAM-MD5" {
		return false
	}
	user, err := cramUser(response)
	e.account = user
	return err == nil && unfitName(user)
}

// backendFailed is the outcome when the backend closes or violates the protocol.
// If it has reported wrong credentials before, the attempt is denied.
func (e *exchange) backendFailed(err error) (Reply, error) {
	if e.failed {
		return e.denyLocally(), nil
	}
	return Reply{}, err
}

// otherRefusals are texts of Dovecot, in lower case, that refuse a login without
// a check of the credentials, under response codes that elsewhere mean wrong
// ones: without TLS ("Plaintext authentication disallowed ...", in 2.4
// "Cleartext ..."), and for a mechanism that it does not support.
var otherRefusals = [][]byte{[]byte("text authentication dis"), []byte("unsupported authentication mechanism")}

// isAboutCredentials reports whether a refusal with this text can mean wrong
// credentials.
func isAboutCredentials(text []byte) bool {
	lower := bytes.ToLower(text)
	return !slices.ContainsFunc(otherRefusals, func(refusal []byte) bool { return bytes.Contains(lower, refusal) })
}

// result is the result of the attempt if the backend's final reply alone means
// found.
func (e *exchange) result(found Result) Result {
	switch {
	case e.failed && found != Accepted:
		return Denied
	case e.cancelled && found != Accepted:
		return Cancelled
	}
	return found
}

// denyLocally is the outcome when the proxy denies the login itself.
func (e *exchange) denyLocally() Reply {
	return e.reply(Denied, []byte(e.denial(e.r.Tag)+"\r\n"))
}

func (e *exchange) reply(result Result, raw []byte) Reply {
	return Reply{Result: result, Account: e.account, Raw: raw}
}
