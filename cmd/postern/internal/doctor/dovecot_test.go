//go:build linux

package doctor

import (
	"os"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
)

var dovecot mailtest.SharedDovecot

func TestMain(m *testing.M) {
	code := m.Run()
	dovecot.Close()
	os.Exit(code)
}

// inFrontOf are the settings of a gateway in front of a Dovecot.
func inFrontOf(imap, pop3 string, more ...string) []string {
	return append([]string{prefix + "IMAP_BACKENDS=" + imap, prefix + "POP3_BACKENDS=" + pop3}, more...)
}

// TestHealthyDovecotIsOK, whichever of the ways that it expects is in the settings.
func TestHealthyDovecotIsOK(t *testing.T) {
	d := dovecot.Get(t)
	ca, _, err := d.Certificate.Write(t.TempDir(), "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string][]string{
		"v2":          inFrontOf(d.IMAPProxy, d.POP3Proxy),
		"v2 starttls": inFrontOf(d.IMAPProxy, d.POP3Proxy, prefix+"BACKEND_TLS=starttls", prefix+"BACKEND_TLS_CA="+ca),
		"v1 starttls": inFrontOf(d.IMAPProxy, d.POP3Proxy, prefix+"BACKEND_PROXY=v1", prefix+"BACKEND_TLS=starttls", prefix+"BACKEND_TLS_CA="+ca),
		"off tls":     inFrontOf(d.IMAPS, d.POP3S, prefix+"BACKEND_PROXY=off", prefix+"BACKEND_TLS=tls", prefix+"BACKEND_TLS_CA="+ca),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := checkBackends(t, Options{Environ: testbed.Environ(settings...)})
			if r.Worst() != OK || len(r) != 4 {
				t.Errorf("got\n%s", r.text(t))
			}
			r.expect(t, OK, "backend imap ", "offers ", "PLAIN")
			r.expect(t, OK, "backend pop3 ", "offers ", "PLAIN")
		})
	}
}

func TestHealthyManageSieveIsOK(t *testing.T) {
	d := dovecot.Get(t)
	ca, _, err := d.Certificate.Write(t.TempDir(), "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	only := []string{prefix + "IMAP_LISTEN=off", prefix + "IMAPS_LISTEN=off", prefix + "POP3_LISTEN=off", prefix + "POP3S_LISTEN=off"}
	for name, settings := range map[string][]string{
		"v2":           {prefix + "SIEVE_BACKENDS=" + d.SieveProxy},
		"v2 starttls":  {prefix + "SIEVE_BACKENDS=" + d.SieveProxy, prefix + "BACKEND_TLS=starttls", prefix + "BACKEND_TLS_CA=" + ca},
		"off starttls": {prefix + "SIEVE_BACKENDS=" + d.Sieve, prefix + "BACKEND_PROXY=off", prefix + "BACKEND_TLS=starttls", prefix + "BACKEND_TLS_CA=" + ca},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := checkBackends(t, Options{Environ: testbed.Environ(append(settings, only...)...)})
			if r.Worst() != OK || len(r) != 2 {
				t.Errorf("got\n%s", r.text(t))
			}
			r.expect(t, OK, "backend sieve ", "offers ", "PLAIN")
		})
	}
}

