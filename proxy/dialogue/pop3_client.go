package dialogue

import (
	"bytes"
	"errors"
	"strings"
)

// POP3 is the dialogue of RFC 1939, RFC 2449 and RFC 5034 before login.
type POP3 struct{}

// Name is "pop3".
func (POP3) Name() string { return "pop3" }

// Title is "POP3".
func (POP3) Title() string { return "POP3" }

// ALPN is "pop3".
func (POP3) ALPN() string { return "pop3" }

// The response codes of RFC 2449 section 8.1 and RFC 3206.
const (
	pop3Auth       = "[AUTH]"
	pop3InUse      = "[IN-USE]"
	pop3LoginDelay = "[LOGIN-DELAY]"
	pop3System     = "[SYS/" // and TEMP or PERM
	pop3SystemTemp = pop3System + "TEMP]"
)

// Greet writes the greeting. It has no timestamp, so APOP is not offered: the
// timestamp would have to be the backend's. It offers XCLIENT as Dovecot does.
func (POP3) Greet(c *Conn, o Offer) error {
	if o.Forwarder {
		return c.writeLine("+OK [XCLIENT] Ready.")
	}
	return c.writeLine("+OK Ready.")
}

// GreetTLS writes nothing: the client asks for the capabilities.
func (POP3) GreetTLS(*Conn, Offer) error { return nil }

// ReadRequest answers commands until one needs a decision of the proxy. The name
// from USER is a local variable: it is forgotten after STLS and after a denial.
func (p POP3) ReadRequest(c *Conn, o Offer) (Request, error) {
	var user string
	r, err := readRequest(c, func(line []byte) (Request, bool, error) {
		r, done, err := pop3Command(c, o, line, &user)
		if err == nil {
			c.badCommands = 0 // clients try commands to learn what is supported
		}
		return r, done, err
	})
	return r, p.reportEnd(c, err)
}

// reportEnd writes -ERR if the client's mistakes end the dialogue, and returns
// err. A client of another protocol gets no answer.
func (POP3) reportEnd(c *Conn, err error) error {
	switch {
	case errors.Is(err, ErrBadCommands):
		_ = c.writeLine("-ERR Too many invalid commands.")
	case errors.Is(err, ErrTooLong):
		_ = c.writeLine("-ERR Line too long.")
	}
	return err
}

// pop3Command handles one command. It returns done = true with a request that
// needs a decision, errSyntax for a bad command that has been answered, and any
// other error when the dialogue is over. The argument begins behind the first
// space and keeps all others: they may be part of a password.
func pop3Command(c *Conn, o Offer, line []byte, user *string) (r Request, done bool, err error) {
	name, arg, hasArg := bytes.Cut(line, []byte{' '})
	switch strings.ToUpper(string(name)) {
	case "CAPA":
		return r, false, c.writeLine("+OK\r\n", strings.Join(o.pop3Capabilities(), "\r\n"), "\r\n.")
	case "QUIT":
		return Request{Kind: Logout}, true, c.writeLine("+OK Logging out.")
	case "STLS":
		return pop3StartTLS(c, o, hasArg)
	case "USER":
		return pop3User(c, o, arg, user)
	case "PASS":
		return pop3Pass(c, o, arg, hasArg, user)
	case "AUTH":
		return pop3Authenticate(c, o, arg)
	case "XCLIENT":
		return pop3XClient(c, o, arg)
	}
	return r, false, pop3Bad(c, pop3Unknown)
}

// pop3XClient handles XCLIENT, by which a proxy names its client. To others it is an unknown
// command.
func pop3XClient(c *Conn, o Offer, arg []byte) (r Request, done bool, err error) {
	var fields forwardedFields
	fields.setAll(arg)
	switch admitted := fields.report(o, false); {
	case !o.Forwarder:
		return r, false, pop3Bad(c, pop3Unknown)
	case !admitted:
		return Request{Kind: NotAdmitted}, true, nil
	}
	return r, false, c.writeLine("+OK")
}

