package main

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// tokenMin is the shortest token that is believed to be no guess, in octets.
const tokenMin = 16

// tokenFile is where the admin token is: named by the settings, or in the state
// folder. own tells that postern may make it.
func (c *Config) tokenFile() (path string, own bool) {
	if c.Admin.TokenFile != "" {
		return string(c.Admin.TokenFile), false
	}
	if c.State.Dir == "" {
		return "", false
	}
	return filepath.Join(string(c.State.Dir), "admin-token"), true
}

// readToken returns the token in a file.
func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	token := bytes.TrimSpace(text)
	if len(token) < tokenMin || bytes.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("read the admin token: %s must hold one word of at least %d octets", path, tokenMin)
	}
	return string(token), nil
}

// makeToken reads the admin token, or makes one if that is postern's to do.
func (g *gate) makeToken() (err error) {
	path, own := g.config.tokenFile()
	if path == "" || strings.HasPrefix(string(g.config.Admin.Listen), "unix:") {
		return nil
	}
	g.token, err = readToken(path)
	if own && errors.Is(err, fs.ErrNotExist) {
		g.token = rand.Text()
		err = os.WriteFile(path, []byte(g.token+"\n"), 0o600)
	}
	if err != nil {
		return wrong("ADMIN_TOKEN_FILE", "%v", err)
	}
	return nil
}

// guardToken lets through who shows the token. A socket needs none: its file
// says who may use it. Pages from elsewhere are turned away even then.
func (g *gate) guardToken(h http.Handler) http.Handler {
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case strings.HasPrefix(string(g.config.Admin.Listen), "unix:"):
		case g.token == "":
			http.Error(w, "there is no admin token: set "+prefix+"STATE_DIR, "+prefix+"ADMIN_TOKEN_FILE, or a socket for "+prefix+"ADMIN_LISTEN", http.StatusForbidden)
			return
		case !ok || subtle.ConstantTimeCompare([]byte(shown), []byte(g.token)) != 1:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this needs the token in "+prefix+"ADMIN_TOKEN_FILE", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(inner)
}
