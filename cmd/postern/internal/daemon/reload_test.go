package daemon

import (
	"log/slog"
	"os"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// rewrite replaces the text of a file.
func rewrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReload changes limits while a session is open, and names what needs a
// restart.
func TestReload(t *testing.T) {
	file := testbed.WriteFile(t, "POSTERN_LIMIT_OPEN=10\n")
	g := start(t, prefix+"ENV_FILE="+file)
	before := g.dial(t, "imaps")
	before.Login()

	rewrite(t, file, "POSTERN_LIMIT_OPEN=1\nPOSTERN_LOG_LEVEL=debug\nPOSTERN_TRIES=9\n")
	_, _ = g.reload(g.read)
	g.log.Await(t, "settings reloaded", "POSTERN_LIMIT_OPEN", "POSTERN_LOG_LEVEL")
	g.log.Await(t, "need an upgrade or a restart", "POSTERN_TRIES")
	before.Say("b NOOP", "b OK")

	refused := g.connect(t, "imap")
	refused.Until("* BYE [UNAVAILABLE]")
	g.log.Await(t, `rule=open`, "action=reject")
	if !g.Daemon.log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("the log level is the old one")
	}

	rewrite(t, file, "")
	_, _ = g.reload(g.read)
	g.connect(t, "imap").Until("* OK")
	before.Say("c NOOP", "c OK")
}

// TestReloadOfWrongSettings: a mistake changes nothing, is logged with its cause,
// and shows in the metrics until it is corrected.
func TestReloadOfWrongSettings(t *testing.T) {
	file := testbed.WriteFile(t, "POSTERN_LIMIT_OPEN=10\n")
	g := start(t, prefix+"ENV_FILE="+file)
	good := func() float64 { return testbed.Gauge(g.scrape(t), "postern_config_last_reload_successful") }
	for name, text := range map[string]string{
		"value":  "POSTERN_LIMIT_OPEN=1\nPOSTERN_LIMIT_SOURCE=ten\n",
		"name":   "POSTERN_LIMIT_OPEN=1\nPOSTERN_LIMIT_SAUCE=off\n",
		"syntax": "POSTERN_LIMIT_OPEN=1\n'''\n",
		"sense":  "POSTERN_LIMIT_OPEN=1\nPOSTERN_TARPIT_MAX=16s\n",
	} {
		t.Run(name, func(t *testing.T) {
			rewrite(t, file, text)
			_, _ = g.reload(g.read)
			g.log.Await(t, "settings not reloaded", "POSTERN_")
			if g.policy.limits.Open != 10 || good() != 0 {
				t.Errorf("got %d, successful %v", g.policy.limits.Open, good())
			}
			g.connect(t, "imap").Until("* OK")
			g.connect(t, "imap").Until("* OK")
		})
	}
	rewrite(t, file, "POSTERN_LIMIT_OPEN=11\n")
	_, _ = g.reload(g.read)
	if g.policy.limits.Open != 11 || good() != 1 {
		t.Errorf("corrected: got %d, successful %v", g.policy.limits.Open, good())
	}
}

// TestReloadCertificates: after SIGHUP new clients are shown the new certificate;
// a corrupt pair keeps the old one.
func TestReloadCertificates(t *testing.T) {
	g := start(t)
	before := g.dial(t, "imaps")
	before.Login()
	signals := make(chan os.Signal, 2)

	renewed := testbed.NewCertificate(t)
	rewrite(t, g.CertFile, string(renewed.CertPEM))
	rewrite(t, g.KeyFile, string(renewed.KeyPEM))
	signals <- syscall.SIGHUP
	signals <- syscall.SIGTERM
	if _, err := g.serveUntilEnd(t.Context(), signals, g.read); err != nil {
		t.Fatal(err)
	}
	g.log.Await(t, "certificates reloaded", "not_after")
	g.Certificate = renewed
	g.dial(t, "imaps")
	before.Say("b NOOP", "b OK")

	rewrite(t, g.KeyFile, "scrambled")
	_, _ = g.reload(g.read)
	g.log.Await(t, "certificates not reloaded, keeping the previous ones", g.KeyFile)
	g.dial(t, "imaps")
	if got := testbed.Gauge(g.scrape(t), "postern_certificate_last_reload_successful"); got != 0 {
		t.Errorf("counted as %v", got)
	}
}
