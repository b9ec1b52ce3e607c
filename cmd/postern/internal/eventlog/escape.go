package eventlog

import (
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
	const hex = "0123456789abcdef"
	out := make([]byte, 0, min(len(s), limit))
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
			return string(out[:fits]) + ellipsis
		case len(out) <= limit-len(ellipsis):
			fits = len(out)
		}
	}
	return string(out)
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
