// Package testbed is what the tests of postern have in common: settings of a
// complete site with stand-in mail servers, a log that a test can wait on, a
// client that speaks lines, and Valkey or Redis servers with faults. Nothing of it
// may be part of a program.
//
// It imports neither the daemon nor a command, so that the tests of both can use
// it.
package testbed

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"postern/proxy/standin"
)

// Patience bounds every wait of a test for something that happens at once
// unless it is broken. It is long enough for a busy machine.
const Patience = 60 * time.Second

// Account may log in at the stand-in mail servers.
var Account = standin.Account{Name: "demo", Secret: "gatekeeper", Messages: standin.Samples()}

// Environ is a complete environment with backends and certificates that do not
// exist, extended and changed by more.
func Environ(more ...string) []string {
	return append([]string{
		"HOME=/root",
		"POSTERN_IMAP_BACKENDS=imap.example:1143",
		"POSTERN_POP3_BACKENDS=pop.example:1110",
		"POSTERN_TLS_CERT=/etc/postern/a.crt",
		"POSTERN_TLS_KEY=/etc/postern/a.key",
		"POSTERN_STATE_DIR=off",
	}, more...)
}

// Site is the surroundings of a gateway: mail servers and a certificate.
type Site struct {
	Certificate *standin.Certificate
	CertFile    string   // the key is beside it, in KeyFile
	KeyFile     string   // of Certificate
	Environ     []string // settings of a gateway, with every listener on loopback
}

// NewSite starts stand-in mail servers that require a PROXY header. Settings in
// more come on top. The site ends with the test.
func NewSite(t testing.TB, more ...string) *Site {
	t.Helper()
	s := &Site{Certificate: NewCertificate(t)}
	s.CertFile, s.KeyFile = WriteCertificate(t, s.Certificate)
	s.Environ = append(s.Environ,
		"POSTERN_IMAP_BACKENDS="+serve(t, standin.ServeIMAP), "POSTERN_POP3_BACKENDS="+serve(t, standin.ServePOP3),
		"POSTERN_TLS_CERT="+s.CertFile, "POSTERN_TLS_KEY="+s.KeyFile, "POSTERN_LOG_FORMAT=text", "POSTERN_STATE_DIR=off")
	for _, name := range []string{"IMAP", "IMAPS", "POP3", "POP3S", "ADMIN"} {
		s.Environ = append(s.Environ, "POSTERN_"+name+"_LISTEN=127.0.0.1:0")
	}
	s.Environ = append(s.Environ, more...)
	return s
}

// serve starts a mail server and returns its address.
func serve(t testing.TB, serve func(net.Listener, []standin.Account, standin.Options) (*standin.Server, error)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := serve(ln, []standin.Account{Account}, standin.Options{ProxyHeader: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.Addr().String()
}

// NewCertificate makes a certificate for localhost and 127.0.0.1.
func NewCertificate(t testing.TB) *standin.Certificate {
	t.Helper()
	c, err := standin.NewCertificate("localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// WriteCertificate writes c into a new directory and returns the paths.
func WriteCertificate(t testing.TB, c *standin.Certificate) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := c.Write(t.TempDir(), "postern")
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// WriteFile puts text into a new file and returns its path.
func WriteFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// KeyFile writes a file for KEY_FILE and returns its path.
func KeyFile(t *testing.T) string {
	t.Helper()
	return WriteFile(t, strings.Repeat("0123456789abcdef", 4)+"\n")
}

// Await waits until holds returns true, for what has no notification. It fails the test after patience.
func Await(t *testing.T, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for !holds() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-timeout:
			t.Fatalf("waiting for %s", what)
		}
	}
}

// Missing skips the test because a program is not installed. With CI=true it fails the
// test, as Unable does.
func Missing(t testing.TB, program string) {
	t.Helper()
	Unable(t, "%s is not installed", program)
}

// Unable skips the test because this machine or user cannot run it. With CI=true, where
// nothing may be skipped, it fails the test.
func Unable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Scrape returns the metrics that h serves, by their names.
func Scrape(t *testing.T, h http.Handler) map[string]*dto.MetricFamily {
	t.Helper()
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// Total adds up the counters of f that have the label value.
func Total(f *dto.MetricFamily, label, value string) (sum float64) {
	for _, m := range f.GetMetric() {
		if HasLabel(m, label, value) {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

// HasLabel reports whether m has the label value.
func HasLabel(m *dto.Metric, name, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetName() == name && l.GetValue() == value {
			return true
		}
	}
	return false
}

// Gauge is the value of a gauge without labels.
func Gauge(families map[string]*dto.MetricFamily, name string) float64 {
	return families[name].GetMetric()[0].GetGauge().GetValue()
}
