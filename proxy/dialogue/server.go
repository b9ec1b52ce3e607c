package dialogue

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxReplies bounds the lines a backend may send before it has answered a login.
const maxReplyLines = 64

// badReply is a reply of the backend that the protocol does not allow. The
// start of it is quoted for the log.
func badReply(step string, line []byte) error {
	return fmt.Errorf("backend: %s: unexpected reply %.100q", step, line)
}

// exchange is one login at a backend, relayed round by round.
type exchange struct {
	up, c   *Conn
	r       Request
	account string
	denial  func(tag string) string // the gate's own, for what the backend must not see
	// shown says that the client has sent its token or proof.
	secretSent bool
	// failed says that the backend has found the credentials wrong, though it
	// has not said so in its final reply yet.
	failed bool
	// cancelled says that the exchange was broken off; the backend knows.
	cancelled bool
}

func newExchange(up, c *Conn, r Request, denial func(tag string) string) *exchange {
	return &exchange{up: up, c: c, r: r, account: r.Account, denial: denial, secretSent: r.HasResponse}
}

// start sends the command that begins the exchange. An initial response that is
// empty is "=" (RFC 4959 section 3, RFC 5034 section 4).
func (e *exchange) start(command string) error {
	switch {
	case !e.r.HasResponse:
		return e.up.writeLine(command, " ", e.r.Mechanism)
	case len(e.r.Response) == 0:
		return e.up.writeLine(command, " ", e.r.Mechanism, " =")
	}
	return e.up.writeEncoded(e.r.Response, command, " ", e.r.Mechanism, " ")
}

// round hands one challenge to the client and its response to the backend. It
// reports over when the outcome is settled without another word from there.
//
// A client that cancels, or sends no base64, is answered by the backend, which
// is sent "*" for both. A client that leaves ends the exchange: the attempt is
// denied if the challenge could only mean that, else nothing is known.
func (e *exchange) round(challenge []byte) (reply Reply, over bool, err error) {
	if e.r.Mechanism == "PLAIN" {
		return reply, true, badReply("login", challenge)
	}
	e.failed = e.failed || e.failsCredentials(challenge)
	if err := e.c.writeLine(string(challenge)); err != nil {
		return e.reply(e.result(Unavailable), nil), true, nil
	}
	response, err := e.c.readResponse()
	defer response.Wipe()
	switch {
	case errors.Is(err, errCancelled), errors.Is(err, errBase64):
		e.cancelled = true
		return reply, false, e.up.writeLine("*")
	case err != nil:
		return e.reply(e.result(Unavailable), nil), true, nil
	case e.readCRAM(response):
		return e.denyLocally(), true, nil
	case e.r.Account == "" && e.account != "" && e.r.Admits != nil && !e.r.Admits(e.account):
		return e.reply(Refused, nil), true, nil
	}
	e.secretSent = true
	return reply, false, e.up.writeEncoded(response)
}

// refused says whether a challenge tells that the credentials are wrong, which
// the client has yet to acknowledge: any but the first in OAuth, and one that
// begins with e= in SCRAM (RFC 5802 section 7).
func (e *exchange) failsCredentials(challenge []byte) bool {
	if failsByChallenge(e.r.Mechanism) {
		return e.secretSent
	}
	message, err := decodeBase64(bytes.TrimPrefix(challenge, []byte("+ ")))
	return err == nil && strings.HasPrefix(e.r.Mechanism, "SCRAM-") && bytes.HasPrefix(message, []byte("e="))
}

// unfit takes the user name out of the first response of CRAM-MD5, and says
// whether it must not reach a backend.
func (e *exchange) readCRAM(response []byte) bool {
	if e.r.Mechanism != "CRAM-MD5" {
		return false
	}
	user, err := cramUser(response)
	e.account = user
	return err == nil && unfitName(user)
}

// broken is the reply when the backend breaks off or speaks nonsense. If it had
// found the credentials wrong before, that stands.
func (e *exchange) backendFailed(err error) (Reply, error) {
	if e.failed {
		return e.denyLocally(), nil
	}
	return Reply{}, err
}

// notJudged are texts with which Dovecot refuses to judge credentials under a code
// that others use for wrong ones: without TLS ("Plaintext authentication
// disallowed ...", in 2.4 "Cleartext ..."), and by a mechanism it does not know.
var otherRefusals = [][]byte{[]byte("text authentication dis"), []byte("unsupported authentication mechanism")}

// judged says whether a refusal with this text is about the credentials.
func isAboutCredentials(text []byte) bool {
	lower := bytes.ToLower(text)
	return !slices.ContainsFunc(otherRefusals, func(words []byte) bool { return bytes.Contains(lower, words) })
}

// verdict is what the backend's reply, which by itself means found, means for
// the attempt.
func (e *exchange) result(found Result) Result {
	switch {
	case e.failed && found != Accepted:
		return Denied
	case e.cancelled && found != Accepted:
		return Cancelled
	}
	return found
}

// denied is the reply by which the gate itself denies the login.
func (e *exchange) denyLocally() Reply { return e.reply(Denied, []byte(e.denial(e.r.Tag)+"\r\n")) }

func (e *exchange) reply(result Result, raw []byte) Reply {
	return Reply{Result: result, Account: e.account, Raw: raw}
}
