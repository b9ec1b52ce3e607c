package tlsconf_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/tlsconf"
)

// client is tlsconf.Client for arguments that must be valid.
func client(t testing.TB, caFile, name string) *tls.Config {
	t.Helper()
	c, err := tlsconf.Client(caFile, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientVerifiesCertificate(t *testing.T) {
	dir := testDir(t.TempDir())
	pair, other := issue(t, "dovecot.example.org"), issue(t, "dovecot.example.org")
	backend := load(t, dir.config(t, pair)).Server("imap")
	ca := dir.write(t, "ca.pem", append(other.certPEM(), pair.certPEM()...))
	wrong := dir.write(t, "wrong.pem", other.certPEM())

	mustHandshake(t, backend, client(t, ca, "dovecot.example.org"))

	var badName x509.HostnameError
	if _, err, _ := handshake(t, backend, client(t, ca, "elsewhere.example.org")); !errors.As(err, &badName) {
		t.Errorf("certificate for another name: got %v, want x509.HostnameError", err)
	}
	var badCA x509.UnknownAuthorityError
	for _, file := range []string{wrong, ""} { // "": the CAs of the system
		if _, err, _ := handshake(t, backend, client(t, file, "dovecot.example.org")); !errors.As(err, &badCA) {
			t.Errorf("CA file %q: got %v, want x509.UnknownAuthorityError", file, err)
		}
	}
}

func TestClientRejectsOldVersions(t *testing.T) {
	dir := testDir(t.TempDir())
	pair := issue(t, "dovecot.example.org")
	backend := load(t, dir.config(t, pair)).Server("imap").Clone()
	backend.MinVersion, backend.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err, _ := handshake(t, backend, client(t, dir.write(t, "ca.pem", pair.certPEM()), "dovecot.example.org")); err == nil {
		t.Error("accepted a backend with TLS 1.1")
	}
}

// Every connection verifies the certificate.
func TestClientDoesNotResume(t *testing.T) {
	dir := testDir(t.TempDir())
	pair := issue(t, "dovecot.example.org")
	backend := load(t, dir.config(t, pair)).Server("imap")
	c := client(t, dir.write(t, "ca.pem", pair.certPEM()), "dovecot.example.org")
	mustHandshake(t, backend, c)
	if resumes(t, backend, c) {
		t.Error("resumed a session with the backend")
	}
}

func TestClientErrors(t *testing.T) {
	dir := testDir(t.TempDir())
	missing := filepath.Join(string(dir), "missing")
	if _, err := tlsconf.Client(missing, "x"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: got %v, want an error that names it", err)
	}
	for name, data := range map[string]string{"empty": "", "key": string(issue(t).keyPEM(t)), "text": "hello"} {
		file := dir.write(t, name, []byte(data))
		if _, err := tlsconf.Client(file, "x"); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s file: got %v, want an error that names it", name, err)
		}
	}
}

func TestMinVersion(t *testing.T) {
	for s, want := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		if got, err := tlsconf.MinVersion(s); got != want || err != nil {
			t.Errorf("MinVersion(%q): got %x, %v, want %x", s, got, err, want)
		}
	}
	for _, s := range []string{"", "1.1", "1.0", "1", "1.4", "TLS1.2", " 1.2", "771"} {
		if _, err := tlsconf.MinVersion(s); err == nil || !strings.Contains(err.Error(), "1.2 or 1.3") {
			t.Errorf("MinVersion(%q): got %v, want an error", s, err)
		}
	}
}
