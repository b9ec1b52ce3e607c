package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"postern/proxy/standin"
)

// TestReload changes limits under a running connection and names what has to
// wait for a restart.
func TestReload(t *testing.T) {
	file := writeFile(t, "POSTERN_LIMIT_OPEN=10\n")
	h := newHouse(t, "POSTERN_ENV_FILE="+file)
	before := h.dial(t, "imaps")
	before.login()

	os.WriteFile(file, []byte("POSTERN_LIMIT_OPEN=1\nPOSTERN_LOG_LEVEL=debug\nPOSTERN_TRIES=9\n"), 0o600)
	h.reread(h.read)
	h.log.await(t, "settings reloaded", "POSTERN_LIMIT_OPEN", "POSTERN_LOG_LEVEL")
	h.log.await(t, "need a restart", "POSTERN_TRIES")
	before.say("b NOOP", "b OK")

	refused := newClient(t, h.knock(t, "imap"))
	refused.until("* BYE [UNAVAILABLE]")
	h.log.await(t, `rule=open`, "action=reject")
	if !h.journal.Enabled(t.Context(), -4) {
		t.Error("the log level is the old one")
	}

	os.WriteFile(file, nil, 0o600)
	h.reread(h.read)
	newClient(t, h.knock(t, "imap")).until("* OK")
	before.say("c NOOP", "c OK")
}

// TestReloadBadFile: a mistake changes nothing, is logged with its cause, and
// shows in the metrics until it is mended.
func TestReloadBadFile(t *testing.T) {
	file := writeFile(t, "POSTERN_LIMIT_OPEN=10\n")
	h := newHouse(t, "POSTERN_ENV_FILE="+file)
	good := func() float64 {
		return gather(t, h.metrics.registry)["postern_config_last_reload_successful"].GetMetric()[0].GetGauge().GetValue()
	}
	for name, text := range map[string]string{
		"a value":   "POSTERN_LIMIT_OPEN=1\nPOSTERN_LIMIT_SOURCE=ten\n",
		"a name":    "POSTERN_LIMIT_OPEN=1\nPOSTERN_LIMIT_SAUCE=off\n",
		"the form":  "POSTERN_LIMIT_OPEN=1\n'''\n",
		"the sense": "POSTERN_LIMIT_OPEN=1\nPOSTERN_TARPIT_MAX=16s\n",
	} {
		t.Run(name, func(t *testing.T) {
			os.WriteFile(file, []byte(text), 0o600)
			h.reread(h.read)
			h.log.await(t, "settings not reloaded", "POSTERN_")
			if h.config.values["LIMIT_OPEN"] != "10" || good() != 0 {
				t.Errorf("got %s, successful %v", h.config.values["LIMIT_OPEN"], good())
			}
			newClient(t, h.knock(t, "imap")).until("* OK")
			newClient(t, h.knock(t, "imap")).until("* OK")
		})
	}
	os.WriteFile(file, []byte("POSTERN_LIMIT_OPEN=11\n"), 0o600)
	h.reread(h.read)
	if h.config.values["LIMIT_OPEN"] != "11" || good() != 1 {
		t.Errorf("mended: got %s, successful %v", h.config.values["LIMIT_OPEN"], good())
	}
}

// TestReloadCertificates: SIGHUP shows new clients the new certificate; a
// broken pair keeps the old one.
func TestReloadCertificates(t *testing.T) {
	h := newHouse(t)
	before := h.dial(t, "imaps")
	before.login()
	signals := make(chan os.Signal, 2)

	renewed, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	renewed.Write(h.dir, "demo")
	signals <- syscall.SIGHUP
	signals <- syscall.SIGTERM
	if err := h.attendSignals(t.Context(), signals, h.read); err != nil {
		t.Fatal(err)
	}
	h.log.await(t, "certificates reloaded", "not_after")
	h.cert = renewed
	h.dial(t, "imaps")
	before.say("b NOOP", "b OK")

	os.WriteFile(filepath.Join(h.dir, "demo.key"), []byte("scrambled"), 0o600)
	h.reread(h.read)
	h.log.await(t, "certificates not reloaded, the old ones stay in force", "demo.key")
	h.dial(t, "imaps")
	if got := gather(t, h.metrics.registry)["postern_certificate_last_reload_successful"].GetMetric()[0].GetGauge().GetValue(); got != 0 {
		t.Errorf("counted as %v", got)
	}
}
