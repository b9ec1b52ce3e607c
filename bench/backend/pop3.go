package backend

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// pop3 speaks POP3 until the client leaves.
func (c *conn) pop3() {
	c.size = 4096
	account := ""
	err := c.say("+OK ready.")
	for err == nil {
		var l []byte
		if l, err = c.hear(); err != nil {
			return
		}
		verb, args, _ := bytes.Cut(l, []byte(" "))
		switch strings.ToUpper(string(verb)) {
		case "QUIT":
			_ = c.say("+OK Logging out.")
			return
		case "CAPA":
			err = c.say("+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n", stls(c.secure), "USER\r\nSASL PLAIN\r\n.")
		case "STLS":
			if err = c.say("+OK Begin TLS negotiation now."); err == nil {
				err = c.startTLS()
			}
		case "USER":
			account = string(args)
			err = c.say("+OK")
		case "PASS":
			err = c.pop3Admit(account, string(args))
		case "AUTH":
			err = c.pop3Auth(args)
		case "NOOP":
			err = c.say("+OK")
		case "STAT":
			err = c.say("+OK 1 ", strconv.FormatInt(c.size, 10))
		case "RETR":
			err = c.retrieve()
		default:
			err = c.say("-ERR Unknown command.")
		}
	}
}

// stls is the capability, as long as it makes sense.
func stls(secure bool) string {
	if secure {
		return ""
	}
	return "STLS\r\n"
}

// pop3Auth takes SASL PLAIN, with or without an initial response.
func (c *conn) pop3Auth(args []byte) error {
	account, secret, err := c.authenticate(args)
	switch {
	case errors.Is(err, errMechanism):
		return c.say("-ERR Unsupported authentication mechanism.")
	case errors.Is(err, errResponse):
		return c.say("-ERR Invalid response.")
	case err != nil:
		return err
	}
	return c.pop3Admit(account, secret)
}

// pop3Admit asks the desk and passes its verdict on.
func (c *conn) pop3Admit(account, secret string) error {
	switch c.server.desk.check(c.server.ctx, account, secret) {
	case accepted:
		return c.say("+OK Logged in.")
	case denied:
		return c.say("-ERR [AUTH] Authentication failed.")
	}
	return c.say("-ERR [SYS/TEMP] Temporary authentication failure.")
}

// retrieve sends the message.
func (c *conn) retrieve() error {
	if err := c.say("+OK ", strconv.FormatInt(c.size, 10), " octets"); err != nil {
		return err
	}
	if err := c.send(c.size); err != nil {
		return err
	}
	return c.say("\r\n.")
}
