package backend

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// capabilities is what the IMAP side can do.
func (c *conn) capabilities() string {
	if c.secure {
		return "CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN"
	}
	return "CAPABILITY IMAP4rev1 SASL-IR LITERAL+ STARTTLS AUTH=PLAIN"
}

// imap speaks IMAP until the client leaves.
func (c *conn) imap() {
	c.size = 4096
	err := c.say("* OK [", c.capabilities(), "] ready.")
	for err == nil {
		var l []byte
		if l, err = c.hear(); err != nil {
			return
		}
		tag, rest, _ := bytes.Cut(l, []byte(" "))
		verb, args, _ := bytes.Cut(rest, []byte(" "))
		var left bool
		if left, err = c.command(string(tag), strings.ToUpper(string(verb)), args); left {
			return
		}
	}
}

// command does what the client asks and reports whether it has left.
func (c *conn) command(tag, verb string, args []byte) (left bool, err error) {
	switch verb {
	case "LOGIN":
		return false, c.imapLogin(tag, args)
	case "AUTHENTICATE":
		return false, c.imapAuthenticate(tag, args)
	case "LOGOUT":
		return true, c.say("* BYE Logging out\r\n", tag, " OK Logout completed.")
	case "STARTTLS":
		if err := c.say(tag, " OK Begin TLS negotiation now."); err != nil {
			return false, err
		}
		return false, c.startTLS()
	case "CAPABILITY":
		return false, c.say("* ", c.capabilities(), "\r\n", tag, " OK Capability completed.")
	case "NOOP":
		return false, c.say(tag, " OK NOOP completed.")
	case "IDLE":
		return false, c.idle(tag)
	case "SELECT", "EXAMINE":
		return false, c.selectBox(tag, args)
	case "FETCH":
		return false, c.fetch(tag)
	case "APPEND":
		return false, c.imapAppend(tag, args)
	}
	return false, c.say(tag, " BAD Unknown command.")
}

// imapLogin reads name and password, each an atom, a quoted string or a literal.
func (c *conn) imapLogin(tag string, args []byte) error {
	var words [2]string
	for i := range words {
		if size, waits, is := literal(args); is && args[0] == '{' {
			if waits {
				if err := c.say("+ OK"); err != nil {
					return err
				}
			}
			text, err := c.exactly(size)
			if err != nil {
				return err
			}
			words[i] = string(text)
			if args, err = c.hear(); err != nil {
				return err
			}
			args = bytes.TrimPrefix(args, []byte(" "))
			continue
		}
		words[i], args = word(args)
	}
	return c.admit(tag, words[0], words[1])
}

// word cuts an atom or a quoted string off args.
func word(args []byte) (string, []byte) {
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

// imapAuthenticate takes SASL PLAIN, with or without an initial response.
func (c *conn) imapAuthenticate(tag string, args []byte) error {
	account, secret, err := c.authenticate(args)
	switch {
	case errors.Is(err, errMechanism):
		return c.say(tag, " NO Unsupported authentication mechanism.")
	case errors.Is(err, errResponse):
		return c.say(tag, " BAD Invalid response.")
	case err != nil:
		return err
	}
	return c.admit(tag, account, secret)
}

// admit asks the desk and passes its verdict on.
func (c *conn) admit(tag, account, secret string) error {
	switch c.server.desk.check(c.server.ctx, account, secret) {
	case accepted:
		return c.say(tag, " OK [CAPABILITY IMAP4rev1 LITERAL+ IDLE UIDPLUS] Logged in")
	case denied:
		return c.say(tag, " NO [AUTHENTICATIONFAILED] Authentication failed.")
	}
	return c.say(tag, " NO [UNAVAILABLE] Temporary authentication failure.")
}

// selectBox opens a mailbox; one named by a number holds a message of that size.
func (c *conn) selectBox(tag string, args []byte) error {
	name, _ := word(args)
	if size, err := strconv.ParseInt(name, 10, 64); err == nil && size >= 0 {
		c.size = size
	}
	return c.say("* FLAGS (\\Seen)\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1] UIDs valid\r\n", tag, " OK [READ-ONLY] Select completed.")
}

// fetch sends the message, whatever was asked of it.
func (c *conn) fetch(tag string) error {
	if err := c.say("* 1 FETCH (BODY[] {", strconv.FormatInt(c.size, 10), "}"); err != nil {
		return err
	}
	if err := c.send(c.size); err != nil {
		return err
	}
	return c.say(")\r\n", tag, " OK Fetch completed.")
}

// imapAppend takes a message.
func (c *conn) imapAppend(tag string, args []byte) error {
	size, waits, found := literal(args)
	if !found {
		return c.say(tag, " BAD Missing message.")
	}
	if waits {
		if err := c.say("+ OK"); err != nil {
			return err
		}
	}
	if err := c.swallow(size); err != nil {
		return err
	}
	if _, err := c.hear(); err != nil { // the end of the command
		return err
	}
	return c.say(tag, " OK Append completed.")
}
