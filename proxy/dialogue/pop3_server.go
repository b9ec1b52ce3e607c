package dialogue

import (
	"bytes"
	"strings"
)

// ReadGreeting reads the greeting and starts TLS if upgrade is not nil.
func (POP3) ReadGreeting(up *Conn, upgrade func() error) error {
	if err := pop3Expect(up, "greeting"); err != nil {
		return err
	}
	if upgrade == nil {
		return nil
	}
	if err := up.writeLine("STLS"); err != nil {
		return err
	}
	if err := pop3Expect(up, "STLS"); err != nil {
		return err
	}
	return upgrade()
}

// pop3Expect reads one line, which must be +OK.
func pop3Expect(up *Conn, step string) error {
	line, err := up.readLine(maxReply)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("+OK")) {
		return badReply(step, line)
	}
	return nil
}

// Probe sends CAPA (RFC 2449 section 5).
func (p POP3) Probe(up *Conn, upgrade func() error) (Capabilities, error) {
	if err := p.ReadGreeting(up, upgrade); err != nil {
		return nil, err
	}
	if err := up.writeLine("CAPA"); err != nil {
		return nil, err
	}
	if err := pop3Expect(up, "CAPA"); err != nil {
		return nil, err
	}
	var list Capabilities
	for range maxReplyLines {
		line, err := up.readLine(maxReply)
		switch {
		case err != nil:
			return nil, err
		case string(line) == ".":
			return list, nil
		}
		list = append(list, string(line))
	}
	return nil, badReply("CAPA", nil)
}

// Login sends AUTH and relays until +OK or -ERR (RFC 5034 section 4).
func (POP3) Login(up, c *Conn, r Request) (Reply, error) {
	e := newExchange(up, c, r, lineFraming{}, pop3Denial)
	if err := e.start("AUTH"); err != nil {
		return Reply{}, err
	}
	for range maxReplyLines {
		line, err := up.readLine(maxReply)
		if err != nil {
			return e.backendFailed(err)
		}
		status, rest, _ := bytes.Cut(line, []byte{' '})
		switch string(status) {
		case "+":
			if reply, over, err := e.round(line, rest); err != nil {
				return e.backendFailed(err)
			} else if over {
				return reply, nil
			}
		case "+OK", "-ERR":
			return e.reply(e.result(pop3Result(line)), append(bytes.Clone(line), '\r', '\n')), nil
		default:
			return e.backendFailed(badReply("login", line))
		}
	}
	return e.backendFailed(badReply("login", nil))
}

// pop3Temporary are the response codes of an -ERR that is not about the
// credentials, of SYS only the prefix. Any other -ERR is a denial.
var pop3Temporary = []string{pop3System, pop3InUse, pop3LoginDelay}

// pop3Result is the result that a final reply means by itself.
func pop3Result(line []byte) Result {
	text, denied := strings.CutPrefix(string(line), "-ERR")
	if !denied {
		return Accepted
	}
	if !isAboutCredentials(line) {
		return Unavailable
	}
	for _, code := range pop3Temporary {
		if _, ok := cutPrefixFold(strings.TrimPrefix(text, " "), code); ok {
			return Unavailable
		}
	}
	return Denied
}
