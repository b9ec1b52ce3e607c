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

// client is tlsconf.Client for settings that must be good.
func client(t testing.TB, caFile, name string) *tls.Config {
	t.Helper()
	c, err := tlsconf.Client(caFile, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientVerifiesBackend(t *testing.T) {
	dir := folder(t.TempDir())
	pair, other := issue(t, "dovecot.example.org"), issue(t, "dovecot.example.org")
	backend := load(t, dir.config(t, pair)).Server("imap")
	ca := dir.write(t, "ca.pem", append(other.certPEM(), pair.certPEM()...))
	wrong := dir.write(t, "wrong.pem", other.certPEM())

	served(t, backend, client(t, ca, "dovecot.example.org"))

	var badName x509.HostnameError
	if _, err, _ := handshake(t, backend, client(t, ca, "elsewhere.example.org")); !errors.As(err, &badName) {
		t.Errorf("a certificate for another name gave %v", err)
	}
	var badAuthority x509.UnknownAuthorityError
	for _, file := range []string{wrong, ""} { // "": the system does not know ours
		if _, err, _ := handshake(t, backend, client(t, file, "dovecot.example.org")); !errors.As(err, &badAuthority) {
			t.Errorf("authorities %q: an unknown authority gave %v", file, err)
		}
	}
}

func TestClientRefusesOldVersions(t *testing.T) {
	dir := folder(t.TempDir())
	pair := issue(t, "dovecot.example.org")
	backend := load(t, dir.config(t, pair)).Server("imap").Clone()
	backend.MinVersion, backend.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err, _ := handshake(t, backend, client(t, dir.write(t, "ca.pem", pair.certPEM()), "dovecot.example.org")); err == nil {
		t.Error("a backend with TLS 1.1 was accepted")
	}
}

// Each connection checks the certificate, none relies on an earlier one.
func TestClientDoesNotResume(t *testing.T) {
	dir := folder(t.TempDir())
	pair := issue(t, "dovecot.example.org")
	backend := load(t, dir.config(t, pair)).Server("imap")
	c := client(t, dir.write(t, "ca.pem", pair.certPEM()), "dovecot.example.org")
	served(t, backend, c)
	if resumes(t, backend, c) {
		t.Error("a session with the backend was resumed")
	}
}

func TestClientErrors(t *testing.T) {
	dir := folder(t.TempDir())
	absent := filepath.Join(string(dir), "absent")
	if _, err := tlsconf.Client(absent, "x"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), absent) {
		t.Errorf("absent file: got %v", err)
	}
	for name, data := range map[string]string{"empty": "", "key": string(issue(t).keyPEM(t)), "text": "hello"} {
		file := dir.write(t, name, []byte(data))
		if _, err := tlsconf.Client(file, "x"); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s file: got %v", name, err)
		}
	}
}

func TestMinVersion(t *testing.T) {
	for s, want := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		if got, err := tlsconf.MinVersion(s); got != want || err != nil {
			t.Errorf("MinVersion(%q) is %x, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1.1", "1.0", "1", "1.4", "TLS1.2", " 1.2", "771"} {
		if _, err := tlsconf.MinVersion(s); err == nil || !strings.Contains(err.Error(), "1.2 or 1.3") {
			t.Errorf("MinVersion(%q) gave %v", s, err)
		}
	}
}
