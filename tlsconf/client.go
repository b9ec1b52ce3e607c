package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Client returns the config for connections to a backend. The backend must present a
// certificate for name, issued by a CA whose certificate is in caFile (PEM). An empty
// caFile means the CAs of the system. An empty name leaves ServerName empty: the
// caller then sets it on a clone for each backend.
//
// There is no session cache, so every connection verifies the certificate of the
// backend. A resumed session could be older than a change of caFile.
func Client(caFile, name string) (*tls.Config, error) {
	c := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read CA certificates %s: got no certificate in PEM format, want at least 1", caFile)
	}
	return c, nil
}

// MinVersion parses "1.2" or "1.3" into the constant of crypto/tls. Older versions are
// deprecated (RFC 8996) and an error.
func MinVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("minimum TLS version: got %q, want 1.2 or 1.3", s)
}
