package eventlog

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for name, tt := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"empty":                {"", 8, ""},
		"plain":                {"anna@example.org", 128, "anna@example.org"},
		"space":                {"a b", 128, "a b"},
		"end of line":          {"a\r\nb", 128, `a\x0d\x0ab`},
		"quote":                {`a"b`, 128, `a\x22b`},
		"backslash":            {`a\x41`, 128, `a\x5cx41`},
		"field":                {"rip=1.2.3.4", 128, `rip\x3d1.2.3.4`},
		"escape sequence":      {"\x1b[2J", 128, `\x1b[2J`},
		"NUL and DEL":          {"\x00\x7f", 128, `\x00\x7f`},
		"UTF-8":                {"jürgen", 128, `j\xc3\xbcrgen`},
		"invalid UTF-8":        {"\xff\xfe", 128, `\xff\xfe`},
		"line separator":       {"a\u2028b", 128, `a\xe2\x80\xa8b`},
		"as long as the limit": {"12345678", 8, "12345678"},
		"one too long":         {"123456789", 8, "12345..."},
		"no part of an escape": {"1234\n6789", 8, "1234..."},
		"escapes that fit":     {"\n\n", 8, `\x0a\x0a`},
		"escapes that do not fit": {
			"\n\n\n", 8, `\x0a...`,
		},
	} {
		if got := Printable(tt.in, tt.limit); got != tt.want {
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
		limit := len(ellipsis) + 1 + int(uint(n)%1000)
		got := Printable(s, limit)
		if len(got) > limit {
			t.Errorf("%d octets of at most %d", len(got), limit)
		}
		for _, c := range []byte(got) {
			if c < 0x20 || c > 0x7e || c == '"' || c == '=' {
				t.Errorf("%q holds %q", got, c)
			}
		}
		if isPlain(s) && len(s) <= limit && got != s {
			t.Errorf("%q became %q, which needs no escape", s, got)
		}
		if whole := Printable(s, 4*len(s)+len(ellipsis)); !strings.HasPrefix(whole, strings.TrimSuffix(got, ellipsis)) {
			t.Errorf("%q does not begin %q", got, whole)
		}
	})
}

// isPlain reports whether nothing in s needs an escape.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e || strings.ContainsRune("\"\\=", c) })
}

func TestStripControl(t *testing.T) {
	if got := StripControl("Störung\x1b[2J\r\n\u0085 日本"); got != "Störung [2J    日本" {
		t.Errorf("got %q", got)
	}
}
