package tlsconf_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/tlsconf"
)

// identity is a self-signed certificate with its key.
type identity struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes an ECDSA certificate for names. It is valid on the real clock and on the
// fake clock of synctest, which starts in 2000.
func issue(t testing.TB, names ...string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, key, time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC), names)
}

// rsaKey is shared by the tests because it takes long to generate.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// issueRSA is issue with an RSA key.
func issueRSA(t testing.TB, names ...string) identity {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, key, time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC), names)
}

// sign makes a certificate for key that expires at end.
func sign(t testing.TB, key crypto.Signer, end time.Time, names []string) identity {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "postern test " + serial.String()},
		NotBefore:             time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              end,
		DNSNames:              names,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return identity{cert, key}
}

// certPEM is the certificate file of a pair.
func (i identity) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

// keyPEM is the key file of a pair.
func (i identity) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// testDir is the directory with the files of one Source.
type testDir string

// write writes the file name and returns its path.
func (f testDir) write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(string(f), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config writes the pairs as 0.crt, 0.key, 1.crt and so on, and returns a Config of
// their paths.
func (f testDir) config(t testing.TB, pairs ...identity) tlsconf.Config {
	t.Helper()
	var c tlsconf.Config
	for i, pair := range pairs {
		name := string(rune('0' + i))
		c.Certs = append(c.Certs, f.write(t, name+".crt", pair.certPEM()))
		c.Keys = append(c.Keys, f.write(t, name+".key", pair.keyPEM(t)))
	}
	return c
}

// load is tlsconf.Load for a Config that must be valid.
func load(t testing.TB, c tlsconf.Config) *tlsconf.Source {
	t.Helper()
	s, err := tlsconf.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// trustingClient returns a client config with the server name and with pairs as its
// only CAs.
func trustingClient(name string, pairs ...identity) *tls.Config {
	pool := x509.NewCertPool()
	for _, pair := range pairs {
		pool.AddCert(pair.cert)
	}
	return &tls.Config{ServerName: name, RootCAs: pool}
}

// handshake connects client to server over loopback and sends one octet from server
// to client, so that the client also receives the tickets after a TLS 1.3 handshake.
// It returns the state of the client and the error of each side.
func handshake(t testing.TB, server, client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error)
	go func() { done <- serveOne(ln, server) }()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	_, clientErr = conn.Read(make([]byte, 1))
	raw.Close()
	return conn.ConnectionState(), clientErr, <-done
}

// serveOne accepts one connection, sends an octet and closes it.
func serveOne(ln net.Listener, server *tls.Config) error {
	raw, err := ln.Accept()
	if err != nil {
		return err
	}
	defer raw.Close()
	_, err = tls.Server(raw, server).Write([]byte("*"))
	return err
}

// mustHandshake is handshake for a handshake that must succeed. It returns the leaf
// certificate.
func mustHandshake(t testing.TB, server, client *tls.Config) *x509.Certificate {
	t.Helper()
	state, clientErr, serverErr := handshake(t, server, client)
	if clientErr != nil || serverErr != nil {
		t.Fatalf("handshake: client: %v; server: %v", clientErr, serverErr)
	}
	return state.PeerCertificates[0]
}
