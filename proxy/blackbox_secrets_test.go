//go:build linux

package proxy

import (
	"fmt"
	"strings"
	"testing"

	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// blackboxSpellings are the ways to write a name and a password down, as the
// lines of a script: %[1]s and %[2]s are both as spelled by spell, %[3]d and
// %[4]d their lengths, %[5]s both as a PLAIN message.
var blackboxSpellings = []struct {
	name, door string
	spell      func(string) string
	lines      string
}{
	{"LOGIN with quoted strings", "imap", blackboxQuoted, "C: a LOGIN %[1]s %[2]s\nS: a OK {any}\n"},
	{"LOGIN with literals", "imap", blackboxOctets, "C: a LOGIN {%[3]d}\nS: + {any}\nC: %[1]s {%[4]d}\nS: + {any}\nC: %[2]s\nS: a OK {any}\n"},
	{"LOGIN with literals that do not wait", "imap", blackboxOctets, "C: a LOGIN {%[3]d+}\nC: %[1]s {%[4]d+}\nC: %[2]s\nS: a OK {any}\n"},
	{"AUTHENTICATE PLAIN", "imap", blackboxOctets, "C: a AUTHENTICATE PLAIN\nS: +\\x20\nC: %[5]s\nS: a OK {any}\n"},
	{"AUTHENTICATE PLAIN with a response", "imap", blackboxOctets, "C: a AUTHENTICATE PLAIN %[5]s\nS: a OK {any}\n"},
	{"AUTHENTICATE LOGIN", "imap", b64, "C: a AUTHENTICATE LOGIN\nS: + {any}\nC: %[1]s\nS: + {any}\nC: %[2]s\nS: a OK {any}\n"},
	{"USER and PASS", "pop3", blackboxOctets, "C: USER %[1]s\nS: +OK{any}\nC: PASS %[2]s\nS: +OK {any}\n"},
	{"AUTH PLAIN", "pop3", blackboxOctets, "C: AUTH PLAIN\nS: +\\x20\nC: %[5]s\nS: +OK {any}\n"},
	{"AUTH PLAIN with a response", "pop3", blackboxOctets, "C: AUTH PLAIN %[5]s\nS: +OK {any}\n"},
	{"AUTH LOGIN", "pop3", b64, "C: AUTH LOGIN\nS: + {any}\nC: %[1]s\nS: + {any}\nC: %[2]s\nS: +OK {any}\n"},
}

// blackboxOctets spells s so that a script takes it literally.
func blackboxOctets(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String()
}

// blackboxQuoted spells s as a quoted string of IMAP.
func blackboxQuoted(s string) string {
	return blackboxOctets(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`)
}

// blackboxSecrets returns a case for each account in each spelling: a password
// must arrive as it was typed.
func blackboxSecrets(t *testing.T, accounts []standin.Account) (all []mailtest.Script) {
	t.Helper()
	for _, spelling := range blackboxSpellings {
		var file strings.Builder
		fmt.Fprintf(&file, "listener %s tls\n", spelling.door)
		for _, a := range accounts {
			if a.Name == blackboxVictim {
				continue
			}
			plain := plain(a.Name, a.Secret)
			fmt.Fprintf(&file, "=== %s\nS: {any}\n", a.Name)
			fmt.Fprintf(&file, spelling.lines, spelling.spell(a.Name), spelling.spell(a.Secret), len(a.Name), len(a.Secret), plain)
		}
		scripts, err := mailtest.ParseScripts("secrets/"+spelling.name, []byte(file.String()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scripts...)
	}
	return all
}
