package mailtest

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"
)

func TestParseText(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct{ in, want string }{
		{"", "\r\n"},
		{"a1 LOGIN user {5}", "a1 LOGIN user {5}\r\n"},
		{"a {5+}{b64}{anything}{", "a {5+}{b64}{anything}{\r\n"},
		{" two  spaces ", " two  spaces \r\n"},
		{`\r\n\t\0\\\x00\xfF`, "\r\n\t\x00\\\x00\xff\r\n"},
		{`half\c`, "half"},
		{`\c`, ""},
		{"{repeat:ab,3}.", "ababab.\r\n"},
		{"{repeat:,,2}", ",,\r\n"},
		{`{repeat:\x7d\0,2}`, "}\x00}\x00\r\n"},
		{"{repeat:x,0}", "\r\n"},
		{"{repeat:,7}", "\r\n"},
		{"{b64:a b}", b64("a b") + "\r\n"},
		{`{b64:\0u\0\xc3\xa9}`, b64("\x00u\x00é") + "\r\n"},
		{"{b64:}", "\r\n"},
		{"AUTH PLAIN {plain:,user,pa ss,word}", "AUTH PLAIN " + b64("\x00user\x00pa ss,word") + "\r\n"},
		{`{plain:z\x2c,u,}`, b64("z,\x00u\x00") + "\r\n"},
		{"é", "é\r\n"},
	} {
		got, err := parseText(tt.in)
		if err != nil || string(got.octets) != tt.want || got.any {
			t.Errorf("parseText(%q) = %v, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestParseTextRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`a\`:                                   "stands alone",
		`a\q`:                                  `unknown escape "\\q"`,
		`a\x4`:                                 "unknown escape",
		`a\xgg`:                                "unknown escape",
		`a\c b`:                                "behind the end",
		"{any} b":                              "behind the end",
		`{any}\c`:                              "behind the end",
		"{b64:abc":                             "no closing brace",
		`{b64:a\c}`:                            "in braces",
		`{plain:a\,b,c}`:                       "in braces",
		"{plain:user,pass}":                    "not authzid,name,password",
		"{repeat:x}":                           "no number",
		"{repeat:x,-1}":                        "needs a number",
		"{repeat:x,y}":                         "needs a number",
		`{repeat:\q,1}`:                        "unknown escape",
		"{repeat:xx,2000000000}":               "needs a number",
		"{repeat:x,999999999999}":              "needs a number",
		strings.Repeat("{repeat:x,262144}", 2): "over 262144 octets",
	} {
		if got, err := parseText(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseText(%q) = %v, %v; want error with %q", in, got, err, want)
		}
	}
}

func TestTextMatches(t *testing.T) {
	for _, tt := range []struct {
		text, got string
		want      bool
	}{
		{"* OK {any}", "* OK ready\r\n", true},
		{"* OK {any}", "* OK \r\n", true},
		{"* OK {any}", "* OK ready\n", false},
		{"* OK {any}", "* NO ready\r\n", false},
		{"* OK", "* OK\r\n", true},
		{"* OK", "* OK \r\n", false},
		{"* OK", "* OK\n", false},
		{`* OK\c`, "* OK", true},
	} {
		parsed, err := parseText(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.matches([]byte(tt.got)); got != tt.want {
			t.Errorf("%s matches %q: %v, want %v", parsed, tt.got, got, tt.want)
		}
	}
}

func TestParseScripts(t *testing.T) {
	const file = `# LOGIN in many spellings. RFC 3501 section 6.2.3.

listener imap clear cleartext
=== quoted
S: * OK {any}
C: a LOGIN "user" "pa ss"
U< 1 AUTHENTICATE PLAIN {plain:,user,pa ss}
U> 1 OK in
S: a OK in
=== inside TLS
listener pop3 tls
S: +OK
C-
`
	scripts, err := ParseScripts("login.dlg", []byte(file))
	if err != nil || len(scripts) != 2 {
		t.Fatalf("got %d scripts, %v; want 2", len(scripts), err)
	}
	quoted, inside := scripts[0], scripts[1]
	if quoted.Name != "login/quoted" || quoted.Listener != (Listener{"imap", false, true}) || quoted.ClientOnly() {
		t.Errorf("first script: %+v", quoted)
	}
	if len(quoted.steps) != 5 || quoted.steps[1].line != 6 || quoted.steps[1].String() != `C: "a LOGIN \"user\" \"pa ss\"\r\n"` {
		t.Errorf("steps of the first script: %v", quoted.steps)
	}
	if inside.Name != "login/inside TLS" || inside.Listener != (Listener{"pop3", true, false}) || !inside.ClientOnly() {
		t.Errorf("second script: %+v", inside)
	}
}

func TestParseScriptsWithoutTitle(t *testing.T) {
	scripts, err := ParseScripts("quit.dlg", []byte("listener pop3 clear\r\nS: +OK\r\nC: QUIT\r\nS: +OK {any}\r\nS-\r\n"))
	if err != nil || len(scripts) != 1 || scripts[0].Name != "quit" || len(scripts[0].steps) != 4 {
		t.Errorf("got %+v, %v", scripts, err)
	}
}

func TestParseScriptsRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                                          `script "x" has no listener`,
		"listener imap clear\n":                     "says nothing",
		"S: hi\n":                                   "has no listener",
		"listener smtp clear\n":                     `x.dlg:1: listener protocol "smtp"`,
		"listener imap starttls\n":                  `listener "starttls"`,
		"listener imap\n":                           "listener takes",
		"listener imap clear tls\n":                 `listener option "tls"`,
		"listener imap clear\nX: hi\n":              `x.dlg:2: unknown line "X:"`,
		"listener imap clear\nC:hi\n":               `unknown line "C:hi"`,
		"listener imap clear\nC: {any}\n":           "cannot be said",
		"listener imap clear\nC- now\n":             "takes no text",
		"listener imap tls\nTLS\n":                  "TLS is on already",
		"listener imap clear\nTLS\nTLS\n":           "line 3: TLS is on already",
		"listener imap clear\nS: a\n=== late\nS: b": "before the first title",
		"listener imap clear\n===\nS: a\n":          "empty or used twice",
		"listener imap clear\n=== a\n=== b\nS: x":   `script "x/a" says nothing`,
		"listener imap clear\n=== a\nC-\n=== a\nC-": "empty or used twice",
	} {
		if got, err := ParseScripts("x.dlg", []byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseScripts(%q) = %v, %v; want error with %q", in, got, err, want)
		}
	}
}

func FuzzParseScripts(f *testing.F) {
	for _, file := range []string{"../standin/testdata/pop3.dlg", "../standin/testdata/imap.dlg"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		scripts, err := ParseScripts("fuzz.dlg", data)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for _, s := range scripts {
			if seen[s.Name] || len(s.steps) == 0 || s.Listener.Protocol == "" {
				t.Errorf("script %q: not unique, empty or without listener", s.Name)
			}
			seen[s.Name] = true
			for _, st := range s.steps {
				if len(st.text.octets) > maxText+len("\r\n") {
					t.Errorf("script %q, line %d: %d octets", s.Name, st.line, len(st.text.octets))
				}
			}
		}
	})
}
