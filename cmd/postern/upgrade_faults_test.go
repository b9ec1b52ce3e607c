//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpgradeThatFails: the process that runs goes on as before, says why, and can be
// upgraded once the reason is gone.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(t *testing.T, s *supervisor)
		why    string
	}{
		"exits":               {runScript("exit 3"), "the new process ended before it served"},
		"hangs":               {runScript("exec sleep 1000"), "did not serve within 30s"},
		"hangs late":          {withFault(fault{sender: "next", n: 3, action: hang}), "did not serve within 30s"},
		"is not executable":   {func(t *testing.T, s *supervisor) { replaceFile(t, s.program, nil, 0o600) }, "permission denied"},
		"is no program":       {func(t *testing.T, s *supervisor) { replaceFile(t, s.program, []byte("\x7fELF"), 0o755) }, "exec format error"},
		"does not exist":      {func(t *testing.T, s *supervisor) { remove(t, s.program) }, "no such file"},
		"has no certificate":  {setTo("TLS_CERT", "/nowhere/postern.crt"), "POSTERN_TLS_CERT"},
		"has a wrong setting": {setTo("LIMIT_SOURCE", "ten"), "POSTERN_LIMIT_SOURCE: got "},
		"has another state":   {setTo("STATE_DIR", "/tmp"), "POSTERN_STATE_DIR"},
		"has another key": {func(t *testing.T, s *supervisor) {
			replaceFile(t, filepath.Join(s.dir, "key"), []byte(strings.Repeat("k", 32)), 0o600)
			s.set(t, "KEY_FILE", filepath.Join(s.dir, "key"))
		}, "POSTERN_KEY_FILE: got another key in "},
		"cannot bind":         {setTo("IMAPS_LISTEN", "192.0.2.1:993"), "POSTERN_IMAPS_LISTEN"},
		"other protocol":      {withFault(fault{sender: "next", n: 1, action: alter}), "got hand-over protocol"},
		"other limiter state": {withFault(fault{sender: "main", n: 2, action: alter}), "the new process"},
		"other incidents":     {withFault(fault{sender: "main", n: 3, action: alter}), "the new process"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, idle := startWithIdleClients(t, 4, 2)
			running := s.mainProcess(t)
			open := descriptors(t, running)
			tt.change(t, s)
			if code, text := s.command(t, "upgrade"); code != exitFailure || !strings.Contains(text, tt.why) {
				t.Errorf("exit %d, want %d and %q in\n%s", code, exitFailure, tt.why, text)
			}
			s.log.Await(t, "event=upgrade", "level=ERROR", tt.why)
			if left := s.awaitGenerations(t, 1); left[0] != running {
				t.Fatalf("process %d runs, want %d", left[0], running)
			}
			idle.notify(t)
			s.login(t)
			await(t, "the descriptors of before", func() bool { return descriptors(t, running) <= open })

			s.install(t, "")
			s.set(t, "TLS_CERT", filepath.Join(s.dir, "postern.crt"), "LIMIT_SOURCE", "10/10m", "STATE_DIR", s.state, "IMAPS_LISTEN", s.addr("imaps"),
				"KEY_FILE", filepath.Join(s.state, "install-key")) // the same key
			s.upgrade(t)
			idle.notify(t)
			s.login(t)
			idle.noEndings(t)
		})
	}
}

// runScript installs a script as the new program.
func runScript(script string) func(*testing.T, *supervisor) {
	return func(t *testing.T, s *supervisor) { t.Helper(); s.install(t, script) }
}

// withFault installs this program with a fault as the new program.
func withFault(f fault) func(*testing.T, *supervisor) {
	return func(t *testing.T, s *supervisor) {
		t.Helper()
		f.main = s.mainProcess(t)
		s.install(t, f.script())
	}
}

// setTo changes a setting.
func setTo(name, value string) func(*testing.T, *supervisor) {
	return func(t *testing.T, s *supervisor) { t.Helper(); s.set(t, name, value) }
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
