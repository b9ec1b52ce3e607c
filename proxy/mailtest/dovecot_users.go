//go:build linux

package mailtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"postern/proxy/standin"
)

// DovecotAccounts are the accounts Dovecot has unless told otherwise. Account
// "user" with the secret "pass" comes first and has mail; the others, without
// mail, have secrets that something on the way from a mail program to Dovecot
// may get wrong.
func DovecotAccounts() []standin.Account {
	return []standin.Account{
		{Name: "user", Secret: "pass", Messages: standin.Samples()},
		{Name: "other", Secret: "secret", Messages: standin.Samples()[:1]},
		{Name: "user@example.org", Secret: "pass"},
		{Name: "backslash", Secret: `back\\slash\`},
		{Name: "braces", Secret: `(){}[]*&!?;<>|`},
		{Name: "colon", Secret: "a:b:c"},
		{Name: "equals", Secret: "="},
		{Name: "latin1", Secret: "caf\xe9"},
		{Name: "literal", Secret: "{5}"},
		{Name: "literal-ns", Secret: "{5+}"},
		{Name: "long", Secret: strings.Repeat("0123456789", 20)},
		{Name: "nil", Secret: "NIL"},
		{Name: "percent", Secret: "100%u%%s%{user}"},
		{Name: "quotes", Secret: `"double" and 'single'`},
		{Name: "quoteslash", Secret: `"\"`},
		{Name: "spaces", Secret: " lead  double trail "},
		{Name: "star", Secret: "*"},
		{Name: "utf8", Secret: "pässwört€ 密码"},
	}
}

// tokenPrefix begins every token that is good.
const tokenPrefix = "good-"

// DovecotToken returns the OAuth 2.0 bearer token with which Dovecot lets an
// account in by XOAUTH2 or OAUTHBEARER. All other tokens are refused.
func DovecotToken(account string) string {
	return tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(account))
}

// serveTokens starts the endpoint where Dovecot asks about tokens (RFC 7662),
// and tells Dovecot about it.
func (d *Dovecot) serveTokens() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.tokens = &http.Server{Handler: http.HandlerFunc(introspect)}
	go func() { _ = d.tokens.Serve(ln) }()
	conf := fmt.Sprintf(`introspection_mode = post
introspection_url = http://%s/
username_attribute = username
active_attribute = active
active_value = true
`, ln.Addr())
	return os.WriteFile(filepath.Join(d.dir, "oauth2.conf"), []byte(conf), 0o644)
}

// introspect tells whose token it is asked about.
func introspect(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{"active": false}
	if name, good := strings.CutPrefix(r.PostFormValue("token"), tokenPrefix); good {
		if account, err := base64.RawURLEncoding.DecodeString(name); err == nil {
			answer = map[string]any{"active": true, "username": string(account)}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// indexAll has Dovecot make the index of every inbox. Sessions that begin at the
// same time while there is none may find the inbox empty.
func indexAll(conf string) error {
	if out, err := exec.Command("doveadm", "-c", conf, "index", "-A", "INBOX").CombinedOutput(); err != nil {
		return fmt.Errorf("index the inboxes: %w: %s", err, out)
	}
	return nil
}
