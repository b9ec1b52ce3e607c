package dialogue

import (
	"errors"

	"github.com/emersion/go-imap/v2"
)

// IMAP is the dialogue of RFC 3501 and RFC 9051 before login.
type IMAP struct{}

// Name is "imap".
func (IMAP) Name() string { return "imap" }

// Title is "IMAP".
func (IMAP) Title() string { return "IMAP" }

// ALPN is "imap".
func (IMAP) ALPN() string { return "imap" }

// The response codes (RFC 5530) of the proxy's own answers, as they precede the
// text.
const (
	imapUnavailable          = "[" + string(imap.ResponseCodeUnavailable) + "] "
	imapAuthenticationFailed = "[" + string(imap.ResponseCodeAuthenticationFailed) + "] "
	imapPrivacyRequired      = "[" + string(imap.ResponseCodePrivacyRequired) + "] "
)

// Greet writes the greeting with the capabilities, which saves clients a round
// trip (RFC 3501 section 7.1).
func (IMAP) Greet(c *Conn, o Offer) error {
	return c.writeLine("* OK [CAPABILITY ", o.imapCapabilities(), "] Ready.")
}

// GreetTLS writes nothing: the client asks for the capabilities.
func (IMAP) GreetTLS(*Conn, Offer) error { return nil }

// ReadRequest answers commands until one needs a decision of the proxy.
func (p IMAP) ReadRequest(c *Conn, o Offer) (Request, error) {
	r, err := readRequest(c, func(line []byte) (Request, bool, error) { return imapCommand(c, o, line) })
	return r, p.reportEnd(c, err)
}

// reportEnd writes BYE if the client's mistakes end the dialogue, and returns
// err. A client of another protocol gets no answer.
func (IMAP) reportEnd(c *Conn, err error) error {
	switch {
	case errors.Is(err, ErrBadCommands):
		_ = c.writeLine("* BYE Too many invalid commands.")
	case errors.Is(err, ErrTooLong):
		_ = c.writeLine("* BYE Line or literal too long.")
	}
	return err
}

// imapCommand handles one command. It returns done = true with a request that
// needs a decision, errSyntax for a bad command that has been answered, and any
// other error when the dialogue is over.
func imapCommand(c *Conn, o Offer, line []byte) (r Request, done bool, err error) {
	tag, rest, err := scanTag(line)
	if err != nil {
		return r, false, imapBad(c, "*", newIMAPArgs(c, line), "Invalid tag.")
	}
	name, args, err := scanAtom(rest)
	a := newIMAPArgs(c, args)
	if err != nil {
		a.rest = rest
		return r, false, imapBad(c, tag, a, "Invalid command.")
	}
	switch name {
	case "LOGIN":
		return imapLogin(c, o, tag, a)
	case "AUTHENTICATE":
		return imapAuthenticate(c, o, tag, a)
	case "STARTTLS":
		return imapStartTLS(c, o, tag, a)
	case "ID":
		return imapID(c, o, tag, a)
	case "ENABLE":
		return r, false, imapEnable(c, tag, a)
	}
	return imapNoArguments(c, o, tag, name, a)
}

// imapNoArguments answers the commands that take no arguments, and the unknown
// ones.
func imapNoArguments(c *Conn, o Offer, tag, name string, a *imapArgs) (r Request, done bool, err error) {
	valid := name == "CAPABILITY" || name == "NOOP" || name == "LOGOUT"
	if !valid || len(a.rest) > 0 {
		return r, false, imapBad(c, tag, a, "Unknown command, or not before login.")
	}
	switch name {
	case "CAPABILITY":
		c.sentCapabilities = true
		return r, false, c.writeLine("* CAPABILITY ", o.imapCapabilities(), "\r\n", tag, " OK Capability completed.")
	case "LOGOUT":
		return Request{Kind: Logout}, true, c.writeLine("* BYE Logging out.\r\n", tag, " OK Logout completed.")
	}
	return r, false, c.writeLine(tag, " OK NOOP completed.")
}

// imapEnable answers ENABLE (RFC 5161), which has no effect before login.
func imapEnable(c *Conn, tag string, a *imapArgs) error {
	if _, ok := trailingLiteral(a.rest); ok || len(a.rest) == 0 {
		return imapBad(c, tag, a, "Invalid arguments.")
	}
	return c.writeLine("* ENABLED\r\n", tag, " OK Enabled.")
}

// imapID answers ID (RFC 2971). The answer does not show whether the client is a
// forwarder.
func imapID(c *Conn, o Offer, tag string, a *imapArgs) (r Request, done bool, err error) {
	var fields forwardedFields
	switch err := a.id(fields.set); {
	case errors.Is(err, errSyntax):
		return r, false, imapBad(c, tag, a, "Invalid arguments.")
	case err != nil:
		return r, false, err
	}
	late := c.identified
	c.identified = true
	if !fields.report(o, late) {
		return Request{Kind: NotAdmitted, Tag: tag}, true, nil
	}
	return r, false, c.writeLine("* ID NIL\r\n", tag, " OK ID completed.")
}

