package dialogue

import (
	"bytes"
	"slices"
	"strings"
)

// The statuses of a response (RFC 5804 section 1.2).
const (
	sieveOK = "OK"
	sieveNo = "NO"
)

// ReadGreeting reads the greeting and starts TLS if upgrade is not nil.
func (p Sieve) ReadGreeting(up *Conn, upgrade func() error) error {
	_, err := p.Probe(up, upgrade)
	return err
}

// Probe returns the capabilities in the greeting, or those after the handshake (RFC 5804
// section 2.2).
func (Sieve) Probe(up *Conn, upgrade func() error) (Capabilities, error) {
	list, err := readSieveList(up, "greeting")
	if err != nil || upgrade == nil {
		return list, err
	}
	if err := up.writeLine("STARTTLS"); err != nil {
		return nil, err
	}
	line, err := readSieveLine(up)
	if err != nil {
		return nil, err
	}
	if status, _ := sieveStatus(line); status != sieveOK {
		return nil, badReply("STARTTLS", line)
	}
	if err := upgrade(); err != nil {
		return nil, err
	}
	return readSieveList(up, "capabilities in TLS")
}

// readSieveList reads capabilities until OK.
func readSieveList(up *Conn, step string) (list Capabilities, err error) {
	for range maxReplyLines {
		line, err := readSieveLine(up)
		if err != nil {
			return nil, err
		}
		if status, _ := sieveStatus(line); status == sieveOK {
			return list, nil
		}
		name, rest, err := scanSieveString(line)
		if err != nil {
			return nil, badReply(step, line)
		}
		entry := string(name)
		if rest, more := bytes.CutPrefix(rest, []byte{' '}); more {
			value, _, err := scanSieveString(rest)
			if err != nil {
				return nil, badReply(step, line)
			}
			entry += " " + string(value)
		}
		if strings.ContainsAny(entry, "\r\n\x00") {
			return nil, badReply(step, line)
		}
		list = append(list, entry)
	}
	return nil, badReply(step, nil)
}

// sieveStatus returns the status of a response, and the response code without its
// arguments, both in upper case and "" if there is none.
func sieveStatus(line []byte) (status, code string) {
	word, rest, _ := bytes.Cut(line, []byte{' '})
	if rest, ok := bytes.CutPrefix(rest, []byte{'('}); ok {
		front, _ := cutWhile(rest, isAtomChar)
		code = strings.ToUpper(string(front))
	}
	return strings.ToUpper(string(word)), code
}

// Login sends AUTHENTICATE and relays until OK or NO (RFC 5804 section 2.1). BYE is no
// answer to the login.
func (Sieve) Login(up, c *Conn, r Request) (Reply, error) {
	e := newExchange(up, c, r, stringFraming{}, sieveDenial)
	if err := e.start("AUTHENTICATE"); err != nil {
		return Reply{}, err
	}
	for range maxReplyLines {
		line, err := readSieveLine(up)
		if err != nil {
			return e.backendFailed(err)
		}
		status, code := sieveStatus(line)
		challenge, rest, noString := scanSieveString(line)
		switch {
		case status == sieveOK || status == sieveNo && code != "REFERRAL":
			return e.reply(e.result(sieveResult(line)), append(line, "\r\n"...)), nil
		case noString != nil || len(rest) > 0:
			return e.backendFailed(badReply("login", line))
		}
		if reply, over, err := e.round(line, challenge); err != nil {
			return e.backendFailed(err)
		} else if over {
			return reply, nil
		}
	}
	return e.backendFailed(badReply("login", nil))
}

// sieveTemporary are the response codes of a NO that is not about the credentials. A code
// may have parts behind a slash (RFC 5804 section 1.3). A NO with another code, or none, is
// a denial.
var sieveTemporary = []string{"TRYLATER", "LIMIT", "QUOTA", "ENCRYPT-NEEDED", "AUTH-TOO-WEAK", "TRANSITION-NEEDED"}

// sieveResult is the result that a final reply means by itself.
func sieveResult(line []byte) Result {
	status, code := sieveStatus(line)
	code, _, _ = strings.Cut(code, "/")
	switch {
	case status == sieveOK:
		return Accepted
	case !isAboutCredentials(line), slices.Contains(sieveTemporary, code):
		return Unavailable
	}
	return Denied
}
