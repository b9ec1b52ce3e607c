package admin

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"postern/cmd/postern/internal/config"
)

// tokenMin is the shortest token that is accepted, in octets.
const tokenMin = 16

// readToken returns the token in a file.
func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	token := bytes.TrimSpace(text)
	if bytes.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("read the admin token: got white space within the token in %s, want at least %d octets without", path, tokenMin)
	}
	if len(token) < tokenMin {
		return "", fmt.Errorf("read the admin token: got %d octets in %s, want at least %d", len(token), path, tokenMin)
	}
	return string(token), nil
}

// loadToken reads the admin token, or creates it where the settings leave that
// to postern. It is empty where none is needed or there is no place for one.
func loadToken(c *config.Config) (token string, err error) {
	path, create := c.TokenFile()
	if path == "" {
		return "", nil
	}
	token, err = readToken(path)
	if create && errors.Is(err, fs.ErrNotExist) {
		token = rand.Text()
		err = os.WriteFile(path, []byte(token+"\n"), 0o600)
	}
	if err != nil {
		return "", config.Errorf("ADMIN_TOKEN_FILE", "%w", err)
	}
	return token, nil
}

// guardToken refuses requests without the token. A socket needs none: the mode of
// its file says who may use it. Requests by web pages of other origins are
// refused even there.
func (s *Server) guardToken(h http.Handler) http.Handler {
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case s.socket:
		case s.token == "":
			http.Error(w, "there is no admin token: set "+config.Prefix+"STATE_DIR, "+config.Prefix+"ADMIN_TOKEN_FILE, or a socket for "+config.Prefix+"ADMIN_LISTEN", http.StatusForbidden)
			return
		case !ok || subtle.ConstantTimeCompare([]byte(shown), []byte(s.token)) != 1:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this needs the token in "+config.Prefix+"ADMIN_TOKEN_FILE", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(inner)
}
