package tlsconf_test

import (
	"crypto/tls"
	"os"
	"strings"
	"sync"
	"testing"

	"postern/tlsconf"
)

// reload is Reload for a reload that must succeed.
func reload(t testing.TB, s *tlsconf.Source, want bool) {
	t.Helper()
	if changed, err := s.Reload(); changed != want || err != nil {
		t.Fatalf("Reload: got %t, %v, want %t and no error", changed, err, want)
	}
}

func TestReload(t *testing.T) {
	dir := testDir(t.TempDir())
	old, renewed := issue(t, "mail.example.org"), issue(t, "mail.example.org", "new.example.org")
	s := load(t, dir.config(t, old))
	imap, pop := s.Server("imap"), s.Server("pop3")
	reload(t, s, false)

	dir.config(t, renewed)
	if got := mustHandshake(t, imap, insecureClient("mail.example.org")); !got.Equal(old.cert) {
		t.Error("the new certificate is served before Reload")
	}
	reload(t, s, true)
	reload(t, s, false)
	for _, server := range []*tls.Config{imap, pop, s.Server("imap")} {
		if got := mustHandshake(t, server, insecureClient("mail.example.org")); !got.Equal(renewed.cert) {
			t.Error("the old certificate is served after Reload")
		}
	}
	if !s.Serves("new.example.org") {
		t.Error("Serves does not know the name of the new certificate")
	}
}

// An error in one file keeps the former contents of all files.
func TestReloadErrorChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		about, file string
		data        []byte // nil removes the file
	}{
		{"certificate missing", "1.crt", nil},
		{"key missing", "1.key", nil},
		{"ticket keys missing", "tickets", nil},
		{"certificate empty", "1.crt", []byte{}},
		{"certificate of another key", "1.crt", issue(t, "b.example.org").certPEM()},
		{"key of another certificate", "1.key", issue(t, "b.example.org").keyPEM(t)},
		{"ticket keys invalid", "tickets", []byte("not a key\n")},
	} {
		t.Run(tt.about, func(t *testing.T) {
			dir := testDir(t.TempDir())
			a, b, next := issue(t, "a.example.org"), issue(t, "b.example.org"), issue(t, "a.example.org")
			c := dir.config(t, a, b)
			c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
			s := load(t, c)
			server := s.Server("imap")
			client := resumingClient("b.example.org", b)
			mustHandshake(t, server, client)

			dir.write(t, "0.crt", next.certPEM()) // a valid change besides the error
			dir.write(t, "0.key", next.keyPEM(t))
			replace(t, dir, tt.file, tt.data)
			changed, err := s.Reload()
			if changed || err == nil || !strings.Contains(err.Error(), string(dir)+"/"+tt.file) {
				t.Errorf("Reload: got %t, %v, want an error that names %s", changed, err, tt.file)
			}
			if got := mustHandshake(t, server, insecureClient("a.example.org")); !got.Equal(a.cert) {
				t.Error("the certificate of a.example.org has changed")
			}
			if !resumes(t, server, client) {
				t.Error("the ticket keys have changed")
			}
		})
	}
}

// replace writes data to a file in dir, or removes the file if data is nil.
func replace(t *testing.T, dir testDir, file string, data []byte) {
	t.Helper()
	if data != nil {
		dir.write(t, file, data)
		return
	}
	if err := os.Remove(string(dir) + "/" + file); err != nil {
		t.Fatal(err)
	}
}

// Handshakes and all methods work while certificates are replaced.
func TestReloadDuringHandshakes(t *testing.T) {
	dir := testDir(t.TempDir())
	pairs := []identity{issue(t, "mail.example.org"), issue(t, "mail.example.org")}
	c := dir.config(t, pairs[0])
	c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
	s := load(t, c)
	var busy sync.WaitGroup
	for range 4 {
		client := resumingClient("mail.example.org", pairs...)
		busy.Go(func() {
			for range 20 {
				got := mustHandshake(t, s.Server("imap"), client)
				if !got.Equal(pairs[0].cert) && !got.Equal(pairs[1].cert) {
					t.Error("got an unknown certificate")
				}
				if !s.Serves("mail.example.org") || s.NotAfter().IsZero() {
					t.Error("Serves or NotAfter failed during a reload")
				}
			}
		})
	}
	for i := range 20 {
		dir.config(t, pairs[(i+1)%2])
		dir.write(t, "tickets", ticketKey(byte(i+2)))
		reload(t, s, true)
	}
	busy.Wait()
}

func TestServes(t *testing.T) {
	long := strings.Repeat("a", 63)
	s := load(t, testDir(t.TempDir()).config(t,
		issue(t, "mail.example.org", "*.example.net", "Case.Example.ORG", "under_score.example.org"),
		issue(t, "*.deep.example.net", "bad name.example.org", "*.bad name.example.org", "two..dots.example.org"),
		issue(t, strings.Repeat("long.", 60)+"example.org"), issue(t)))
	for name, want := range map[string]bool{
		"mail.example.org":          true,
		"MAIL.example.org":          true,
		"case.example.org":          true,
		"under_score.example.org":   true,
		"any.example.net":           true,
		"xn--bcher-kva.example.net": true,
		"a.deep.example.net":        true,
		long + ".example.net":       true,
		long + "a.example.net":      false,
		"other.example.org":         false,
		"example.net":               false,
		"a.b.example.net":           false,
		".example.net":              false,
		"-.example.net":             false,
		"*.example.net":             false,
		"a b.example.net":           false,
		"a\r\nb.example.net":        false,
		"mail.example.org.":         false,
		"b\u00fccher.example.net":   false,
		"bad name.example.org":      false,
		"x.bad name.example.org":    false,
		"two..dots.example.org":     false,
		"":                          false,
		".":                         false,
		"mail.example.org\x00.evil": false,
		"192.0.2.1":                 false,

		strings.Repeat("long.", 60) + "example.org": false,
		strings.Repeat("a.", 1<<10):                 false,
		"\u212a.example.net":                        false, // the Kelvin sign, whose lower case is k
		"mail.example.org.evil.test":                false,
	} {
		if got := s.Serves(name); got != want {
			t.Errorf("Serves(%q): got %t, want %t", name, got, want)
		}
	}
}

// FuzzServes checks Serves against crypto/x509: a name that Serves accepts must be
// valid for the certificate.
func FuzzServes(f *testing.F) {
	pair := issue(f, "mail.example.org", "*.example.net")
	s := load(f, testDir(f.TempDir()).config(f, pair))
	f.Fuzz(func(t *testing.T, name string) {
		if s.Serves(name) && (pair.cert.VerifyHostname(name) != nil || len(name) > 253) {
			t.Errorf("Serves(%q): got true, but the name is not valid for the certificate", name)
		}
	})
}

// BenchmarkPick measures the choice of a certificate in each handshake, between two
// with the same name among 200.
func BenchmarkPick(b *testing.B) {
	dir := testDir(b.TempDir())
	pair, twin, other := issue(b, "mail.example.org"), issueRSA(b, "mail.example.org"), issue(b, "*.example.net")
	c := dir.config(b, twin, pair, other)
	for range 197 {
		c.Certs, c.Keys = append(c.Certs, c.Certs[2]), append(c.Keys, c.Keys[2])
	}
	get := load(b, c).Server("imap").GetCertificate
	hello := &tls.ClientHelloInfo{
		ServerName:        "mail.example.org",
		SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
	}
	b.ReportAllocs()
	for b.Loop() {
		if cert, err := get(hello); err != nil || !cert.Leaf.Equal(pair.cert) {
			b.Fatal(err)
		}
	}
}