// pop3StartTLS handles STLS (RFC 2595 section 4). Octets that came in clear text
// behind it end the dialogue, as in IMAP.
func pop3StartTLS(c *Conn, o Offer, hasArg bool) (r Request, done bool, err error) {
	switch {
	case hasArg || !o.StartTLS:
		return r, false, pop3Bad(c, "STLS is not possible now.")
	case c.Buffered() > 0:
		return r, false, ErrHostile
	}
	return Request{Kind: StartTLS}, true, nil
}

// pop3User keeps the name for PASS (RFC 1939 section 7). An account that may not
// log in now is refused here: after a refusal of PASS, clients drop the stored
// password.
func pop3User(c *Conn, o Offer, arg []byte, user *string) (r Request, done bool, err error) {
	switch {
	case !o.secure():
		return r, false, pop3NeedsTLS(c)
	case len(arg) == 0:
		return r, false, pop3Bad(c, "Missing user name.")
	}
	*user = string(arg)
	if o.Admits != nil && !o.Admits(*user) {
		return Request{Kind: NotAdmitted, Account: *user, Method: capaUser}, true, nil
	}
	return r, false, c.writeLine("+OK")
}

// pop3Pass makes the request from the name and this password, of which every
// space counts.
func pop3Pass(c *Conn, o Offer, arg []byte, hasArg bool, user *string) (r Request, done bool, err error) {
	switch {
	case !o.secure():
		return r, false, pop3NeedsTLS(c)
	case *user == "":
		return r, false, pop3Bad(c, "No user name given.")
	case !hasArg:
		return r, false, pop3Bad(c, "Missing password.")
	}
	return passwordRequest(capaUser, *user, arg), true, nil
}

// pop3Authenticate handles AUTH (RFC 5034 section 4). Without a mechanism it
// lists them, as servers did before CAPA.
func pop3Authenticate(c *Conn, o Offer, arg []byte) (r Request, done bool, err error) {
	if len(arg) == 0 {
		return r, false, c.writeLine("+OK\r\n", strings.Join(append(o.pop3Advertised(), "."), "\r\n"))
	}
	mechanism, ir, err := scanAtom(arg)
	if err != nil {
		return r, false, pop3Bad(c, "Invalid arguments.")
	}
	switch o.access(mechanism, o.pop3Mechanisms()) {
	case needsTLS:
		return r, false, pop3NeedsTLS(c)
	case notOffered:
		return r, false, c.writeLine("-ERR Unsupported authentication mechanism.")
	}
	r, err = readSASL(c, lineFraming{}, mechanism, ir)
	switch {
	case errors.Is(err, errCancelled):
		return r, false, c.writeLine("-ERR Authentication cancelled.")
	case errors.Is(err, errBase64), errors.Is(err, errResponse):
		return r, false, pop3Bad(c, "Invalid SASL response.")
	}
	return r, err == nil, err
}

const pop3Unknown = "Unknown command, or not before login."

// pop3Bad refuses a command. It returns errSyntax, or the error that ends the
// dialogue.
func pop3Bad(c *Conn, text string) error {
	if err := c.writeLine("-ERR ", text); err != nil {
		return err
	}
	return errSyntax
}

// pop3NeedsTLS refuses a password in clear text.
func pop3NeedsTLS(c *Conn) error { return c.writeLine("-ERR Logging in needs TLS, begin with STLS.") }

// pop3Denial is the line that denies a login.
func pop3Denial(string) string { return "-ERR " + pop3Auth + " " + deniedText }

// Answer writes the reply to the client's request, which POP3 does not name.
func (POP3) Answer(c *Conn, _ Request, a Answer) error {
	switch a {
	case AnswerTLS:
		return c.writeLine("+OK Begin TLS negotiation now.")
	case AnswerDenied:
		return c.writeLine(pop3Denial(""))
	case AnswerBusy:
		return c.writeLine("-ERR ", pop3SystemTemp, " ", busyText, c.refSuffix())
	case AnswerDelay:
		return c.writeLine("-ERR ", pop3LoginDelay, " ", busyText, c.refSuffix())
	case AnswerShutdown:
		return c.writeLine("-ERR ", pop3SystemTemp, " ", closingTexts[a])
	case AnswerTries:
		return c.writeLine("-ERR ", triesText, c.refSuffix())
	}
	return c.writeLine("-ERR ", closingTexts[a])
}
