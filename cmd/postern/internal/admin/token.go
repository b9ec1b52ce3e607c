package admin

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"

	"postern/cmd/postern/internal/config"
)

// readToken returns the token of operators or readers in a file.
func readToken(path string) (string, error) { return config.ReadToken("admin token", path) }

// tokens are the tokens by role; empty where there is none. That of roleNone is
// always empty.
type tokens [roleOperator + 1]string

// loadTokens reads the tokens, or creates that of operators where the settings leave
// it to postern.
func loadTokens(c *config.Config) (t tokens, err error) {
	path, create := c.TokenFile()
	if path != "" {
		t[roleOperator], err = readToken(path)
		if create && errors.Is(err, fs.ErrNotExist) {
			t[roleOperator] = rand.Text()
			err = os.WriteFile(path, []byte(t[roleOperator]+"\n"), 0o600)
		}
		if err != nil {
			return tokens{}, config.Errorf("ADMIN_TOKEN_FILE", "%w", err)
		}
	}
	if path := c.ReadTokenFile(); path != "" {
		if t[roleReader], err = readToken(path); err != nil {
			return tokens{}, config.Errorf("ADMIN_READ_TOKEN_FILE", "%w", err)
		}
	}
	if t[roleReader] != "" && t[roleReader] == t[roleOperator] {
		return tokens{}, config.Errorf("ADMIN_READ_TOKEN_FILE", "got the token in %sADMIN_TOKEN_FILE, want another one", config.Prefix)
	}
	return t, nil
}

// clientToken returns the token that a command sends: that of operators, or the
// read-only one if there is no other that the user may read. It is empty where none is
// needed.
func clientToken(c *config.Config) (string, error) {
	path, _ := c.TokenFile()
	readPath := c.ReadTokenFile()
	if path == "" && readPath == "" {
		return "", nil
	}
	if path != "" {
		token, err := readToken(path)
		if err == nil || readPath == "" || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			return token, err
		}
	}
	return readToken(readPath)
}
