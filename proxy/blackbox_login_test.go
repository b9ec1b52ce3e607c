//go:build linux

package proxy

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// loginSpellings are the ways to send a name and a password, as lines of a script:
// %[1]s and %[2]s are name and password as written by spell, %[3]d and %[4]d their
// lengths, %[5]s both as a PLAIN message.
var loginSpellings = []struct {
	name, listener string
	spell          func(string) string
	lines          string
}{
	{"LOGIN with quoted strings", "imap", spellQuoted, "C: a LOGIN %[1]s %[2]s\nS: a OK {any}\n"},
	{"LOGIN with literals", "imap", spellBytes, "C: a LOGIN {%[3]d}\nS: + {any}\nC: %[1]s {%[4]d}\nS: + {any}\nC: %[2]s\nS: a OK {any}\n"},
	{"LOGIN with literals that do not wait", "imap", spellBytes, "C: a LOGIN {%[3]d+}\nC: %[1]s {%[4]d+}\nC: %[2]s\nS: a OK {any}\n"},
	{"AUTHENTICATE PLAIN", "imap", spellBytes, "C: a AUTHENTICATE PLAIN\nS: +\\x20\nC: %[5]s\nS: a OK {any}\n"},
	{"AUTHENTICATE PLAIN with a response", "imap", spellBytes, "C: a AUTHENTICATE PLAIN %[5]s\nS: a OK {any}\n"},
	{"AUTHENTICATE LOGIN", "imap", b64, "C: a AUTHENTICATE LOGIN\nS: + {any}\nC: %[1]s\nS: + {any}\nC: %[2]s\nS: a OK {any}\n"},
	{"USER and PASS", "pop3", spellBytes, "C: USER %[1]s\nS: +OK{any}\nC: PASS %[2]s\nS: +OK {any}\n"},
	{"AUTH PLAIN", "pop3", spellBytes, "C: AUTH PLAIN\nS: +\\x20\nC: %[5]s\nS: +OK {any}\n"},
	{"AUTH PLAIN with a response", "pop3", spellBytes, "C: AUTH PLAIN %[5]s\nS: +OK {any}\n"},
	{"AUTH LOGIN", "pop3", b64, "C: AUTH LOGIN\nS: + {any}\nC: %[1]s\nS: + {any}\nC: %[2]s\nS: +OK {any}\n"},
}

// spellBytes writes s so that a script takes it literally.
func spellBytes(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String()
}

// spellQuoted writes s as a quoted string of IMAP.
func spellQuoted(s string) string {
	return spellBytes(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`)
}

// passwordScripts returns a script for each account and spelling. The password must
// arrive as it was sent.
func passwordScripts(t *testing.T, accounts []standin.Account) (all []mailtest.Script) {
	t.Helper()
	for _, spelling := range loginSpellings {
		var file strings.Builder
		fmt.Fprintf(&file, "listener %s tls\n", spelling.listener)
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

// authCommand is the command that begins an exchange, by protocol.
var authCommand = map[string]string{"imap": "a AUTHENTICATE ", "pop3": "AUTH "}

// testChallenges logs in by the mechanisms with a new challenge each time, which no
// script can play: with a wrong password and then, on the same connection, with the
// right one.
func (b *blackboxTarget) testChallenges(t *testing.T) {
	accounts := slices.DeleteFunc(slices.Clone(b.dovecot.Accounts), func(a standin.Account) bool {
		return !slices.Contains([]string{"user", "quotes", "spaces", "utf8"}, a.Name)
	})
	for mechanism, exchange := range map[string]func(client *peer, ask string, a standin.Account) string{
		"CRAM-MD5":    loginCRAM,
		"SCRAM-SHA-1": func(client *peer, ask string, a standin.Account) string { return loginSCRAM(client, sha1.New, ask, a) },
		"SCRAM-SHA-256": func(client *peer, ask string, a standin.Account) string {
			return loginSCRAM(client, sha256.New, ask, a)
		},
	} {
		for _, listener := range []mailtest.Listener{{Protocol: "imap"}, {Protocol: "imap", TLS: true}, {Protocol: "pop3"}, {Protocol: "pop3", TLS: true}} {
			t.Run(fmt.Sprintf("%s/%s/TLS %v", mechanism, listener.Protocol, listener.TLS), func(t *testing.T) {
				ask := authCommand[listener.Protocol] + mechanism
				for i, a := range accounts {
					client, _ := b.connectGreeted(t, listener)
					if wrong := (standin.Account{Name: a.Name, Secret: a.Secret + "x"}); i == 0 {
						if got := exchange(client, ask, wrong); !strings.HasPrefix(got, "a NO [AUTHENTICATIONFAILED]") && !strings.HasPrefix(got, "-ERR [AUTH]") {
							t.Errorf("%s with a wrong password: got %q, want a denial", a.Name, got)
						}
					}
					if got := exchange(client, ask, a); !strings.HasPrefix(got, "a OK [CAPABILITY") && !strings.HasPrefix(got, "+OK") {
						t.Errorf("%s: got %q, want OK", a.Name, got)
					}
				}
			})
		}
	}
}

// sendAndRead sends a line and returns the answer, decoded if it is a challenge.
func sendAndRead(client *peer, line string) (text string, challenge bool) {
	client.t.Helper()
	client.send(line)
	got, err := client.readLine()
	if err != nil {
		client.t.Fatalf("answer to %q: got %q, %v", line, got, err)
	}
	if response, ok := strings.CutPrefix(got, "+ "); ok {
		return decode(response), true
	}
	return got, false
}

// loginCRAM logs in as RFC 2195 describes, and returns the last answer.
func loginCRAM(client *peer, ask string, a standin.Account) string {
	challenge, _ := sendAndRead(client, ask)
	mac := hmac.New(md5.New, []byte(a.Secret))
	mac.Write([]byte(challenge))
	last, _ := sendAndRead(client, b64(a.Name+" "+hex.EncodeToString(mac.Sum(nil))))
	return last
}

// loginSCRAM logs in as RFC 5802 describes, checks the server's signature and returns
// the last answer.
func loginSCRAM(client *peer, h func() hash.Hash, ask string, a standin.Account) string {
	client.t.Helper()
	mac := func(key []byte, message string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(message))
		return m.Sum(nil)
	}
	first := "n=" + a.Name + ",r=blackbox"
	server, _ := sendAndRead(client, ask+" "+b64("n,,"+first))
	nonce, rest, _ := strings.Cut(server, ",s=")
	salt, rounds, _ := strings.Cut(rest, ",i=")
	n, err := strconv.Atoi(rounds)
	if err != nil {
		client.t.Fatalf("server's first message: got %q, want an iteration count in it", server)
	}
	salted, err := pbkdf2.Key(h, a.Secret, []byte(decode(salt)), n, h().Size())
	if err != nil {
		client.t.Fatal(err)
	}
	proof := mac(salted, "Client Key")
	stored := h()
	stored.Write(proof)
	signed := first + "," + server + ",c=biws," + nonce
	for i, b := range mac(stored.Sum(nil), signed) {
		proof[i] ^= b
	}
	last, more := sendAndRead(client, b64("c=biws,"+nonce+",p="+b64(string(proof))))
	if !more {
		return last
	}
	if want := "v=" + b64(string(mac(mac(salted, "Server Key"), signed))); last != want {
		client.t.Errorf("server's signature: got %q, want %q", last, want)
	}
	last, _ = sendAndRead(client, "")
	return last
}
