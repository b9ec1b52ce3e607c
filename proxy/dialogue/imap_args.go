package dialogue

import "bytes"

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
// pairs of string and nstring (RFC 2971 section 3.3).
func (a *imapArgs) id() error {
	if bytes.EqualFold(a.rest, []byte("NIL")) {
		a.rest = nil
		return nil
	}
	if !bytes.HasPrefix(a.rest, []byte{'('}) {
		return errSyntax
	}
	a.rest = a.rest[1:]
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
		if _, err := a.astring(); err != nil {
			return err
		}
	}
	return errSyntax
}
