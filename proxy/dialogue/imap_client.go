package dialogue

import (
	"errors"

	"github.com/emersion/go-imap/v2"
)

// Greet writes the greeting with the capabilities, which saves clients a round
// trip (RFC 3501 section 7.1).
func (IMAP) Greet(c *Conn, o Offer) error {
	return c.writeLine("* OK [CAPABILITY ", o.imapCapabilities(), "] Ready.")
}

// Hear answers commands until one asks for something the gate must decide.
func (p IMAP) ReadRequest(c *Conn, o Offer) (Request, error) {
	for {
		line, err := c.readCommand()
		if err != nil {
			return Request{}, p.reportEnd(c, err)
		}
		r, done, err := imapCommand(c, o, line)
		if errors.Is(err, errSyntax) && c.countBadCommand() {
			err = ErrBadCommands
		}
		if err != nil && !errors.Is(err, errSyntax) {
			return Request{}, p.reportEnd(c, err)
		}
		if done {
			return r, nil
		}
	}
}

// leave says goodbye to a client that has gone too far, if it is still there, and
// returns err. A client that speaks another protocol is told nothing.
func (IMAP) reportEnd(c *Conn, err error) error {
	switch {
	case errors.Is(err, ErrBadCommands):
		_ = c.writeLine("* BYE Too many invalid commands.")
	case errors.Is(err, ErrTooLong):
		_ = c.writeLine("* BYE Line or literal too long.")
	}
	return err
}

// imapCommand answers one command. It reports done with the request the gate
// must decide, errSyntax for a bad command that has been answered, and any
// other error when the conversation is over.
func imapCommand(c *Conn, o Offer, line []byte) (r Request, done bool, err error) {
	tag, rest, err := scanTag(line)
	if err != nil {
		return r, false, imapBad(c, "*", newIMAPArgs(c, line), "Invalid tag.")
	}
	word, args, err := scanAtom(rest)
	a := newIMAPArgs(c, args)
	if err != nil {
		a.rest = rest
		return r, false, imapBad(c, tag, a, "Invalid command.")
	}
	switch word {
	case "LOGIN":
		return imapLogin(c, o, tag, a)
	case "AUTHENTICATE":
		return imapAuthenticate(c, o, tag, a)
	case "STARTTLS":
		return imapStartTLS(c, o, tag, a)
	case "ID", "ENABLE":
		return r, false, imapNoEffect(c, tag, word, a)
	}
	return imapNoArguments(c, o, tag, word, a)
}

// imapBare answers the commands that take no arguments, and the unknown ones.
func imapNoArguments(c *Conn, o Offer, tag, word string, a *imapArgs) (r Request, done bool, err error) {
	known := word == "CAPABILITY" || word == "NOOP" || word == "LOGOUT"
	if !known || len(a.rest) > 0 {
		return r, false, imapBad(c, tag, a, "Unknown command, or not before login.")
	}
	switch word {
	case "CAPABILITY":
		c.sentCapabilities = true
		return r, false, c.writeLine("* CAPABILITY ", o.imapCapabilities(), "\r\n", tag, " OK Capability completed.")
	case "LOGOUT":
		return Request{Kind: Logout}, true, c.writeLine("* BYE Logging out.\r\n", tag, " OK Logout completed.")
	}
	return r, false, c.writeLine(tag, " OK NOOP completed.")
}

// imapIgnored answers ID (RFC 2971) and ENABLE (RFC 5161): clients send them
// before login, and nothing depends on them there.
func imapNoEffect(c *Conn, tag, word string, a *imapArgs) error {
	if word == "ENABLE" {
		if _, ok := trailingLiteral(a.rest); ok || len(a.rest) == 0 {
			return imapBad(c, tag, a, "Invalid arguments.")
		}
		return c.writeLine("* ENABLED\r\n", tag, " OK Enabled.")
	}
	switch err := a.id(); {
	case errors.Is(err, errSyntax):
		return imapBad(c, tag, a, "Invalid arguments.")
	case err != nil:
		return err
	}
	return c.writeLine("* ID NIL\r\n", tag, " OK ID completed.")
}

// imapStartTLS answers STARTTLS (RFC 3501 section 6.2.1). Octets that came in
// clear text behind it must never be taken for what TLS protects
// (CVE-2011-0411): whoever sends them is shown the door.
func imapStartTLS(c *Conn, o Offer, tag string, a *imapArgs) (r Request, done bool, err error) {
	switch {
	case len(a.rest) > 0 || !o.StartTLS:
		return r, false, imapBad(c, tag, a, "STARTTLS is not possible now.")
	case c.Buffered() > 0:
		return r, false, ErrHostile
	}
	return Request{Kind: StartTLS, Tag: tag}, true, nil
}

// imapLogin reads LOGIN's two strings (RFC 3501 section 6.2.3). Without TLS the
// literals are not even asked for.
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

// imapAuthenticate hears AUTHENTICATE (RFC 3501 section 6.2.2, RFC 4959).
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
	r, err = readSASL(c, mechanism, ir)
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

// imapBad refuses a command: it reads over what is left of it and answers BAD.
// It returns errSyntax, or the error that ends the conversation.
func imapBad(c *Conn, tag string, a *imapArgs, text string) error {
	if err := a.discard(); err != nil {
		return err
	}
	if err := c.writeLine(tag, " BAD ", text); err != nil {
		return err
	}
	return errSyntax
}

// imapPrivacy refuses to see a password in clear text.
func imapNeedsTLS(c *Conn, tag string, a *imapArgs) error {
	if err := a.discard(); err != nil {
		return err
	}
	return c.writeLine(tag, " NO [", string(imap.ResponseCodePrivacyRequired), "] Logging in needs TLS, begin with STARTTLS.")
}

// imapDenial is the line that denies a login.
func imapDenial(tag string) string {
	return tag + " NO [" + string(imap.ResponseCodeAuthenticationFailed) + "] " + deniedText
}

// Answer tells the client what became of r.
func (IMAP) Answer(c *Conn, r Request, a Answer) error {
	switch {
	case a == AnswerTLS:
		return c.writeLine(r.Tag, " OK Begin TLS negotiation now.")
	case a == AnswerDenied:
		return c.writeLine(imapDenial(r.Tag))
	case a == AnswerBusy && r.Tag == "":
		return c.writeLine("* BYE [", string(imap.ResponseCodeUnavailable), "] ", busyText, c.refSuffix())
	case a == AnswerBusy || a == AnswerDelay:
		return c.writeLine(r.Tag, " NO [", string(imap.ResponseCodeUnavailable), "] ", busyText, c.refSuffix())
	case a == AnswerTries:
		return c.writeLine("* BYE ", triesText, c.refSuffix())
	}
	return c.writeLine("* BYE ", closingTexts[a])
}

// What clients read, in both protocols. JavaMail looks for "Account is
// temporarily unavailable", fetchmail for "wait"; whoever finds neither may ask
// the user for another password.
const (
	busyText   = "Account is temporarily unavailable, please wait and try again later."
	deniedText = "Authentication failed."
	triesText  = "Too many failed logins."
)

// goodbyes are the words that end a conversation and answer no command.
var closingTexts = map[Answer]string{
	AnswerTimeout:  "Disconnected for inactivity.",
	AnswerShutdown: "Server is shutting down, please try again later.",
}