// imapStartTLS handles STARTTLS (RFC 3501 section 6.2.1). Octets that came in
// clear text behind it must never be taken for what TLS protects (CVE-2011-0411):
// they end the dialogue.
func imapStartTLS(c *Conn, o Offer, tag string, a *imapArgs) (r Request, done bool, err error) {
	switch {
	case len(a.rest) > 0 || !o.StartTLS:
		return r, false, imapBad(c, tag, a, "STARTTLS is not possible now.")
	case c.Buffered() > 0:
		return r, false, ErrHostile
	}
	return Request{Kind: StartTLS, Tag: tag}, true, nil
}

// imapLogin reads the two strings of LOGIN (RFC 3501 section 6.2.3). Where TLS is
// required first, synchronising literals are not requested.
func imapLogin(c *Conn, o Offer, tag string, a *imapArgs) (r Request, done bool, err error) {
	if !o.secure() {
		return r, false, imapNeedsTLS(c, tag, a)
	}
	user, err := a.astring()
	if err == nil {
		err = a.space()
	}
	var password []byte
	if err == nil {
		password, err = a.astring()
	}
	if err == nil {
		err = a.end()
	}
	switch {
	case errors.Is(err, errSyntax):
		return r, false, imapBad(c, tag, a, "Invalid arguments.")
	case err != nil:
		return r, false, err
	}
	defer Secret(password).Wipe()
	r = passwordRequest("LOGIN", string(user), password)
	r.Tag = tag
	return r, true, nil
}

// imapAuthenticate handles AUTHENTICATE (RFC 3501 section 6.2.2, RFC 4959).
func imapAuthenticate(c *Conn, o Offer, tag string, a *imapArgs) (r Request, done bool, err error) {
	mechanism, ir, err := scanAtom(a.rest)
	if _, ok := trailingLiteral(a.rest); ok || err != nil {
		return r, false, imapBad(c, tag, a, "Invalid arguments.")
	}
	switch o.access(mechanism, o.imapMechanisms()) {
	case needsTLS:
		return r, false, imapNeedsTLS(c, tag, a)
	case notOffered:
		return r, false, c.writeLine(tag, " NO Unsupported authentication mechanism.")
	}
	r, err = readSASL(c, lineFraming{}, mechanism, ir)
	r.Tag = tag
	switch {
	case errors.Is(err, errCancelled):
		return r, false, c.writeLine(tag, " BAD Authentication cancelled.")
	case errors.Is(err, errBase64), errors.Is(err, errResponse):
		a.rest = nil
		return r, false, imapBad(c, tag, a, "Invalid SASL response.")
	}
	return r, err == nil, err
}

// imapBad refuses a command: it reads the rest of it and answers BAD. It returns
// errSyntax, or the error that ends the dialogue.
func imapBad(c *Conn, tag string, a *imapArgs, text string) error {
	if err := a.discard(); err != nil {
		return err
	}
	if err := c.writeLine(tag, " BAD ", text); err != nil {
		return err
	}
	return errSyntax
}

// imapNeedsTLS refuses a password in clear text.
func imapNeedsTLS(c *Conn, tag string, a *imapArgs) error {
	if err := a.discard(); err != nil {
		return err
	}
	return c.writeLine(tag, " NO ", imapPrivacyRequired, "Logging in needs TLS, begin with STARTTLS.")
}

// imapDenial is the line that denies a login.
func imapDenial(tag string) string { return tag + " NO " + imapAuthenticationFailed + deniedText }

// Answer writes the reply to r.
func (IMAP) Answer(c *Conn, r Request, a Answer) error {
	switch {
	case a == AnswerTLS:
		return c.writeLine(r.Tag, " OK Begin TLS negotiation now.")
	case a == AnswerDenied:
		return c.writeLine(imapDenial(r.Tag))
	case a == AnswerBusy && r.Tag == "":
		return c.writeLine("* BYE ", imapUnavailable, busyText, c.refSuffix())
	case a == AnswerBusy || a == AnswerDelay:
		return c.writeLine(r.Tag, " NO ", imapUnavailable, busyText, c.refSuffix())
	case a == AnswerTries:
		return c.writeLine("* BYE ", triesText, c.refSuffix())
	}
	return c.writeLine("* BYE ", closingTexts[a])
}

// Texts for clients of all protocols. JavaMail looks for "Account is temporarily
// unavailable", fetchmail for "wait". Without them they may ask the user for
// another password.
const (
	busyText   = "Account is temporarily unavailable, please wait and try again later."
	deniedText = "Authentication failed."
	triesText  = "Too many failed logins."
)

// closingTexts precede the close of the connection and answer no command.
var closingTexts = map[Answer]string{
	AnswerTimeout:  "Disconnected for inactivity.",
	AnswerShutdown: "Server is shutting down, please try again later.",
}
