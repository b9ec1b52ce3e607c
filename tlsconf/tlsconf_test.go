package tlsconf_test

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/tlsconf"
)

// insecureClient returns a client config that accepts every certificate.
func insecureClient(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true}
}

func TestServerNamePicksCertificate(t *testing.T) {
	pairs := []identity{
		issue(t, "mail.example.org"),
		issue(t, "*.example.net"),
		issue(t, "imap.example.net", "Pop.Example.NET"),
		issue(t, "*.sub.example.net"),
	}
	server := load(t, testDir(t.TempDir()).config(t, pairs...)).Server("imap")
	for _, tt := range []struct {
		about, name string
		want        int
	}{
		{"exact", "mail.example.org", 0},
		{"wildcard", "smtp.example.net", 1},
		{"exact before wildcard", "imap.example.net", 2},
		{"case does not matter", "POP.example.net", 2},
		{"longer wildcard", "a.sub.example.net", 3},
		{"wildcard is one label", "a.b.example.net", 0},
		{"wildcard is not none", "example.net", 0},
		{"unknown name gets the default", "mail.elsewhere.example", 0},
		{"no name gets the default", "", 0},
		{"not a name gets the default", "a b.example.net", 0},
		{"literal wildcard gets the default", "*.example.net", 0},
	} {
		t.Run(tt.about, func(t *testing.T) {
			if got := mustHandshake(t, server, insecureClient(tt.name)); !got.Equal(pairs[tt.want].cert) {
				t.Errorf("%q: got the certificate for %q, want %q", tt.name, got.DNSNames, pairs[tt.want].cert.DNSNames)
			}
		})
	}
}

// A client that supports one signature algorithm gets a certificate of that kind. A
// client that supports both gets the first of Config.
func TestSignatureAlgorithmPicksCertificate(t *testing.T) {
	ecdsaOnly := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	rsaOnly := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	twins := []identity{issue(t, "mail.example.org"), issueRSA(t, "mail.example.org")}
	wild := []identity{issue(t, "mail.example.org"), issueRSA(t, "*.example.org")}
	for _, tt := range []struct {
		about, name string
		pairs       []identity
		suites      []uint16
		want        int
	}{
		{"both", "mail.example.org", twins, nil, 0},
		{"ECDSA", "mail.example.org", twins, ecdsaOnly, 0},
		{"RSA", "mail.example.org", twins, rsaOnly, 1},
		{"RSA without a name", "", twins, rsaOnly, 1},
		{"RSA with an unknown name", "old.example.org", twins, rsaOnly, 1},
		{"RSA from a wildcard", "mail.example.org", wild, rsaOnly, 1},
		{"both, exact first", "mail.example.org", wild, nil, 0},
	} {
		t.Run(tt.about, func(t *testing.T) {
			client := insecureClient(tt.name)
			if tt.suites != nil {
				client.MaxVersion, client.CipherSuites = tls.VersionTLS12, tt.suites
			}
			server := load(t, testDir(t.TempDir()).config(t, tt.pairs...)).Server("imap")
			if got := mustHandshake(t, server, client); !got.Equal(tt.pairs[tt.want].cert) {
				t.Errorf("got a certificate with %v, want certificate %d", got.PublicKeyAlgorithm, tt.want)
			}
		})
	}
}

func TestNoCommonSignatureAlgorithm(t *testing.T) {
	for _, pairs := range [][]identity{{issue(t, "a.example.org")}, {issue(t, "a.example.org"), issue(t, "a.example.org")}} {
		server := load(t, testDir(t.TempDir()).config(t, pairs...)).Server("imap")
		client := insecureClient("a.example.org")
		client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		if _, clientErr, serverErr := handshake(t, server, client); clientErr == nil || serverErr == nil {
			t.Errorf("client: %v; server: %v; want errors", clientErr, serverErr)
		}
	}
}

func TestALPN(t *testing.T) {
	pair := issue(t, "mail.example.org")
	server := load(t, testDir(t.TempDir()).config(t, pair)).Server("imap")
	for _, tt := range []struct {
		about string
		offer []string
		want  string
		alert string
	}{
		{about: "none offered"},
		{about: "the same protocol", offer: []string{"imap"}, want: "imap"},
		{about: "the same among others", offer: []string{"h2", "imap"}, want: "imap"},
		{about: "the other mail protocol", offer: []string{"pop3"}, alert: "no application protocol"},
		{about: "protocols of a browser", offer: []string{"h2", "http/1.1"}, alert: "no application protocol"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			client := trustingClient("mail.example.org", pair)
			client.NextProtos = tt.offer
			state, clientErr, serverErr := handshake(t, server, client)
			if tt.alert == "" {
				if clientErr != nil || serverErr != nil || state.NegotiatedProtocol != tt.want {
					t.Errorf("protocol %q; client: %v; server: %v", state.NegotiatedProtocol, clientErr, serverErr)
				}
			} else if clientErr == nil || !strings.Contains(clientErr.Error(), tt.alert) || serverErr == nil {
				t.Errorf("client: %v; server: %v; want %q", clientErr, serverErr, tt.alert)
			}
		})
	}
}

