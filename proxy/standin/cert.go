package standin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is how long a certificate is valid. A demo may run for days.
const certificateLife = 30 * 24 * time.Hour

// Certificate is a self-signed certificate with its key, ECDSA on P-256. It is its own
// CA: a client with CertPEM as a trusted root accepts a server that presents it.
type Certificate struct {
	CertPEM []byte // the certificate, PEM
	KeyPEM  []byte // its private key, PKCS #8 in PEM

	names []string
}

// NewCertificate makes a certificate for host names and IP addresses, at least one. It
// is valid for 30 days, beginning an hour ago to allow for clocks that are behind.
func NewCertificate(names ...string) (*Certificate, error) {
	if len(names) == 0 {
		return nil, errors.New("make certificate: got no name, want at least 1")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key for %s: %w", names[0], err)
	}
	template, err := certificateTemplate(names)
	if err != nil {
		return nil, fmt.Errorf("make certificate for %s: %w", names[0], err)
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate for %s: %w", names[0], err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key for %s: %w", names[0], err)
	}
	return &Certificate{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		names:   names,
	}, nil
}

// certificateTemplate returns the template of a certificate that is both leaf and root.
// OpenSSL and GnuTLS accept a root only if its CA bit is set.
func certificateTemplate(names []string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: names[0]},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certificateLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c, nil
}

// Write writes the pair to dir as name.crt and name.key, and returns both paths. Only
// the owner can read the key. Existing files are replaced.
func (c *Certificate) Write(dir, name string) (certFile, keyFile string, err error) {
	certFile = filepath.Join(dir, name+".crt")
	keyFile = filepath.Join(dir, name+".key")
	if err := os.WriteFile(certFile, c.CertPEM, 0o644); err != nil {
		return "", "", fmt.Errorf("write certificate: %w", err)
	}
	if err := os.WriteFile(keyFile, c.KeyPEM, 0o600); err != nil {
		return "", "", fmt.Errorf("write key: %w", err)
	}
	return certFile, keyFile, nil
}

// Server returns a TLS configuration that presents the certificate. It panics if
// CertPEM and KeyPEM are not a pair.
func (c *Certificate) Server() *tls.Config {
	pair, err := tls.X509KeyPair(c.CertPEM, c.KeyPEM)
	if err != nil {
		panic("load own certificate: " + err.Error())
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// Client returns a TLS configuration that trusts this certificate only, with its first
// name as the server name.
func (c *Certificate) Client() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CertPEM)
	return &tls.Config{RootCAs: roots, ServerName: c.names[0], MinVersion: tls.VersionTLS12}
}
