package dialogue

import (
	"bytes"
	"errors"
	"strings"
)

// Greet writes the greeting. It holds no timestamp, so APOP is not offered: the
// stamp would have to be the backend's.
func (POP3) Greet(c *Conn, _ Offer) error { return c.writeLine("+OK Ready.") }

// Hear answers commands until one asks for something the gate must decide. The
// name that USER gave lives on its stack: it does not outlast STLS or a denial.
func (p POP3) ReadRequest(c *Conn, o Offer) (Request, error) {
	var user string
	for {
		line, err := c.readCommand()
		if err != nil {
			return Request{}, p.reportEnd(c, err)
		}
		r, done, err := pop3Command(c, o, line, &user)
		if errors.Is(err, errSyntax) && c.countBadCommand() {
			err = ErrBadCommands
		}
		switch {
		case err == nil:
			c.badCommands = 0 // clients try commands to see what there is
		case !errors.Is(err, errSyntax):
			return Request{}, p.reportEnd(c, err)
		}
		if done {
			return r, nil
		}
	}
}

// leave says goodbye to a client that has gone too far, if it is still there, and
// returns err. A client that speaks another protocol is told nothing.
func (POP3) reportEnd(c *Conn, err error) error {
	switch {
	case errors.Is(err, ErrBadCommands):
		_ = c.writeLine("-ERR Too many invalid commands.")
	case errors.Is(err, ErrTooLong):
		_ = c.writeLine("-ERR Line too long.")
	}
	return err
}

// pop3Command answers one command. It reports done with the request the gate
// must decide, errSyntax for a bad command that has been answered, and any
// other error when the conversation is over. The argument begins behind the
// first space and keeps all others: they may belong to a password.
func pop3Command(c *Conn, o Offer, line []byte, user *string) (r Request, done bool, err error) {
	word, arg, hasArg := bytes.Cut(line, []byte{' '})
	switch strings.ToUpper(string(word)) {
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
		return pop3Auth(c, o, arg)
	}
	return r, false, pop3Bad(c, "Unknown command, or not before login.")
}

// pop3StartTLS answers STLS (RFC 2595 section 4). Octets that came in clear text
// behind it end the conversation, as in IMAP.
func pop3StartTLS(c *Conn, o Offer, hasArg bool) (r Request, done bool, err error) {
	switch {
	case hasArg || !o.StartTLS:
		return r, false, pop3Bad(c, "STLS is not possible now.")
	case c.Buffered() > 0:
		return r, false, ErrHostile
	}
	return Request{Kind: StartTLS}, true, nil
}

// pop3User remembers the name for PASS (RFC 1939 section 7). Who cannot come in
// now is turned away here: a refusal of PASS costs users their stored password.
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

// pop3Pass makes the request out of the name and this password, every space of
// which counts.
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

// pop3Auth hears AUTH (RFC 5034 section 4). Without a mechanism it lists them,
// which is how clients asked before there was CAPA.
func pop3Auth(c *Conn, o Offer, arg []byte) (r Request, done bool, err error) {
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
	r, err = readSASL(c, mechanism, ir)
	switch {
	case errors.Is(err, errCancelled):
		return r, false, c.writeLine("-ERR Authentication cancelled.")
	case errors.Is(err, errBase64), errors.Is(err, errResponse):
		return r, false, pop3Bad(c, "Invalid SASL response.")
	}
	return r, err == nil, err
}

// pop3Bad refuses a command. It returns errSyntax, or the error that ends the
// conversation.
func pop3Bad(c *Conn, text string) error {
	if err := c.writeLine("-ERR ", text); err != nil {
		return err
	}
	return errSyntax
}

// pop3Privacy refuses to see a password in clear text.
func pop3NeedsTLS(c *Conn) error { return c.writeLine("-ERR Logging in needs TLS, begin with STLS.") }

// pop3Denial is the line that denies a login.
func pop3Denial(string) string { return "-ERR [AUTH] " + deniedText }

// Answer tells the client what became of r. The response codes are those of
// RFC 2449 section 8 and RFC 3206.
func (POP3) Answer(c *Conn, _ Request, a Answer) error {
	switch a {
	case AnswerTLS:
		return c.writeLine("+OK Begin TLS negotiation now.")
	case AnswerDenied:
		return c.writeLine(pop3Denial(""))
	case AnswerBusy:
		return c.writeLine("-ERR [SYS/TEMP] ", busyText, c.refSuffix())
	case AnswerDelay:
		return c.writeLine("-ERR [LOGIN-DELAY] ", busyText, c.refSuffix())
	case AnswerShutdown:
		return c.writeLine("-ERR [SYS/TEMP] ", closingTexts[a])
	case AnswerTries:
		return c.writeLine("-ERR ", triesText, c.refSuffix())
	}
	return c.writeLine("-ERR ", closingTexts[a])
}
