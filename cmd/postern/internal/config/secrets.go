package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// This file reads files with secrets. An error never has the secret.

// tokenMin is the shortest token that is accepted, in octets.
const tokenMin = 16

// ReadToken returns the token in a file. what says in an error which token it is.
func ReadToken(what, path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	token := bytes.TrimSpace(text)
	if bytes.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("read the %s: got white space within the token in %s, want at least %d octets without", what, path, tokenMin)
	}
	if len(token) < tokenMin {
		return "", fmt.Errorf("read the %s: got %d octets in %s, want at least %d", what, len(token), path, tokenMin)
	}
	return string(token), nil
}

// Token returns the token in POLICY_TOKEN_FILE, empty if there is none.
func (p AuthPolicy) Token() (string, error) {
	if p.PolicyToken == "" {
		return "", nil
	}
	token, err := ReadToken("token of Dovecot", string(p.PolicyToken))
	if err != nil {
		return "", Errorf("POLICY_TOKEN_FILE", "%w", err)
	}
	return token, nil
}

// secretFileMax is how much of a file with a secret is read, in octets.
const secretFileMax = 1024

// readSecret returns the content of the file of a setting, which other users must not be able to read.
func readSecret(setting, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Errorf(setting, "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, Errorf(setting, "%w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, Errorf(setting, "got %s with mode %04o, want a file that only its owner and group can read: chmod o= %[1]s", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, secretFileMax))
	if err != nil {
		return nil, Errorf(setting, "%w", err)
	}
	return text, nil
}
