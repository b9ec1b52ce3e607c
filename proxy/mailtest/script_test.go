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
			t.Errorf("parseText(%q): got %v, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestParseTextErrors(t *testing.T) {
	for in, want := range map[string]string{
		`a\`:                                   `got \ at the end`,
		`a\q`:                                  `got escape "\\q"`,
		`a\x4`:                                 "got escape",
		`a\xgg`:                                "got escape",
		`a\c b`:                                "after the end",
		"{any} b":                              "after the end",
		`{any}\c`:                              "after the end",
		"{b64:abc":                             "got no closing brace",
		`{b64:a\c}`:                            "in braces",
		`{plain:a\,b,c}`:                       "in braces",
		"{plain:user,pass}":                    "want authzid,name,password",
		"{repeat:x}":                           "want octets,times",
		"{repeat:x,-1}":                        "want a number",
		"{repeat:x,y}":                         "want a number",
		`{repeat:\q,1}`:                        "got escape",
		"{repeat:xx,2000000000}":               "want a number",
		"{repeat:x,999999999999}":              "want a number",
		strings.Repeat("{repeat:x,262144}", 2): "want at most 262144",
	} {
		if got, err := parseText(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseText(%q): got %v, %v, want an error with %q", in, got, err, want)
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
			t.Errorf("%s matches %q: got %v, want %v", parsed, tt.got, got, tt.want)
		}
	}
}

func TestParseScripts(t *testing.T) {
	const file = `# LOGIN with quoted strings. RFC 3501 section 6.2.3.

listener imap clear cleartext
=== quoted
S: * OK {any}
C: a LOGIN "user" "pa ss"
U< 1 AUTHENTICATE PLAIN {plain:,user,pa ss}
U> 1 OK in
S: a OK in
=== in TLS
listener pop3 tls
S: +OK
C-
`
	scripts, err := ParseScripts("login.dlg", []byte(file))
	if err != nil || len(scripts) != 2 {
		t.Fatalf("got %d scripts, %v, want 2", len(scripts), err)
	}
	quoted, inTLS := scripts[0], scripts[1]
	if quoted.Name != "login/quoted" || quoted.Listener != (Listener{"imap", false, true}) || quoted.ClientOnly() {
		t.Errorf("first script: got %+v", quoted)
	}
	if len(quoted.steps) != 5 || quoted.steps[1].line != 6 || quoted.steps[1].String() != `C: "a LOGIN \"user\" \"pa ss\"\r\n"` {
		t.Errorf("steps of the first script: got %v", quoted.steps)
	}
	if inTLS.Name != "login/in TLS" || inTLS.Listener != (Listener{"pop3", true, false}) || !inTLS.ClientOnly() {
		t.Errorf("second script: got %+v", inTLS)
	}
}

func TestParseScriptsWithoutTitle(t *testing.T) {
	scripts, err := ParseScripts("quit.dlg", []byte("listener pop3 clear\r\nS: +OK\r\nC: QUIT\r\nS: +OK {any}\r\nS-\r\n"))
	if err != nil || len(scripts) != 1 || scripts[0].Name != "quit" || len(scripts[0].steps) != 4 {
		t.Errorf("got %+v, %v", scripts, err)
	}
}

func TestParseScriptsErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                                          `script "x": got no listener line`,
		"listener imap clear\n":                     "got no lines of dialogue",
		"S: hi\n":                                   "got no listener line",
		"listener smtp clear\n":                     `x.dlg:1: listener protocol: got "smtp"`,
		"listener imap starttls\n":                  `listener: got "starttls"`,
		"listener imap\n":                           "listener: got 1 fields",
		"listener imap clear tls\n":                 `listener option: got "tls"`,
		"listener imap clear\nX: hi\n":              `x.dlg:2: got line "X:"`,
		"listener imap clear\nC:hi\n":               `got line "C:hi"`,
		"listener imap clear\nC: {any}\n":           "got {any} in a text to be sent",
		"listener imap clear\nC- now\n":             `C-: got text "now", want none`,
		"listener imap tls\nTLS\n":                  "got TLS on a connection in TLS",
		"listener imap clear\nTLS\nTLS\n":           "line 3: got TLS on a connection in TLS",
		"listener imap clear\nS: a\n=== late\nS: b": "before the first title",
		"listener imap clear\n===\nS: a\n":          "want a text that is unique",
		"listener imap clear\n=== a\n=== b\nS: x":   `script "x/a": got no lines of dialogue`,
		"listener imap clear\n=== a\nC-\n=== a\nC-": "want a text that is unique",
	} {
		if got, err := ParseScripts("x.dlg", []byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseScripts(%q): got %v, %v, want an error with %q", in, got, err, want)
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
				t.Errorf("script %q: got a duplicate name, no steps or no listener", s.Name)
			}
			seen[s.Name] = true
			for _, st := range s.steps {
				if len(st.text.octets) > maxText+len("\r\n") {
					t.Errorf("script %q, line %d: got %d octets, want at most %d and CRLF", s.Name, st.line, len(st.text.octets), maxText)
				}
			}
		}
	})
}
