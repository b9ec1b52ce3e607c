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

// DovecotAccounts returns the default accounts of Dovecot. The first is "user" with the
// password "pass" and three messages, the second "other" with one. The others have
// passwords that are difficult to quote or encode, and no mail.
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

// tokenPrefix is the prefix of every valid token.
const tokenPrefix = "good-"

// DovecotToken returns the OAuth 2.0 bearer token of an account for XOAUTH2 and
// OAUTHBEARER. Dovecot denies all other tokens.
func DovecotToken(account string) string {
	return tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(account))
}

// serveTokens starts the token introspection server (RFC 7662) and configures Dovecot to
// use it.
func (d *Dovecot) serveTokens() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.tokenServer = &http.Server{Handler: http.HandlerFunc(introspect)}
	go func() { _ = d.tokenServer.Serve(ln) }()
	conf := fmt.Sprintf(`introspection_mode = post
introspection_url = http://%s/
username_attribute = username
active_attribute = active
active_value = true
`, ln.Addr())
	return os.WriteFile(filepath.Join(d.dir, "oauth2.conf"), []byte(conf), 0o644)
}

// introspect answers whether a token is valid, and for which account.
func introspect(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{"active": false}
	if name, valid := strings.CutPrefix(r.PostFormValue("token"), tokenPrefix); valid {
		if account, err := base64.RawURLEncoding.DecodeString(name); err == nil {
			answer = map[string]any{"active": true, "username": string(account)}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// indexInboxes makes Dovecot index every inbox. Without an index, sessions that begin at
// the same time may see an empty inbox.
func indexInboxes(conf string) error {
	if out, err := exec.Command("doveadm", "-c", conf, "index", "-A", "INBOX").CombinedOutput(); err != nil {
		return fmt.Errorf("index inboxes: %w: %s", err, out)
	}
	return nil
}
