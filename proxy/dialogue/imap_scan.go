package dialogue

import (
	"bytes"
	"errors"
	"strings"
)

// The functions of this file parse the front of a line by the grammar of RFC 3501
// section 9. Each returns what it found and what follows it, and does no I/O.

var errSyntax = errors.New("syntax error")

// isAtomChar reports whether c is an ATOM-CHAR. 8-bit octets are none.
func isAtomChar(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`(){%*"\]`, c) < 0
}

// isAstringChar reports whether c is an ASTRING-CHAR.
func isAstringChar(c byte) bool { return isAtomChar(c) || c == ']' }

// cutWhile splits b behind its longest prefix of octets that match.
func cutWhile(b []byte, match func(byte) bool) (front, rest []byte) {
	for i, c := range b {
		if !match(c) {
			return b[:i], b[i:]
		}
	}
	return b, nil
}

// scanTag returns the tag of a command line, and what follows the space behind it.
func scanTag(line []byte) (tag string, rest []byte, err error) {
	t, rest := cutWhile(line, func(c byte) bool { return isAstringChar(c) && c != '+' })
	if len(t) == 0 || len(t) > maxTag {
		return "", nil, errSyntax
	}
	rest, ok := bytes.CutPrefix(rest, []byte{' '})
	if !ok {
		return "", nil, errSyntax
	}
	return string(t), rest, nil
}

// scanAtom returns a command or mechanism name in upper case, and its
// arguments, which are empty when there are none.
func scanAtom(b []byte) (name string, args []byte, err error) {
	atom, rest := cutWhile(b, isAtomChar)
	if len(atom) == 0 {
		return "", nil, errSyntax
	}
	if len(rest) > 0 && rest[0] != ' ' {
		return "", nil, errSyntax
	}
	if len(rest) > 0 {
		args = rest[1:]
	}
	return strings.ToUpper(string(atom)), args, nil
}

// scanQuoted returns the value of the quoted string that b begins with. Octets
// above 0x7f are valid: clients send them and servers accept them.
func scanQuoted(b []byte) (value, rest []byte, err error) {
	value = make([]byte, 0, len(b))
	for i := 1; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			return value, b[i+1:], nil
		case 0, '\r':
			return nil, nil, errSyntax
		case '\\':
			if i++; i == len(b) || b[i] != '"' && b[i] != '\\' {
				return nil, nil, errSyntax
			}
			value = append(value, b[i])
		default:
			value = append(value, c)
		}
	}
	return nil, nil, errSyntax
}

// literal is the announcement of a literal: {n}, or {n+} when it is not
// synchronising and the client sends it at once (RFC 7888).
type literal struct {
	size int
	sync bool // the client waits for a continuation request
}

// maxLiteralSize is above any size that is read, and below any overflow.
const maxLiteralSize = 1 << 32

// scanLiteral parses the announcement that b consists of. Sizes above 32 bits
// become maxLiteralSize: they are refused anyway.
func scanLiteral(b []byte) (l literal, err error) {
	b, ok := bytes.CutPrefix(b, []byte{'{'})
	b, closed := bytes.CutSuffix(b, []byte{'}'})
	if !ok || !closed {
		return l, errSyntax
	}
	b, nonsync := bytes.CutSuffix(b, []byte{'+'})
	l.sync = !nonsync
	if len(b) == 0 {
		return l, errSyntax
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return l, errSyntax
		}
		l.size = min(l.size*10+int(c-'0'), maxLiteralSize)
	}
	return l, nil
}

// trailingLiteral finds the announcement at the end of a line that is otherwise
// invalid. The literal must be read all the same, or its octets would run as
// commands (RFC 7888 section 3).
func trailingLiteral(line []byte) (l literal, ok bool) {
	i := bytes.LastIndexByte(line, '{')
	if i < 0 {
		return l, false
	}
	l, err := scanLiteral(line[i:])
	return l, err == nil
}

// imapArgs reads the arguments of one IMAP command, which go over several lines
// when literals are among them.
type imapArgs struct {
	c      *Conn
	rest   []byte // of the current line
	budget int    // octets of literals still allowed
}

func newIMAPArgs(c *Conn, args []byte) *imapArgs {
	return &imapArgs{c: c, rest: args, budget: maxLiterals}
}

// astring reads an atom, a quoted string or a literal. An errSyntax leaves a
// announced literal for discard; other errors end the dialogue.
func (a *imapArgs) astring() ([]byte, error) {
	if len(a.rest) == 0 {
		return nil, errSyntax
	}
	switch a.rest[0] {
	case '"':
		value, rest, err := scanQuoted(a.rest)
		if err == nil {
			a.rest = rest
		}
		return value, err
	case '{':
		return a.literal()
	}
	value, rest := cutWhile(a.rest, isAstringChar)
	if len(value) == 0 {
		return nil, errSyntax
	}
	a.rest = rest
	return bytes.Clone(value), nil
}

// literal reads the literal announced by the rest of the line, and the line that
// follows it. A synchronising literal is requested only if the budget allows it.
func (a *imapArgs) literal() ([]byte, error) {
	l, err := scanLiteral(a.rest)
	if err != nil || l.size > a.budget {
		return nil, errSyntax
	}
	if l.sync {
		if err := a.c.writeLine("+ OK"); err != nil {
			return nil, err
		}
	}
	a.budget -= l.size
	value, err := a.c.readFull(l.size)
	if err != nil {
		return nil, err
	}
	a.rest, err = a.c.readLine(maxLine)
	return value, err
}

// space reads one space.
func (a *imapArgs) space() error {
	rest, ok := bytes.CutPrefix(a.rest, []byte{' '})
	if !ok {
		return errSyntax
	}
	a.rest = rest
	return nil
}

// end returns errSyntax if arguments are left.
func (a *imapArgs) end() error {
	if len(a.rest) > 0 {
		return errSyntax
	}
	return nil
}

// discard reads the rest of a command that will be refused. A literal for which
// the client waits is not requested.
func (a *imapArgs) discard() error {
	for {
		l, ok := trailingLiteral(a.rest)
		if !ok || l.sync {
			return nil
		}
		if a.budget -= l.size; a.budget < 0 {
			return ErrTooLong
		}
		_, err := a.c.readFull(l.size)
		if err != nil {
			return err
		}
		if a.rest, err = a.c.readLine(maxLine); err != nil {
			return err
		}
	}
}

// id reads the arguments of ID: NIL, or a parenthesised list of at most 30
// pairs of string and nstring (RFC 2971 section 3.3). It calls pair with each pair.
func (a *imapArgs) id(pair func(name, value []byte)) error {
	if bytes.EqualFold(a.rest, []byte("NIL")) {
		a.rest = nil
		return nil
	}
	if !bytes.HasPrefix(a.rest, []byte{'('}) {
		return errSyntax
	}
	a.rest = a.rest[1:]
	var name []byte
	for n := 0; n <= 2*30; n++ {
		if rest, ok := bytes.CutPrefix(a.rest, []byte{')'}); ok && n%2 == 0 {
			a.rest = rest
			return a.end()
		}
		if n > 0 {
			if err := a.space(); err != nil {
				return err
			}
		}
		value, err := a.astring()
		switch {
		case err != nil:
			return err
		case n%2 == 0:
			name = value
		default:
			pair(name, value)
		}
	}
	return errSyntax
}