// TestDovecotFaults: each difference between Dovecot and the settings is named with what
// to change.
func TestDovecotFaults(t *testing.T) {
	t.Parallel()
	d := dovecot.Get(t)
	ca, _, err := d.Certificate.Write(t.TempDir(), "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	other := testbed.NewCertificate(t)
	otherCA, _ := testbed.WriteCertificate(t, other)
	type row struct {
		imap, pop3 string
		settings   []string
		level      Level
		want       []string
	}
	atOnce(t, map[string]row{
		"v2 to a port without":     {d.IMAP, d.POP3, nil, Failure, []string{"`haproxy = yes`", "BACKEND_PROXY=off"}},
		"v1 to a port without":     {d.IMAP, d.POP3, []string{"BACKEND_PROXY=v1"}, Failure, []string{"`haproxy = yes`", "BACKEND_PROXY=off"}},
		"v2 to a port with TLS":    {d.IMAPS, d.POP3S, nil, Failure, []string{"`haproxy = yes`", "BACKEND_TLS=tls"}},
		"off to a port with":       {d.IMAPProxy, d.POP3Proxy, []string{"BACKEND_PROXY=off"}, Failure, []string{"it expects a PROXY header", "BACKEND_PROXY=v2"}},
		"clear to a port with TLS": {d.IMAPS, d.POP3S, []string{"BACKEND_PROXY=off"}, Failure, []string{"BACKEND_TLS=tls"}},
		"TLS to a port without":    {d.IMAPProxy, d.POP3Proxy, []string{"BACKEND_TLS=tls", "BACKEND_TLS_CA=" + ca}, Failure, []string{"BACKEND_TLS=starttls"}},
		"v1 in clear text":         {d.IMAPProxy, d.POP3Proxy, []string{"BACKEND_PROXY=v1"}, Warning, []string{"BACKEND_PROXY=v2", "disable_plaintext_auth"}},
		"another CA":               {d.IMAPProxy, d.POP3Proxy, []string{"BACKEND_TLS=starttls", "BACKEND_TLS_CA=" + otherCA}, Failure, []string{"BACKEND_TLS_CA"}},
		"another name":             {d.IMAPProxy, d.POP3Proxy, []string{"BACKEND_TLS=starttls", "BACKEND_TLS_CA=" + ca, "BACKEND_TLS_NAME=mail.example"}, Failure, []string{"BACKEND_TLS_NAME"}},
	}, func(t *testing.T, tt row) {
		settings := inFrontOf(tt.imap, tt.pop3)
		for _, s := range tt.settings {
			settings = append(settings, prefix+s)
		}
		r := checkBackends(t, Options{Environ: testbed.Environ(settings...)})
		r.expect(t, tt.level, append([]string{"backend imap " + tt.imap}, tt.want...)...)
		r.expect(t, tt.level, append([]string{"backend pop3 " + tt.pop3}, tt.want...)...)
	})
}

// TestDovecotThatDoesNotTrustGateway closes without a word. The remedy names the setting of
// Dovecot and the address that must be in it.
func TestDovecotThatDoesNotTrustGateway(t *testing.T) {
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Settings: "haproxy_trusted_networks = 192.0.2.0/24\n"})
	for _, version := range []string{"v2", "v1"} {
		r := checkBackends(t, Options{Environ: testbed.Environ(inFrontOf(d.IMAPProxy, d.POP3Proxy, prefix+"BACKEND_PROXY="+version)...)})
		for _, check := range []string{"backend imap " + d.IMAPProxy, "backend pop3 " + d.POP3Proxy} {
			r.expect(t, Failure, check, "haproxy_trusted_networks must contain 127.0.0.1", "`haproxy = yes`")
		}
	}
	d.WaitLog(t, "Client not trusted")
}

// TestAuthPenalty is a warning where Dovecot has it, and is not measured without -user.
func TestAuthPenalty(t *testing.T) {
	t.Parallel()
	with := mailtest.StartDovecot(t, mailtest.DovecotConfig{Settings: "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0600\n  }\n}\n"})
	without := dovecot.Get(t)
	for name, tt := range map[string]struct {
		d     *mailtest.Dovecot
		level Level
		want  string
	}{
		"on":  {with, Warning, "anvil-auth-penalty { mode = 0 }"},
		"off": {without, OK, "no auth penalty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Environ: testbed.Environ(inFrontOf(tt.d.IMAPProxy, tt.d.POP3Proxy)...)}
			if r := checkBackends(t, o); len(r) != 4 {
				t.Errorf("without -user: got\n%s", r.text(t))
			}
			o.User = "user"
			r := checkBackends(t, o)
			r.expect(t, tt.level, "backend imap ", tt.want)
			r.expect(t, tt.level, "backend pop3 ", tt.want)
		})
	}
}
