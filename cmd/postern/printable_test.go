package main

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		max  int
		want string
	}{
		"empty":              {"", 8, ""},
		"plain":              {"anna@example.org", 128, "anna@example.org"},
		"a space stays":      {"a b", 128, "a b"},
		"line ends":          {"a\r\nb", 128, `a\x0d\x0ab`},
		"a quote":            {`a"b`, 128, `a\x22b`},
		"a backslash":        {`a\x41`, 128, `a\x5cx41`},
		"a field":            {"rip=1.2.3.4", 128, `rip\x3d1.2.3.4`},
		"an escape sequence": {"\x1b[2J", 128, `\x1b[2J`},
		"NUL and DEL":        {"\x00\x7f", 128, `\x00\x7f`},
		"UTF-8":              {"jürgen", 128, `j\xc3\xbcrgen`},
		"not UTF-8":          {"\xff\xfe", 128, `\xff\xfe`},
		"a line separator":   {"a\u2028b", 128, `a\xe2\x80\xa8b`},
		"just fits":          {"12345678", 8, "12345678"},
		"one too many":       {"123456789", 8, "12345..."},
		"no half escapes":    {"1234\n6789", 8, "1234..."},
		"escapes that fit":   {"\n\n", 8, `\x0a\x0a`},
		"escapes that do not": {
			"\n\n\n", 8, `\x0a...`,
		},
	} {
		if got := printable(tt.in, tt.max); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("anna@example.org", 0)
	f.Add("a\r\nlevel=ERROR rip=192.0.2.1", 10)
	f.Add(`","rip":"192.0.2.1`, 4)
	f.Add("\x1b]0;owned\x07\u202e\xff", 16)
	f.Add(strings.Repeat("\n", 10_000), 128)
	f.Fuzz(func(t *testing.T, s string, n int) {
		max := len(cut) + 1 + int(uint(n)%1000)
		got := printable(s, max)
		if len(got) > max {
			t.Errorf("%d octets of at most %d", len(got), max)
		}
		for _, c := range []byte(got) {
			if c < 0x20 || c > 0x7e || c == '"' || c == '=' {
				t.Errorf("%q holds %q", got, c)
			}
		}
		if isPlain(s) && len(s) <= max && got != s {
			t.Errorf("%q became %q, which needs no escape", s, got)
		}
		if whole := printable(s, 4*len(s)+len(cut)); !strings.HasPrefix(whole, strings.TrimSuffix(got, cut)) {
			t.Errorf("%q does not begin %q", got, whole)
		}
	})
}

// isPlain reports whether nothing in s needs an escape.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e || strings.ContainsRune("\"\\=", c) })
}
