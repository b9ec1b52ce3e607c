package dialogue

import (
	"bytes"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// backendTag is the tag of every command to a backend. Commands are never
// pipelined, so one tag is enough.
const backendTag = "1"

// ReadGreeting reads the greeting and starts TLS if upgrade is not nil. It never
// sends CAPABILITY: Dovecot would then leave the list out of its reply to the
// login.
func (p IMAP) ReadGreeting(up *Conn, upgrade func() error) error {
	_, err := p.readGreeting(up, upgrade)
	return err
}

// readGreeting returns the greeting, or nil if TLS has made it obsolete.
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

// imapQuery sends a command and returns the untagged lines before its OK.
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

// Probe takes the capabilities from the greeting, or sends CAPABILITY.
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
// 6.2.2). Untagged lines before it are part of the client's reply.
func (IMAP) Login(up, c *Conn, r Request) (Reply, error) {
	e := newExchange(up, c, r, lineFraming{}, imapDenial)
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
			if reply, over, err := e.round(line, rest); err != nil {
				return e.backendFailed(err)
			} else if over {
				return reply, nil
			}
		case string(kind) == "*" && status != imap.StatusResponseTypeBye && status != "":
			untagged = append(append(untagged, line...), "\r\n"...)
		case string(kind) == backendTag && slices.Contains(imapFinals, status):
			return e.imapFinal(untagged, rest), nil
		default:
			return e.backendFailed(badReply("login", line))
		}
	}
	return e.backendFailed(badReply("login", nil))
}

// imapFinals are the statuses of a tagged reply.
var imapFinals = []imap.StatusResponseType{imap.StatusResponseTypeOK, imap.StatusResponseTypeNo, imap.StatusResponseTypeBad}

// imapFinal puts the reply under the client's tag, behind the untagged lines
// before it. A client that has sent CAPABILITY before may ignore the list inside
// the OK, so it gets an untagged one as well, as from Dovecot.
func (e *exchange) imapFinal(untagged, status []byte) Reply {
	result := e.result(imapResult(status))
	if result == Accepted && e.c.sentCapabilities {
		if list := imapCode(status, "CAPABILITY"); list != "" {
			untagged = append(untagged, "* CAPABILITY "+list+"\r\n"...)
		}
	}
	return e.reply(result, slices.Concat(untagged, []byte(e.r.Tag), []byte(" "), status, []byte("\r\n")))
}

// imapStatus is the type of a status response without its tag, in upper case.
func imapStatus(status []byte) imap.StatusResponseType {
	kind, _, _ := bytes.Cut(status, []byte{' '})
	return imap.StatusResponseType(strings.ToUpper(string(kind)))
}

// imapTemporary are the response codes of a NO that is not about the
// credentials (RFC 5530). A NO with another code, or none, is a denial.
var imapTemporary = []imap.ResponseCode{
	imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeLimit,
	imap.ResponseCodeServerBug, imap.ResponseCodeContactAdmin, imap.ResponseCodePrivacyRequired,
}

// imapResult is the result that a tagged status means by itself.
func imapResult(status []byte) Result {
	switch imapStatus(status) {
	case imap.StatusResponseTypeOK:
		return Accepted
	case imap.StatusResponseTypeNo:
	default:
		return Unavailable
	}
	if !isAboutCredentials(status) {
		return Unavailable
	}
	_, text, _ := strings.Cut(string(status), " ")
	text, begun := strings.CutPrefix(text, "[")
	code, _, closed := strings.Cut(text, "]")
	temporary := func(t imap.ResponseCode) bool { return strings.EqualFold(code, string(t)) }
	if begun && closed && slices.ContainsFunc(imapTemporary, temporary) {
		return Unavailable
	}
	return Denied
}
