package backend

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// capabilities returns the CAPABILITY response.
func (c *conn) capabilities() string {
	if c.secure {
		return "CAPABILITY IMAP4rev1 SASL-IR LITERAL+ " + mechanisms("AUTH=")
	}
	return "CAPABILITY IMAP4rev1 SASL-IR LITERAL+ STARTTLS " + mechanisms("AUTH=")
}

// imap serves IMAP until the client logs out or the connection ends.
func (c *conn) imap() {
	c.size = 4096
	err := c.writeLine("* OK [", c.capabilities(), "] ready.")
	for err == nil {
		var l []byte
		if l, err = c.readLine(); err != nil {
			return
		}
		tag, rest, _ := bytes.Cut(l, []byte(" "))
		verb, args, _ := bytes.Cut(rest, []byte(" "))
		var logout bool
		if logout, err = c.command(string(tag), strings.ToUpper(string(verb)), args); logout {
			return
		}
	}
}

// command executes a command and reports whether it was LOGOUT.
func (c *conn) command(tag, verb string, args []byte) (logout bool, err error) {
	switch verb {
	case "LOGIN":
		return false, c.imapLogin(tag, args)
	case "AUTHENTICATE":
		return false, c.imapAuthenticate(tag, args)
	case "LOGOUT":
		return true, c.writeLine("* BYE Logging out\r\n", tag, " OK Logout completed.")
	case "STARTTLS":
		if err := c.writeLine(tag, " OK Begin TLS negotiation now."); err != nil {
			return false, err
		}
		return false, c.startTLS()
	case "CAPABILITY":
		return false, c.writeLine("* ", c.capabilities(), "\r\n", tag, " OK Capability completed.")
	case "NOOP":
		return false, c.writeLine(tag, " OK NOOP completed.")
	case "IDLE":
		return false, c.idle(tag)
	case "SELECT", "EXAMINE":
		return false, c.selectBox(tag, args)
	case "FETCH":
		return false, c.fetch(tag)
	case "APPEND":
		return false, c.imapAppend(tag, args)
	}
	return false, c.writeLine(tag, " BAD Unknown command.")
}

// imapLogin reads name and password, each an atom, a quoted string or a literal.
func (c *conn) imapLogin(tag string, args []byte) error {
	var arguments [2]string
	for i := range arguments {
		if size, waits, is := literal(args); is && args[0] == '{' {
			if waits {
				if err := c.writeLine("+ OK"); err != nil {
					return err
				}
			}
			text, err := c.readLiteral(size)
			if err != nil {
				return err
			}
			arguments[i] = string(text)
			if args, err = c.readLine(); err != nil {
				return err
			}
			args = bytes.TrimPrefix(args, []byte(" "))
			continue
		}
		arguments[i], args = nextString(args)
	}
	return c.answerIMAPLogin(tag, arguments[0], arguments[1])
}

// nextString cuts an atom or a quoted string off args.
func nextString(args []byte) (string, []byte) {
	if len(args) == 0 || args[0] != '"' {
		w, rest, _ := bytes.Cut(args, []byte(" "))
		return string(w), rest
	}
	var text []byte
	for i := 1; i < len(args); i++ {
		switch {
		case args[i] == '\\' && i+1 < len(args):
			i++
			text = append(text, args[i])
		case args[i] == '"':
			return string(text), bytes.TrimPrefix(args[i+1:], []byte(" "))
		default:
			text = append(text, args[i])
		}
	}
	return string(text), nil
}

// imapAuthenticate is AUTHENTICATE.
func (c *conn) imapAuthenticate(tag string, args []byte) error {
	account, secret, err := c.authenticate(args)
	switch {
	case errors.Is(err, errMechanism):
		return c.writeLine(tag, " NO Unsupported authentication mechanism.")
	case errors.Is(err, errResponse):
		return c.writeLine(tag, " BAD Invalid response.")
	case err != nil:
		return err
	}
	return c.answerIMAPLogin(tag, account, secret)
}

// answerIMAPLogin checks the password and sends the result.
func (c *conn) answerIMAPLogin(tag, account, secret string) error {
	switch c.server.auth.check(c.server.ctx, account, secret) {
	case accepted:
		return c.writeLine(tag, " OK [CAPABILITY IMAP4rev1 LITERAL+ IDLE UIDPLUS] Logged in")
	case denied:
		return c.writeLine(tag, " NO [AUTHENTICATIONFAILED] Authentication failed.")
	}
	return c.writeLine(tag, " NO [UNAVAILABLE] Temporary authentication failure.")
}

// selectBox opens a mailbox. If its name is a number, it contains a message of
// that size.
func (c *conn) selectBox(tag string, args []byte) error {
	name, _ := nextString(args)
	if size, err := strconv.ParseInt(name, 10, 64); err == nil && size >= 0 {
		c.size = size
	}
	return c.writeLine("* FLAGS (\\Seen)\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1] UIDs valid\r\n", tag, " OK [READ-ONLY] Select completed.")
}

// fetch sends the message, whatever data items the client requested.
func (c *conn) fetch(tag string) error {
	if err := c.writeLine("* 1 FETCH (BODY[] {", strconv.FormatInt(c.size, 10), "}"); err != nil {
		return err
	}
	if err := c.sendMessage(c.size); err != nil {
		return err
	}
	return c.writeLine(")\r\n", tag, " OK Fetch completed.")
}

// imapAppend receives a message and drops it.
func (c *conn) imapAppend(tag string, args []byte) error {
	size, waits, found := literal(args)
	if !found {
		return c.writeLine(tag, " BAD Missing message.")
	}
	if waits {
		if err := c.writeLine("+ OK"); err != nil {
			return err
		}
	}
	if err := c.discard(size); err != nil {
		return err
	}
	if _, err := c.readLine(); err != nil { // the end of the command
		return err
	}
	return c.writeLine(tag, " OK Append completed.")
}
