package backend

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// pop3 serves POP3 until the client quits or the connection ends.
func (c *conn) pop3() {
	c.size = 4096
	account := ""
	err := c.writeLine("+OK ready.")
	for err == nil {
		var l []byte
		if l, err = c.readLine(); err != nil {
			return
		}
		verb, args, _ := bytes.Cut(l, []byte(" "))
		switch strings.ToUpper(string(verb)) {
		case "QUIT":
			_ = c.writeLine("+OK Logging out.")
			return
		case "CAPA":
			err = c.writeLine("+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n", stls(c.secure), "USER\r\nSASL ", mechanisms(""), "\r\n.")
		case "STLS":
			if err = c.writeLine("+OK Begin TLS negotiation now."); err == nil {
				err = c.startTLS()
			}
		case "USER":
			account = string(args)
			err = c.writeLine("+OK")
		case "PASS":
			err = c.answerPOP3Login(account, string(args))
		case "AUTH":
			err = c.pop3Auth(args)
		case "NOOP":
			err = c.writeLine("+OK")
		case "STAT":
			err = c.writeLine("+OK 1 ", strconv.FormatInt(c.size, 10))
		case "RETR":
			err = c.retrieve()
		default:
			err = c.writeLine("-ERR Unknown command.")
		}
	}
}

// stls is the STLS capability, which ends with TLS.
func stls(secure bool) string {
	if secure {
		return ""
	}
	return "STLS\r\n"
}

// pop3Auth is AUTH.
func (c *conn) pop3Auth(args []byte) error {
	account, secret, err := c.authenticate(args)
	switch {
	case errors.Is(err, errMechanism):
		return c.writeLine("-ERR Unsupported authentication mechanism.")
	case errors.Is(err, errResponse):
		return c.writeLine("-ERR Invalid response.")
	case err != nil:
		return err
	}
	return c.answerPOP3Login(account, secret)
}

// answerPOP3Login checks the password and sends the result.
func (c *conn) answerPOP3Login(account, secret string) error {
	switch c.server.auth.check(c.server.ctx, account, secret) {
	case accepted:
		return c.writeLine("+OK Logged in.")
	case denied:
		return c.writeLine("-ERR [AUTH] Authentication failed.")
	}
	return c.writeLine("-ERR [SYS/TEMP] Temporary authentication failure.")
}

// retrieve sends the message.
func (c *conn) retrieve() error {
	if err := c.writeLine("+OK ", strconv.FormatInt(c.size, 10), " octets"); err != nil {
		return err
	}
	if err := c.sendMessage(c.size); err != nil {
		return err
	}
	return c.writeLine("\r\n.")
}
