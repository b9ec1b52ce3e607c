package dialogue

import (
	"bytes"
	"slices"
	"strings"
)

// backendTag is the tag of the one command a backend ever gets on a connection,
// apart from STARTTLS and the probe.
const backendTag = "1"

// Welcome reads the greeting and starts TLS if asked to. CAPABILITY is never
// sent before a login: Dovecot would then leave the list out of its reply.
func (p IMAP) ReadGreeting(up *Conn, upgrade func() error) error {
	_, err := p.readGreeting(up, upgrade)
	return err
}

// welcome returns the greeting, or nothing when TLS has made it obsolete.
func (IMAP) readGreeting(up *Conn, upgrade func() error) (greeting []byte, err error) {
	line, err := up.readLine(maxReply)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(line, []byte("* OK")) {
		return nil, badReply("greeting", line)
	}
	if upgrade == nil {
		return line, nil
	}
	if _, err = imapQuery(up, "STARTTLS"); err != nil {
		return nil, err
	}
	return nil, upgrade()
}

// imapAsk sends a command and returns the untagged data before its OK.
func imapQuery(up *Conn, command string) (data [][]byte, err error) {
	if err := up.writeLine(backendTag, " ", command); err != nil {
		return nil, err
	}
	for range maxReplyLines {
		line, err := up.readLine(maxReply)
		switch {
		case err != nil:
			return nil, err
		case bytes.HasPrefix(line, []byte("* ")):
			data = append(data, bytes.Clone(line))
		case bytes.HasPrefix(line, []byte(backendTag+" OK")):
			return data, nil
		default:
			return nil, badReply(command, line)
		}
	}
	return nil, badReply(command, nil)
}

// Probe takes the capabilities from the greeting, or asks for them.
func (p IMAP) Probe(up *Conn, upgrade func() error) (Capabilities, error) {
	line, err := p.readGreeting(up, upgrade)
	if err != nil {
		return nil, err
	}
	if list := imapCode(line, "CAPABILITY"); list != "" {
		return strings.Fields(list), nil
	}
	data, err := imapQuery(up, "CAPABILITY")
	if err != nil {
		return nil, err
	}
	for _, line := range data {
		if list, ok := cutPrefixFold(string(line), "* CAPABILITY "); ok {
			return strings.Fields(list), nil
		}
	}
	return nil, badReply("CAPABILITY", nil)
}

// imapCode returns the arguments of a response code in a status line.
func imapCode(line []byte, code string) string {
	_, after, _ := strings.Cut(string(line), "["+code+" ")
	list, _, closed := strings.Cut(after, "]")
	if !closed {
		return ""
	}
	return list
}

// Login sends AUTHENTICATE and relays until the tagged reply (RFC 3501 section
// 6.2.2). Untagged lines before it are the client's.
func (IMAP) Login(up, c *Conn, r Request) (Reply, error) {
	e := newExchange(up, c, r, imapDenial)
	if err := e.start(backendTag + " AUTHENTICATE"); err != nil {
		return Reply{}, err
	}
	var untagged []byte
	for range maxReplyLines {
		line, err := up.readLine(maxReply)
		if err != nil {
			return e.backendFailed(err)
		}
		kind, rest, _ := bytes.Cut(line, []byte{' '})
		switch status := imapStatus(rest); {
		case string(kind) == "+":
			if reply, over, err := e.round(line); err != nil {
				return e.backendFailed(err)
			} else if over {
				return reply, nil
			}
		case string(kind) == "*" && status != "BYE" && status != "":
			untagged = append(append(untagged, line...), "\r\n"...)
		case string(kind) == backendTag && (status == "OK" || status == "NO" || status == "BAD"):
			return e.imapFinal(untagged, rest), nil
		default:
			return e.backendFailed(badReply("login", line))
		}
	}
	return e.backendFailed(badReply("login", nil))
}

// imapFinal puts the reply under the client's tag, behind the untagged lines
// that came before. A client that has asked for the capabilities before may
// ignore the list inside the OK, so it gets a second one, as from Dovecot.
func (e *exchange) imapFinal(untagged, status []byte) Reply {
	result := e.result(imapResult(status))
	if result == Accepted && e.c.sentCapabilities {
		if list := imapCode(status, "CAPABILITY"); list != "" {
			untagged = append(untagged, "* CAPABILITY "+list+"\r\n"...)
		}
	}
	return e.reply(result, slices.Concat(untagged, []byte(e.r.Tag), []byte(" "), status, []byte("\r\n")))
}

// imapStatus is the first word of a status line, in upper case.
func imapStatus(status []byte) string {
	word, _, _ := bytes.Cut(status, []byte{' '})
	return strings.ToUpper(string(word))
}

// imapTemporary holds the response codes of a NO that says nothing about the
// credentials (RFC 5530). A NO with another code, or none, is a denial.
var imapTemporary = []string{"[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]", "[CONTACTADMIN]", "[PRIVACYREQUIRED]"}

// imapResult is what a tagged status means.
func imapResult(status []byte) Result {
	switch imapStatus(status) {
	case "OK":
		return Accepted
	case "NO":
	default:
		return Unavailable
	}
	if !isAboutCredentials(status) {
		return Unavailable
	}
	_, text, _ := strings.Cut(string(status), " ")
	for _, code := range imapTemporary {
		if _, ok := cutPrefixFold(text, code); ok {
			return Unavailable
		}
	}
	return Denied
}
