package mailtest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxText bounds what one line of a script may expand to, in octets.
const maxText = 256 << 10

// text is what one line of a script says or expects.
type text struct {
	octets []byte // with CRLF, unless any or open
	any    bool   // the rest of the line may be anything
	open   bool   // no CRLF belongs to it
}

// String is the text in quotes, with all but printable ASCII escaped.
func (t text) String() string {
	s := strconv.QuoteToASCII(string(t.octets))
	if t.any {
		s += " and any rest of line"
	}
	return s
}

// matches reports whether got is what the text expects, line end included.
func (t text) matches(got []byte) bool {
	if t.any {
		return bytes.HasPrefix(got, t.octets) && bytes.HasSuffix(got, []byte("\r\n"))
	}
	return bytes.Equal(got, t.octets)
}

// parseText expands the escapes and braces of a text. ParseScripts documents
// them.
func parseText(s string) (text, error) {
	var t text
	for s != "" && !t.any && !t.open {
		piece, rest, err := parsePiece(s)
		switch {
		case errors.Is(err, errAny):
			t.any = true
		case errors.Is(err, errOpen):
			t.open = true
		case err != nil:
			return text{}, err
		case len(t.octets)+len(piece) > maxText:
			return text{}, fmt.Errorf("text is over %d octets", maxText)
		}
		t.octets = append(t.octets, piece...)
		s = rest
	}
	if s != "" {
		return text{}, fmt.Errorf("%q stands behind the end of the line", s)
	}
	if !t.any && !t.open {
		t.octets = append(t.octets, "\r\n"...)
	}
	return t, nil
}

// errAny and errOpen are the two pieces that stand for no octets.
var (
	errAny  = errors.New("{any}")
	errOpen = errors.New(`\c`)
)

// parsePiece expands what s begins with and returns what follows it.
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
				return nil, "", fmt.Errorf("%s has no closing brace", m.prefix)
			}
			piece, err := m.expand(arg)
			return piece, rest, err
		}
	}
	return []byte{s[0]}, s[1:], nil
}

// macros are the braces with an argument.
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
		return nil, fmt.Errorf("{plain:%s} is not authzid,name,password", arg)
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
		return nil, fmt.Errorf("{repeat:%s} has no number", arg)
	}
	octets, err := unescape(arg[:comma])
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(arg[comma+1:], 10, 31)
	if err != nil || int(n)*len(octets) > maxText {
		return nil, fmt.Errorf("{repeat:%s} needs a number that keeps it under %d octets", arg, maxText)
	}
	return bytes.Repeat(octets, int(n)), nil
}

// unescape expands the escapes of an argument of braces.
func unescape(s string) ([]byte, error) {
	var octets []byte
	for s != "" {
		if s[0] != '\\' {
			octets, s = append(octets, s[0]), s[1:]
			continue
		}
		piece, rest, err := parseEscape(s)
		if err != nil {
			return nil, fmt.Errorf("in braces: %v", err) // no \\c here, so not wrapped
		}
		octets, s = append(octets, piece...), rest
	}
	return octets, nil
}

// escapes are those of one letter.
var escapes = map[byte]byte{'r': '\r', 'n': '\n', 't': '\t', '0': 0, '\\': '\\'}

// parseEscape expands the escape that s begins with.
func parseEscape(s string) (octets []byte, rest string, err error) {
	if len(s) < 2 {
		return nil, "", errors.New(`\ stands alone at the end; write \\`)
	}
	if s[1] == 'c' {
		return nil, s[2:], errOpen
	}
	if octet, ok := escapes[s[1]]; ok {
		return []byte{octet}, s[2:], nil
	}
	if s[1] == 'x' && len(s) >= 4 {
		if octet, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
			return []byte{byte(octet)}, s[4:], nil
		}
	}
	return nil, "", fmt.Errorf(`unknown escape %q`, s[:2])
}
