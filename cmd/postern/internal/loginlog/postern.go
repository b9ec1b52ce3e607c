package loginlog

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
)

// posternFields are the fields of a login in postern's log that are read. Values are unquoted.
type posternFields struct {
	ts, event, rip, result, action, client, account []byte

	seen uint8 // a bit for each
}

// field returns the field of this name and a bit for it, or nil if it is not read.
func (f *posternFields) field(name []byte) (to *[]byte, bit uint8) {
	switch string(name) {
	case "ts":
		return &f.ts, 1 << 0
	case "event":
		return &f.event, 1 << 1
	case "rip":
		return &f.rip, 1 << 2
	case "result":
		return &f.result, 1 << 3
	case "action":
		return &f.action, 1 << 4
	case "client":
		return &f.client, 1 << 5
	case "account":
		return &f.account, 1 << 6
	}
	return nil, 0
}

// set sets the field of this name, without a copy of value. It returns false if it is set already.
func (f *posternFields) set(name, value []byte) bool {
	to, bit := f.field(name)
	if to == nil {
		return true
	}
	first := f.seen&bit == 0
	f.seen |= bit
	*to = value
	return first
}

// login reads the fields into e. The time is that of the line.
func (f *posternFields) login(c *clock, e *Event) meaning {
	if string(f.event) != "login" {
		return other
	}
	t, rest, ok := c.iso(f.ts)
	if !ok || len(rest) > 0 {
		return obscure
	}
	e.At, e.Attempts, e.Known = t, 1, string(f.client) == "known"
	switch string(f.result) {
	case "accepted":
		e.Outcome = Accepted
	case "denied", "abandoned":
		e.Outcome = Denied
	case "repeat":
		e.Outcome = Repeat
	case "refused":
		if e.Outcome = Rejected; string(f.action) == "shed" {
			e.Outcome = Shed
		}
	case "void":
		return other
	default:
		return obscure
	}
	if e.Addr, ok = address(f.rip); !ok {
		return obscure
	}
	e.Account, ok = unescape(f.account)
	if !ok {
		return obscure
	}
	return login
}

// unescape returns the name that postern escaped for its log, or nothing if it was cut.
func unescape(b []byte) (name string, ok bool) {
	if bytes.HasSuffix(b, []byte("...")) {
		return "", true
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b), true
	}
	var out strings.Builder
	for len(b) > 0 {
		if b[0] != '\\' {
			out.WriteByte(b[0])
			b = b[1:]
			continue
		}
		var c [1]byte
		if len(b) < 4 || b[1] != 'x' {
			return "", false
		}
		if _, err := hex.Decode(c[:], b[2:4]); err != nil {
			return "", false
		}
		out.WriteByte(c[0])
		b = b[4:]
	}
	return out.String(), true
}

// posternText reads a line of postern's log with LOG_FORMAT=text.
func posternText(line []byte, c *clock, e *Event) meaning {
	var f posternFields
	for len(line) > 0 {
		name, rest, ok := bytes.Cut(line, []byte("="))
		if !ok || bytes.IndexByte(name, ' ') >= 0 || bytes.IndexByte(name, '"') >= 0 {
			return obscure
		}
		value, after, _ := bytes.Cut(rest, []byte(" "))
		if len(rest) > 0 && rest[0] == '"' {
			quoted, err := strconv.QuotedPrefix(string(rest))
			if err != nil {
				return obscure
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return obscure
			}
			value, after = []byte(text), rest[len(quoted):]
			if after, ok = bytes.CutPrefix(after, []byte(" ")); !ok && len(after) > 0 {
				return obscure
			}
		}
		if !f.set(name, value) {
			return obscure
		}
		line = after
	}
	return f.login(c, e)
}
