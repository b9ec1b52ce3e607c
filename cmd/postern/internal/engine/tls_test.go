package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// An authority is a CA with its files in dir.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes a CA, whose certificate is in ca.crt.
func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign makes a certificate in NAME.crt, with its key in NAME.key. The first one signs itself.
func (a *authority) sign(t *testing.T, name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		path, kind string
		data       []byte
	}{{a.path(name + ".crt"), "CERTIFICATE", der}, {a.path(name + ".key"), "PRIVATE KEY", secret}} {
		if err := os.WriteFile(f.path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.data}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// server makes a certificate for an engine called engine.example.
func (a *authority) server(t *testing.T) {
	t.Helper()
	a.sign(t, "engine", &x509.Certificate{DNSNames: []string{"engine.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// client makes a certificate for a gateway.
func (a *authority) client(t *testing.T) {
	t.Helper()
	a.sign(t, "gateway", &x509.Certificate{Subject: pkix.Name{CommonName: "gw"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	ca.server(t)
	ca.client(t)
	other.client(t)
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program, "tls-cert-file "+ca.path("engine.crt"), "tls-key-file "+ca.path("engine.key"), "tls-ca-cert-file "+ca.path("ca.crt"), "tls-auth-clients yes")
		url := "valkeys://" + e.Addr() + "?server_name=engine.example"
		good := Config{URL: url, CA: ca.path("ca.crt"), Cert: ca.path("gateway.crt"), Key: ca.path("gateway.key")}
		if err := add(t, open(t, good)); err != nil {
			t.Error(err)
		}
		for name, tt := range map[string]struct {
			change func(*Config)
			want   Reason
		}{
			"name":                        {func(c *Config) { c.URL = "valkeys://" + e.Addr() }, Denied},
			"CA":                          {func(c *Config) { c.CA = other.path("ca.crt") }, Denied},
			"no client certificate":       {func(c *Config) { c.Cert, c.Key = "", "" }, Denied},
			"client certificate of other": {func(c *Config) { c.Cert, c.Key = other.path("gateway.crt"), other.path("gateway.key") }, Denied},
			"no TLS":                      {func(c *Config) { c.URL = e.URL() }, Down},
		} {
			c := good
			tt.change(&c)
			if err := add(t, open(t, c)); ReasonOf(err) != tt.want || err == nil {
				t.Errorf("%s: got %v with the reason %q, want %q", name, err, ReasonOf(err), tt.want)
			}
		}
		plain := testbed.StartEngine(t, program)
		c := good
		c.URL = "valkeys://" + plain.Addr()
		mismatch := open(t, c)
		mismatch.callMax = callMax // the engine waits for the end of a line
		if err := add(t, mismatch); err == nil {
			t.Error("got no error from an engine without TLS")
		}
	})
}

// TestCertificatesAreReadForEachConnection, so that they can be replaced.
func TestCertificatesAreReadForEachConnection(t *testing.T) {
	ca := newAuthority(t)
	ca.server(t)
	ca.client(t)
	e := testbed.StartEngine(t, testbed.AnyEngine(t), "tls-cert-file "+ca.path("engine.crt"), "tls-key-file "+ca.path("engine.key"), "tls-ca-cert-file "+ca.path("ca.crt"))
	c := open(t, Config{URL: "valkeys://" + e.Addr() + "?server_name=engine.example", CA: ca.path("ca.crt"), Cert: ca.path("gateway.crt"), Key: ca.path("gateway.key")})
	if err := add(t, c); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(ca.path("gateway.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ca.path("gateway.crt")); err != nil {
		t.Fatal(err)
	}
	e.Do("CLIENT", "KILL", "TYPE", "normal")
	wantReason(t, add(t, c), Down)
	wantReason(t, add(t, c), Denied)
	if err := os.WriteFile(ca.path("gateway.crt"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := add(t, c); err != nil {
		t.Error(err)
	}
}

func TestOpenChecksTheFiles(t *testing.T) {
	ca := newAuthority(t)
	ca.client(t)
	missing, empty := filepath.Join(t.TempDir(), "missing"), testbed.WriteFile(t, "\n")
	for field, configs := range map[string][]Config{
		"URL":          {{}, {URL: "http://h"}},
		"CA":           {{URL: "valkeys://h", CA: missing}, {URL: "valkeys://h", CA: empty}},
		"Cert":         {{URL: "valkeys://h", Cert: missing, Key: missing}, {URL: "valkeys://h", Cert: ca.path("ca.crt"), Key: ca.path("gateway.key")}},
		"PasswordFile": {{URL: "valkey://h", PasswordFile: missing}, {URL: "valkey://h", PasswordFile: empty}, {URL: "valkey://h", PasswordFile: testbed.WriteFile(t, "two\nlines\n")}},
	} {
		for _, c := range configs {
			_, err := Open(c)
			wrong, ok := errors.AsType[*ConfigError](err)
			if !ok || wrong.Field != field {
				t.Errorf("%+v: got %v, want an error about %s", c, err, field)
			} else if strings.Contains(err.Error(), "lines") && field == "PasswordFile" && strings.Contains(err.Error(), "two\n") {
				t.Errorf("%v has the password", err)
			}
		}
	}
}
