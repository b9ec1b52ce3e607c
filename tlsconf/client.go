package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Client returns the config for connections to a backend, which must show a
// certificate for name that one of the authorities in caFile has signed. An
// empty caFile stands for the system's authorities. An empty name leaves
// ServerName empty: the caller then sets it on a clone for each backend.
//
// There is no session cache. Every connection checks the backend's
// certificate anew, so that a session cannot outlive the trust it began with.
func Client(caFile, name string) (*tls.Config, error) {
	c := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read authorities %s: no certificate in PEM form in it", caFile)
	}
	return c, nil
}

// MinVersion returns the version that s names, "1.2" or "1.3", as crypto/tls
// numbers it. Older versions are refused (RFC 8996).
func MinVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("TLS version %q: want 1.2 or 1.3", s)
}
