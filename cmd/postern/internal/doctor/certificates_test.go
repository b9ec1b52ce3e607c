package doctor

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
)

// authority is a CA, perhaps one that another has issued.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// pemOf is a certificate in PEM format.
func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// issue issues a certificate, or makes one that is self-signed if a is nil.
func (a *authority) issue(t *testing.T, template *x509.Certificate, key crypto.Signer) *authority {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(89 * 24 * time.Hour)
	}
	template.BasicConstraintsValid = true
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// newKey is an ECDSA key.
func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAuthority makes a CA that a has issued, a root if a is nil.
func (a *authority) newAuthority(t *testing.T, name string) *authority {
	return a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, newKey(t))
}

// TestCertificates of every kind.
func TestCertificates(t *testing.T) {
	root := (*authority)(nil).newAuthority(t, "root")
	issuer := root.newAuthority(t, "issuer")
	elsewhere := (*authority)(nil).newAuthority(t, "elsewhere")
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"mail.example", "imap.example"}
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		by       *authority
		template x509.Certificate
		key      crypto.Signer // nil: ECDSA
		chain    []*authority
		otherKey bool // the file has the key of another certificate
		mode     os.FileMode
		level    Level
		want     []string
	}{
		"good":               {by: issuer, chain: []*authority{issuer}, want: []string{"ECDSA P-256, for mail.example, imap.example, chain complete, key matches, expires in 8"}},
		"RSA":                {by: issuer, key: rsaKey, chain: []*authority{issuer}, want: []string{"RSA 2048"}},
		"Ed25519":            {by: issuer, key: edKey, chain: []*authority{issuer}, want: []string{"Ed25519"}},
		"expired":            {by: issuer, template: x509.Certificate{NotBefore: time.Now().Add(-90 * day), NotAfter: time.Now().Add(-day)}, chain: []*authority{issuer}, level: Failure, want: []string{"expired on 20", "renew it", "TLS_CERT"}},
		"expires in 5 days":  {by: issuer, template: x509.Certificate{NotAfter: time.Now().Add(5*day + time.Hour)}, chain: []*authority{issuer}, level: Failure, want: []string{"expires in 5 days", "renew it"}},
		"expires in 1 day":   {by: issuer, template: x509.Certificate{NotAfter: time.Now().Add(day + time.Hour/2)}, chain: []*authority{issuer}, level: Failure, want: []string{"expires in 24 hours"}},
		"expires in 20 days": {by: issuer, template: x509.Certificate{NotAfter: time.Now().Add(20*day + time.Hour)}, chain: []*authority{issuer}, level: Warning, want: []string{"expires in 20 days", "renew it"}},
		"not valid yet":      {by: issuer, template: x509.Certificate{NotBefore: time.Now().Add(day)}, chain: []*authority{issuer}, level: Failure, want: []string{"is valid only from", "set the clock"}},
		"self-signed":        {level: Warning, want: []string{"is self-signed", "Let's Encrypt"}},
		"no intermediate":    {by: issuer, level: Failure, want: []string{"the chain is not complete", "fullchain.pem"}},
		"unknown CA":         {by: elsewhere, chain: []*authority{elsewhere}, level: Warning, want: []string{"a CA that this system knows", "ca-certificates"}},
		"no names":           {by: issuer, template: x509.Certificate{DNSNames: []string{}, Subject: pkix.Name{CommonName: "mail.example"}}, chain: []*authority{issuer}, level: Warning, want: []string{"names no host", "subjectAltName"}},
		"another key":        {by: issuer, chain: []*authority{issuer}, otherKey: true, level: Failure, want: []string{"does not match", "is the key of another certificate", "TLS_KEY"}},
		"open key file":      {by: issuer, chain: []*authority{issuer}, mode: 0o644, level: Warning, want: []string{"private key ", "mode 0644", "chmod o-rwx"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.template.DNSNames == nil {
				tt.template.DNSNames = names
			}
			if tt.key == nil {
				tt.key = newKey(t)
			}
			leaf := tt.by.issue(t, &tt.template, tt.key)
			file := bytes.NewBuffer(pemOf(leaf.cert))
			for _, c := range tt.chain {
				file.Write(pemOf(c.cert))
			}
			if tt.otherKey {
				tt.key = newKey(t)
			}
			if tt.mode == 0 {
				tt.mode = 0o600
			}
			certFile, keyFile := writePair(t, file.Bytes(), tt.key, tt.mode)
			e := &examination{Options: Options{roots: roots}}
			e.config.TLS = config.TLS{Certs: []string{certFile}, Keys: []string{keyFile}}
			r := Report(e.checkCertificates(t.Context()))
			r.expect(t, tt.level, tt.want...)
			if len(r) != 1 {
				t.Errorf("got\n%s", r.text(t))
			}
		})
	}
}

// writePair writes a certificate and a key into files.
func writePair(t *testing.T, cert []byte, key crypto.Signer, mode os.FileMode) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certFile, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), mode); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// TestCertificateFilesThatCannotBeUsed.
func TestCertificateFilesThatCannotBeUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		path string
		want []string
	}{
		"missing": {"/no/such/file", []string{"/no/such/file", "put the file there"}},
		"no PEM":  {path, []string{path, "all in PEM format"}},
	} {
		e := &examination{}
		e.config.TLS = config.TLS{Certs: []string{tt.path}, Keys: []string{tt.path}}
		t.Run(name, func(t *testing.T) { Report(e.checkCertificates(t.Context())).expect(t, Failure, tt.want...) })
	}
}
