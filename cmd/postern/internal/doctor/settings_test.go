package doctor

import (
	"os"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// settingsOf are the findings about the settings in environ.
func settingsOf(t *testing.T, environ ...string) (Report, *examination) {
	t.Helper()
	e := &examination{Options: Options{Environ: environ}}
	if err := e.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e.checkSettings(t.Context()), e
}

// TestEveryWrongSettingIsReported, not only the first.
func TestEveryWrongSettingIsReported(t *testing.T) {
	r, _ := settingsOf(t, testbed.Environ(prefix+"TRIES=none", prefix+"LIMIT_SORUCE=1/1m", prefix+"DRAIN=0", prefix+"X\x1b[2J=1")...)
	for _, parts := range [][]string{
		{`POSTERN_TRIES: got "none", want a number of at least 1`, "`postern config TRIES`"},
		{"POSTERN_LIMIT_SORUCE: unknown setting; did you mean POSTERN_LIMIT_SOURCE?"},
		{`POSTERN_DRAIN: got "0"`},
		{`POSTERN_X\x1b[2J: unknown`},
	} {
		r.expect(t, Failure, append(parts, "settings: ")...)
	}
	if len(r) != 4 {
		t.Errorf("got\n%s", r.text(t))
	}
}

// TestContradictionsAreReported, every one of them.
func TestContradictionsAreReported(t *testing.T) {
	r, _ := settingsOf(t, testbed.Environ(prefix+"TARPIT_MAX=16s", prefix+"TLS_KEY=a,b", prefix+"EXEMPT=0.0.0.0/0")...)
	for _, want := range []string{"POSTERN_TARPIT_MAX: got 16s", "POSTERN_TLS_KEY: got 2", "POSTERN_EXEMPT: got 0.0.0.0/0"} {
		r.expect(t, Failure, want)
	}
}

// TestSurprisingSettingsAreWarnings.
func TestSurprisingSettingsAreWarnings(t *testing.T) {
	r, _ := settingsOf(t, testbed.Environ(prefix+"MODE=observe")...)
	r.expect(t, Warning, "POSTERN_MODE: observe", "`postern config MODE`")
}

// TestUnreadableSettingsFile ends the run after one line: without settings, everything else
// would be wrong as well.
func TestUnreadableSettingsFile(t *testing.T) {
	for name, path := range map[string]string{"no file": "/no/such/file", "no settings": testbed.WriteFile(t, "POSTERN_TRIES\n")} {
		r, err := Run(t.Context(), Options{Environ: testbed.Environ(prefix + "ENV_FILE=" + path)})
		if err != nil || len(r) != 1 {
			t.Errorf("%s: got %v\n%s", name, err, r.text(t))
		}
		r.expect(t, Failure, "POSTERN_ENV_FILE: read settings", path, "all other checks need the settings")
	}
}

// TestSettingsFileIsNamed where what is wrong is to be corrected.
func TestSettingsFileIsNamed(t *testing.T) {
	path := testbed.WriteFile(t, "POSTERN_TRIES=x\n")
	r, _ := settingsOf(t, testbed.Environ(prefix+"ENV_FILE="+path)...)
	r.expect(t, Failure, "POSTERN_TRIES", "correct it in "+path)
	if err := os.WriteFile(path, []byte("POSTERN_TRIES=4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, e := settingsOf(t, testbed.Environ(prefix+"ENV_FILE="+path)...)
	r.expect(t, OK, path+": correct")
	if e.config.Limits.Tries != 4 {
		t.Errorf("got %d", e.config.Limits.Tries)
	}
}

// TestWrongSettingsDoNotHideTheRest: what the correct ones say is checked.
func TestWrongSettingsDoNotHideTheRest(t *testing.T) {
	r := examine(t, Options{Environ: testbed.Environ(prefix+"TRIES=x", prefix+"STATE_DIR=/dev/null", prefix+"IMAP_BACKENDS=127.0.0.1:1", prefix+"ADMIN_LISTEN=127.0.0.1:1")})
	r.expect(t, Failure, "POSTERN_TRIES")
	r.expect(t, Failure, "certificate /etc/postern/a.crt", "no such file", "TLS_CERT")
	r.expect(t, Failure, "state directory /dev/null", "is no directory")
	r.expect(t, Failure, "backend imap 127.0.0.1:1", "refused")
	r.expect(t, Warning, "admin API", "postern does not run", "systemctl start postern")
	if strings.Contains(r.text(t), "login imap") {
		t.Errorf("a login without -user:\n%s", r.text(t))
	}
}
