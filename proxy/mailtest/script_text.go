package mailtest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxText is the maximum length of an expanded text in octets.
const maxText = 256 << 10

// text is what one line of a script sends or expects.
type text struct {
	octets  []byte // with CRLF, unless any or partial is set
	any     bool   // any rest of the line matches
	partial bool   // not a whole line
}

// String returns the text in quotes, with everything but printable ASCII escaped.
func (t text) String() string {
	s := strconv.QuoteToASCII(string(t.octets))
	if t.any {
		s += " and any rest of line"
	}
	return s
}

// matches reports whether got, with its line end, is what the text expects.
func (t text) matches(got []byte) bool {
	if t.any {
		return bytes.HasPrefix(got, t.octets) && bytes.HasSuffix(got, []byte("\r\n"))
	}
	return bytes.Equal(got, t.octets)
}

// parseText expands the escapes and braces of a text, which are described at
// ParseScripts.
func parseText(s string) (text, error) {
	var t text
	for s != "" && !t.any && !t.partial {
		piece, rest, err := parsePiece(s)
		switch {
		case errors.Is(err, errAny):
			t.any = true
		case errors.Is(err, errPartial):
			t.partial = true
		case err != nil:
			return text{}, err
		case len(t.octets)+len(piece) > maxText:
			return text{}, fmt.Errorf("got a text of %d octets, want at most %d", len(t.octets)+len(piece), maxText)
		}
		t.octets = append(t.octets, piece...)
		s = rest
	}
	if s != "" {
		return text{}, fmt.Errorf("got %q after the end of the line, want nothing", s)
	}
	if !t.any && !t.partial {
		t.octets = append(t.octets, "\r\n"...)
	}
	return t, nil
}

// errAny and errPartial mark the two pieces that are not octets.
var (
	errAny     = errors.New("{any}")
	errPartial = errors.New(`\c`)
)

// parsePiece expands the first piece of s and returns the rest.
func parsePiece(s string) (piece []byte, rest string, err error) {
	switch {
	case s[0] == '\\':
		return parseEscape(s)
	case strings.HasPrefix(s, "{any}"):
		return nil, s[len("{any}"):], errAny
	}
	for _, m := range macros {
		if after, ok := strings.CutPrefix(s, m.prefix); ok {
			arg, rest, closed := strings.Cut(after, "}")
			if !closed {
				return nil, "", fmt.Errorf("%s: got no closing brace, want one", m.prefix)
			}
			piece, err := m.expand(arg)
			return piece, rest, err
		}
	}
	return []byte{s[0]}, s[1:], nil
}

// macros are the forms with braces and an argument.
var macros = []struct {
	prefix string
	expand func(arg string) ([]byte, error)
}{
	{"{b64:", expandBase64},
	{"{plain:", expandPlain},
	{"{repeat:", expandRepeat},
}

func expandBase64(arg string) ([]byte, error) {
	octets, err := unescape(arg)
	return base64.StdEncoding.AppendEncode(nil, octets), err
}

func expandPlain(arg string) ([]byte, error) {
	parts := strings.SplitN(arg, ",", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("{plain:}: got %q, want authzid,name,password", arg)
	}
	var message []byte
	for i, part := range parts {
		octets, err := unescape(part)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			message = append(message, 0)
		}
		message = append(message, octets...)
	}
	return base64.StdEncoding.AppendEncode(nil, message), nil
}

func expandRepeat(arg string) ([]byte, error) {
	comma := strings.LastIndexByte(arg, ',')
	if comma < 0 {
		return nil, fmt.Errorf("{repeat:}: got %q, want octets,times", arg)
	}
	octets, err := unescape(arg[:comma])
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(arg[comma+1:], 10, 31)
	if err != nil || int(n)*len(octets) > maxText {
		return nil, fmt.Errorf("{repeat:}: got %q, want a number and at most %d octets in all", arg, maxText)
	}
	return bytes.Repeat(octets, int(n)), nil
}

// unescape expands the escapes of an argument in braces.
func unescape(s string) ([]byte, error) {
	var octets []byte
	for s != "" {
		if s[0] != '\\' {
			octets, s = append(octets, s[0]), s[1:]
			continue
		}
		piece, rest, err := parseEscape(s)
		if err != nil {
			return nil, fmt.Errorf("in braces: %v", err) // not wrapped: \c has no meaning here
		}
		octets, s = append(octets, piece...), rest
	}
	return octets, nil
}

// escapes are the escapes of one character.
var escapes = map[byte]byte{'r': '\r', 'n': '\n', 't': '\t', '0': 0, '\\': '\\'}

// parseEscape expands the escape at the start of s and returns the rest.
func parseEscape(s string) (octets []byte, rest string, err error) {
	if len(s) < 2 {
		return nil, "", errors.New(`got \ at the end, want an escape such as \\`)
	}
	if s[1] == 'c' {
		return nil, s[2:], errPartial
	}
	if octet, ok := escapes[s[1]]; ok {
		return []byte{octet}, s[2:], nil
	}
	if s[1] == 'x' && len(s) >= 4 {
		if octet, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
			return []byte{byte(octet)}, s[4:], nil
		}
	}
	return nil, "", fmt.Errorf(`got escape %q, want \r \n \t \0 \\ \c or \xNN`, s[:2])
}
