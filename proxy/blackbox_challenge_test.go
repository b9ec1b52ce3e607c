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

// blackboxAsk is the command that begins an exchange, by protocol.
var blackboxAsk = map[string]string{"imap": "a AUTHENTICATE ", "pop3": "AUTH "}

// challenges logs in by the mechanisms whose every challenge is another one, and
// which a script therefore cannot play: with the right password, and before that
// on the same connection with a wrong one.
func (b *blackbox) challenges(t *testing.T) {
	accounts := slices.DeleteFunc(slices.Clone(b.dovecot.Accounts), func(a standin.Account) bool {
		return !slices.Contains([]string{"user", "quotes", "spaces", "utf8"}, a.Name)
	})
	for mechanism, exchange := range map[string]func(c *peer, ask string, a standin.Account) string{
		"CRAM-MD5":      blackboxCRAM,
		"SCRAM-SHA-1":   func(c *peer, ask string, a standin.Account) string { return blackboxSCRAM(c, sha1.New, ask, a) },
		"SCRAM-SHA-256": func(c *peer, ask string, a standin.Account) string { return blackboxSCRAM(c, sha256.New, ask, a) },
	} {
		for _, door := range []mailtest.Listener{{Protocol: "imap"}, {Protocol: "imap", TLS: true}, {Protocol: "pop3"}, {Protocol: "pop3", TLS: true}} {
			t.Run(fmt.Sprintf("%s/%s/TLS %v", mechanism, door.Protocol, door.TLS), func(t *testing.T) {
				ask := blackboxAsk[door.Protocol] + mechanism
				for i, a := range accounts {
					c, _ := b.visit(t, door)
					if wrong := (standin.Account{Name: a.Name, Secret: a.Secret + "x"}); i == 0 {
						if got := exchange(c, ask, wrong); !strings.HasPrefix(got, "a NO [AUTHENTICATIONFAILED]") && !strings.HasPrefix(got, "-ERR [AUTH]") {
							t.Errorf("%s with a wrong password: %q", a.Name, got)
						}
					}
					if got := exchange(c, ask, a); !strings.HasPrefix(got, "a OK [CAPABILITY") && !strings.HasPrefix(got, "+OK") {
						t.Errorf("%s: %q", a.Name, got)
					}
				}
			})
		}
	}
}

// blackboxAnswer says a line and returns what is said to it; a challenge is
// decoded.
func blackboxAnswer(c *peer, line string) (text string, challenge bool) {
	c.t.Helper()
	c.say(line)
	got, err := c.line()
	if err != nil {
		c.t.Fatalf("%q is answered by %q, %v", line, got, err)
	}
	if response, ok := strings.CutPrefix(got, "+ "); ok {
		return decode(response), true
	}
	return got, false
}

// blackboxCRAM logs in as RFC 2195 says and returns the last answer.
func blackboxCRAM(c *peer, ask string, a standin.Account) string {
	challenge, _ := blackboxAnswer(c, ask)
	mac := hmac.New(md5.New, []byte(a.Secret))
	mac.Write([]byte(challenge))
	last, _ := blackboxAnswer(c, b64(a.Name+" "+hex.EncodeToString(mac.Sum(nil))))
	return last
}

// blackboxSCRAM logs in as RFC 5802 says, checks the server's signature and returns the
// last answer.
func blackboxSCRAM(c *peer, h func() hash.Hash, ask string, a standin.Account) string {
	c.t.Helper()
	mac := func(key []byte, message string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(message))
		return m.Sum(nil)
	}
	first := "n=" + a.Name + ",r=blackbox"
	server, _ := blackboxAnswer(c, ask+" "+b64("n,,"+first))
	nonce, rest, _ := strings.Cut(server, ",s=")
	salt, rounds, _ := strings.Cut(rest, ",i=")
	n, err := strconv.Atoi(rounds)
	if err != nil {
		c.t.Fatalf("server's first message is %q", server)
	}
	salted, err := pbkdf2.Key(h, a.Secret, []byte(decode(salt)), n, h().Size())
	if err != nil {
		c.t.Fatal(err)
	}
	proof := mac(salted, "Client Key")
	stored := h()
	stored.Write(proof)
	signed := first + "," + server + ",c=biws," + nonce
	for i, b := range mac(stored.Sum(nil), signed) {
		proof[i] ^= b
	}
	last, more := blackboxAnswer(c, b64("c=biws,"+nonce+",p="+b64(string(proof))))
	if !more {
		return last
	}
	if want := "v=" + b64(string(mac(mac(salted, "Server Key"), signed))); last != want {
		c.t.Errorf("server's signature is %q, want %q", last, want)
	}
	last, _ = blackboxAnswer(c, "")
	return last
}
