package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"postern/proxy/dialogue"
)

// Limits on what a server may send: octets of a line, and lines of one reply.
const (
	lineMax  = 16 << 10
	replyMax = 200
)

// quoteMax is how much of a line is quoted, in octets.
const quoteMax = 160

// mailConn is the client's side of IMAP, POP3 or ManageSieve before login, towards the
// gateway or a backend. Its owner closes the connection.
type mailConn struct {
	net.Conn
	protocol dialogue.Protocol
	lines    *bufio.Reader
	heard    bool     // the server has sent something
	greeted  bool     // it has greeted
	strays   []string // lines that answer nothing that was asked
}

// newMailConn speaks protocol on c until the end of ctx.
func newMailConn(ctx context.Context, c net.Conn, protocol dialogue.Protocol) *mailConn {
	if end, bounded := ctx.Deadline(); bounded {
		c.SetDeadline(end)
	}
	return &mailConn{Conn: c, protocol: protocol, lines: bufio.NewReaderSize(c, lineMax)}
}

// replyError is the error of a reply that is not the expected one.
type replyError struct{ command, line string }

// Error quotes the reply.
func (e *replyError) Error() string {
	return fmt.Sprintf("got %.*q to %s", quoteMax, e.line, e.command)
}

// line reads a line without its end.
func (c *mailConn) line() (string, error) {
	line, err := c.lines.ReadSlice('\n')
	c.heard = c.heard || len(line) > 0
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("got a line of more than %d octets: %.*q", lineMax, quoteMax, line)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// greeting reads the greeting.
func (c *mailConn) greeting() error {
	for range replyMax {
		line, err := c.line()
		if err != nil {
			return err
		}
		c.greeted = strings.HasPrefix(line, c.keywords().greeting)
		switch {
		case c.greeted:
			return nil
		case c.protocol != dialogue.Sieve{} || !strings.HasPrefix(line, `"`): // its capabilities come first
			return &replyError{"the connection", line}
		}
	}
	return fmt.Errorf("got more than %d lines before the greeting", replyMax)
}

// keywords are the replies and commands that differ between the protocols.
type keywords struct{ greeting, startTLS, capabilities, login, use, end string }

// keywords returns those of the connection's protocol. The credentials follow after login.
func (c *mailConn) keywords() keywords {
	switch c.protocol {
	case dialogue.POP3{}:
		return keywords{"+OK", "STLS", "CAPA", "AUTH PLAIN", "STAT", "QUIT"}
	case dialogue.Sieve{}:
		return keywords{"OK", "STARTTLS", "CAPABILITY", `AUTHENTICATE "PLAIN"`, "LISTSCRIPTS", "LOGOUT"}
	}
	return keywords{"* OK", "STARTTLS", "CAPABILITY", "AUTHENTICATE PLAIN", "NOOP", "LOGOUT"}
}

// tag is the tag of every command of IMAP.
const tag = "d1"

// command sends a command, whose name is for errors, and returns the lines before the one
// that ends the reply. A reply other than OK is a replyError. With multi, a reply of POP3
// has lines up to a dot.
func (c *mailConn) command(name, text string, multi bool) (data []string, err error) {
	prefix := ""
	if c.protocol == (dialogue.IMAP{}) {
		prefix = tag + " "
		text = prefix + text
	}
	pop3 := c.protocol == dialogue.POP3{}
	if _, err := io.WriteString(c.Conn, text+"\r\n"); err != nil {
		return nil, err
	}
	started := false
	for range replyMax {
		line, err := c.line()
		switch {
		case err != nil:
			return data, err
		case !pop3 && strings.HasPrefix(line, prefix+"OK"), pop3 && !started && !multi && strings.HasPrefix(line, "+OK"), pop3 && started && line == ".":
			return data, nil
		case !pop3 && c.refuses(line), pop3 && !started && !strings.HasPrefix(line, "+OK"):
			return data, &replyError{name, line}
		case pop3 && !started:
			started = true
		default:
			data = append(data, line)
		}
	}
	return data, fmt.Errorf("got more than %d lines to %s", replyMax, name)
}

// refuses reports whether a line of IMAP or ManageSieve, which is not OK, ends a reply.
func (c *mailConn) refuses(line string) bool {
	if c.protocol == (dialogue.IMAP{}) {
		return strings.HasPrefix(line, tag+" ")
	}
	return strings.HasPrefix(line, "NO") || strings.HasPrefix(line, "BYE")
}

// startTLS asks for TLS and begins it.
func (c *mailConn) startTLS(ctx context.Context, config *tls.Config) error {
	name := c.keywords().startTLS
	strays, err := c.command(name, name, false)
	c.strays = append(c.strays, strays...)
	if err != nil {
		return err
	}
	if c.lines.Buffered() > 0 {
		return fmt.Errorf("got clear text behind the reply to %s", name)
	}
	if err := c.begin(ctx, config); err != nil || c.protocol != (dialogue.Sieve{}) {
		return err
	}
	return c.greeting() // its server sends the capabilities again
}

// begin begins TLS.
func (c *mailConn) begin(ctx context.Context, config *tls.Config) error {
	secure := tls.Client(c.Conn, config)
	c.Conn = secure
	c.lines.Reset(secure)
	return secure.HandshakeContext(ctx)
}

// capabilities asks for what the server offers: the items of IMAP, the lines of POP3, and
// those of ManageSieve without quotes.
func (c *mailConn) capabilities() (offered []string, err error) {
	name := c.keywords().capabilities
	data, err := c.command(name, name, true)
	switch c.protocol {
	case dialogue.POP3{}:
		return data, err
	case dialogue.Sieve{}:
		for _, line := range data {
			offered = append(offered, strings.ReplaceAll(line, `"`, ""))
		}
		return offered, err
	}
	for _, line := range data {
		if list, found := strings.CutPrefix(line, "* CAPABILITY "); found {
			offered = append(offered, strings.Fields(list)...)
		} else {
			c.strays = append(c.strays, line)
		}
	}
	return offered, err
}

// mechanisms returns the SASL mechanisms among what a server offers, and USER of POP3.
func (c *mailConn) mechanisms(offered []string) (all []string) {
	for _, item := range offered {
		upper := strings.ToUpper(item)
		switch fields := strings.Fields(upper); {
		case len(fields) == 0:
		case strings.HasPrefix(upper, "AUTH=") && c.protocol == dialogue.IMAP{}:
			all = append(all, strings.TrimPrefix(upper, "AUTH="))
		case fields[0] == "SASL" && c.protocol != dialogue.IMAP{}:
			all = append(all, fields[1:]...)
		case upper == "USER" && c.protocol == dialogue.POP3{}:
			all = append(all, upper)
		}
	}
	return all
}

// login logs in with PLAIN. A refusal is a replyError. It does not contain the password,
// even if the server has repeated it.
func (c *mailConn) login(user, password string) error {
	name := c.keywords().login
	message := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	response := message
	if c.protocol == (dialogue.Sieve{}) {
		response = `"` + message + `"`
	}
	_, err := c.command(name, name+" "+response, false)
	if refusal, ok := errors.AsType[*replyError](err); ok {
		refusal.line = strings.NewReplacer(message, "[password]", password, "[password]").Replace(refusal.line)
	}
	return err
}

// useMail asks for something after login and logs out.
func (c *mailConn) useMail() error {
	first, last := c.keywords().use, c.keywords().end
	if _, err := c.command(first, first, false); err != nil {
		return err
	}
	_, err := c.command(last, last, false)
	return err
}

// handshake begins TLS on c, verifies the certificate for name, and nothing more.
func handshake(ctx context.Context, c net.Conn, name string) error {
	return tls.Client(c, &tls.Config{ServerName: name}).HandshakeContext(ctx)
}