func TestMinVersionIsEnforced(t *testing.T) {
	pair := issue(t, "mail.example.org")
	c := testDir(t.TempDir()).config(t, pair)
	for _, tt := range []struct {
		about            string
		minimum, maximum uint16
		ok               bool
	}{
		{"1.1 is never allowed", 0, tls.VersionTLS11, false},
		{"1.2 by default", 0, tls.VersionTLS12, true},
		{"1.2 if configured", tls.VersionTLS12, tls.VersionTLS12, true},
		{"1.2 is below the minimum", tls.VersionTLS13, tls.VersionTLS12, false},
		{"1.3", tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c.MinVersion = tt.minimum
			client := trustingClient("mail.example.org", pair)
			client.MinVersion, client.MaxVersion = tls.VersionTLS10, tt.maximum
			state, clientErr, serverErr := handshake(t, load(t, c).Server("imap"), client)
			if ok := clientErr == nil && serverErr == nil; ok != tt.ok || (ok && state.Version != tt.maximum) {
				t.Errorf("version %x; client: %v; server: %v", state.Version, clientErr, serverErr)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := testDir(t.TempDir())
	one, two := issue(t, "one.example.org"), issue(t, "two.example.org")
	good := dir.config(t, one, two)
	garbage := dir.write(t, "garbage", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n"))
	missing := filepath.Join(string(dir), "missing")
	for _, tt := range []struct {
		about  string
		config tlsconf.Config
		field  string
		want   []string
	}{
		{"no files", tlsconf.Config{}, "Certs", []string{"got 0 certificate files"}},
		{"keys only", tlsconf.Config{Keys: good.Keys}, "Certs", []string{"got 0 certificate files"}},
		{"unpaired", tlsconf.Config{Certs: good.Certs, Keys: good.Keys[:1]}, "Keys", []string{"got 1 key files", "2 certificate files"}},
		{"old version", tlsconf.Config{Certs: good.Certs, Keys: good.Keys, MinVersion: tls.VersionTLS11}, "MinVersion", []string{"TLS 1.1", "1.2 or 1.3"}},
		{"no certificate file", tlsconf.Config{Certs: []string{missing}, Keys: good.Keys[:1]}, "Certs", []string{"read certificate", missing}},
		{"no key file", tlsconf.Config{Certs: good.Certs[:1], Keys: []string{missing}}, "Keys", []string{"read private key", missing}},
		{"garbage", tlsconf.Config{Certs: []string{garbage}, Keys: good.Keys[:1]}, "Certs", []string{garbage, good.Keys[0]}},
		{"key of another certificate", tlsconf.Config{Certs: good.Certs, Keys: []string{good.Keys[0], good.Keys[0]}}, "Certs", []string{good.Certs[1], "does not match"}},
		{"certificate and key exchanged", tlsconf.Config{Certs: good.Keys[:1], Keys: good.Certs[:1]}, "Certs", []string{good.Keys[0], "switched"}},
		{"no ticket key file", tlsconf.Config{Certs: good.Certs, Keys: good.Keys, TicketKeyFile: missing}, "TicketKeyFile", []string{"read session ticket keys", missing}},
		{"bad ticket key file", tlsconf.Config{Certs: good.Certs, Keys: good.Keys, TicketKeyFile: garbage}, "TicketKeyFile", []string{"read session ticket keys " + garbage, "line 1"}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s, err := tlsconf.Load(tt.config)
			if s != nil || err == nil {
				t.Fatalf("got %v, %v, want an error", s, err)
			}
			var config *tlsconf.ConfigError
			if !errors.As(err, &config) || config.Field != tt.field {
				t.Errorf("got %#v, want a ConfigError for field %s", err, tt.field)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want %q in it", err, want)
				}
			}
		})
	}
}

// A key file that everybody can read is no error: secrets mounted by an orchestrator
// often have such a mode.
func TestKeyFileModeIsIgnored(t *testing.T) {
	c := testDir(t.TempDir()).config(t, issue(t, "mail.example.org"))
	if err := os.Chmod(c.Keys[0], 0o644); err != nil {
		t.Fatal(err)
	}
	load(t, c)
}

func TestNotAfterIsEarliest(t *testing.T) {
	expired := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	pairs := []identity{issue(t, "a.example.org"), sign(t, issue(t).key, expired, []string{"b.example.org"}), issue(t, "c.example.org")}
	s := load(t, testDir(t.TempDir()).config(t, pairs...))
	if got := s.NotAfter(); !got.Equal(expired) {
		t.Errorf("NotAfter: got %v, want %v", got, expired)
	}
	if got := mustHandshake(t, s.Server("imap"), insecureClient("b.example.org")); !got.Equal(pairs[1].cert) {
		t.Error("the expired certificate is not used")
	}
}
