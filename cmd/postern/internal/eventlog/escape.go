package eventlog

import (
	"strconv"
	"strings"
	"unicode"
)

// ellipsis ends a text that was cut.
const ellipsis = "..."

// Printable returns s, which may come from anybody, as text that can neither
// end a log line nor look like a field of one: octets outside 0x20-0x7E, quotes,
// backslashes and equals signs become \xNN. The result has at most limit octets;
// limit must be greater than 3.
func Printable(s string, limit int) string {
	return string(AppendPrintable(make([]byte, 0, min(len(s), limit)), s, limit))
}

// AppendPrintable appends Printable(s, limit) to b.
func AppendPrintable(b []byte, s string, limit int) []byte {
	const hex = "0123456789abcdef"
	out := b[len(b):]
	fits := 0 // octets of out after which the ellipsis still fits
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '=' {
			out = append(out, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			out = append(out, c)
		}
		switch {
		case len(out) > limit:
			return append(b, append(out[:fits], ellipsis...)...)
		case len(out) <= limit-len(ellipsis):
			fits = len(out)
		}
	}
	return append(b, out...)
}

// Original returns the text of which Printable has made s. It is false if s was cut, or
// is no result of Printable.
func Original(s string) (original string, ok bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if i+4 > len(s) || s[i+1] != 'x' {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return "", false
			}
			c, i = byte(n), i+3
		}
		out = append(out, c)
	}
	original = string(out)
	return original, Printable(original, 4*len(s)+4) == s && !strings.HasSuffix(s, ellipsis)
}

// Count is n of a thing, for people: 1 bucket, 2 buckets.
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// OneLine returns a text that a person or another program has written, in one line: without
// control characters, characters that cannot be seen, such as those that change the direction
// of writing, and space around it.
func OneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return strings.TrimSpace(StripControl(s))
}

// StripControl returns s, in any script, with a space for every control
// character: text that cannot steer a terminal. Unlike Printable it keeps
// letters outside ASCII, and it does not cut.
func StripControl(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
