package dialogue

import (
	"bytes"
	"fmt"
	"strings"
)

// The functions of this file read and write the strings of RFC 5804 section 4: quoted as
// in IMAP, or literals. A client announces a literal by {n+}, a server by {n}. Neither side
// waits for a continuation, so both are read in the same way, as Dovecot does.

// maxQuoted is the longest quoted string in octets. What is longer is a literal.
const maxQuoted = 1024

// sieveEscape puts the escapes into a quoted string.
var sieveEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// sieveQuoted returns s as a quoted string. It has no line ends.
func sieveQuoted(s string) string { return `"` + sieveEscape.Replace(s) + `"` }

// stringFraming is the framing of ManageSieve: a text is a string (RFC 5804 section 2.1).
type stringFraming struct{}

func (stringFraming) challenge(n int) (before, after string) {
	if n > maxQuoted {
		return fmt.Sprintf("{%d}\r\n", n), ""
	}
	return `"`, `"`
}

func (stringFraming) response(n int) (before, after string) {
	if n > maxQuoted {
		return fmt.Sprintf("{%d+}\r\n", n), ""
	}
	return `"`, `"`
}

func (stringFraming) noResponse() string { return `""` }

// read returns errBase64 for a line that is no string.
func (stringFraming) read(c *Conn) ([]byte, error) {
	line, err := c.readLine(maxSASL)
	if err != nil {
		return nil, err
	}
	a := newSieveArgs(c, line)
	text, err := a.str()
	if err == nil {
		err = a.end()
	}
	if err == errSyntax {
		if err = a.discard(); err == nil {
			err = errBase64
		}
	}
	return text, err
}

// sieveArgs reads the arguments of one ManageSieve command.
type sieveArgs struct{ imapArgs }

func newSieveArgs(c *Conn, args []byte) *sieveArgs {
	return &sieveArgs{imapArgs{c: c, rest: args, budget: maxSASL}}
}

// str reads a string. An errSyntax leaves an announced literal for discard; other errors
// end the dialogue.
func (a *sieveArgs) str() ([]byte, error) {
	switch {
	case len(a.rest) > 0 && a.rest[0] == '"':
		value, rest, err := scanQuoted(a.rest)
		if err == nil {
			a.rest = rest
		}
		return value, err
	case len(a.rest) > 0 && a.rest[0] == '{':
		l, err := scanLiteral(a.rest)
		if err != nil {
			return nil, err
		}
		return a.read(l)
	}
	return nil, errSyntax
}

// read reads an announced literal, and the line behind it.
func (a *sieveArgs) read(l literal) (value []byte, err error) {
	if a.budget -= l.size; a.budget < 0 {
		return nil, ErrTooLong
	}
	if value, err = a.c.readFull(l.size); err != nil {
		return nil, err
	}
	a.rest, err = a.c.readLine(maxLine)
	return value, err
}

// discard reads the rest of a command that will be refused.
func (a *sieveArgs) discard() error {
	for {
		l, ok := trailingLiteral(a.rest)
		if !ok {
			return nil
		}
		if _, err := a.read(l); err != nil {
			return err
		}
	}
}

// readSieveLine reads a response of the backend with the literals in it, without its last
// line end.
func readSieveLine(up *Conn) (whole []byte, err error) {
	for {
		line, err := up.readLine(maxReply - len(whole))
		if err != nil {
			return nil, err
		}
		whole = append(whole, line...)
		l, ok := trailingLiteral(line)
		if !ok {
			return whole, nil
		}
		if l.size > maxReply-len(whole) {
			return nil, ErrTooLong
		}
		octets, err := up.readFull(l.size)
		if err != nil {
			return nil, err
		}
		whole = append(append(whole, "\r\n"...), octets...)
	}
}

// scanSieveString returns the value of the string that b, from readSieveLine, begins with,
// and what follows it.
func scanSieveString(b []byte) (value, rest []byte, err error) {
	if bytes.HasPrefix(b, []byte{'"'}) {
		return scanQuoted(b)
	}
	announced, octets, _ := bytes.Cut(b, []byte("\r\n"))
	l, err := scanLiteral(announced)
	if err != nil || l.size > len(octets) {
		return nil, nil, errSyntax
	}
	return octets[:l.size], octets[l.size:], nil
}
