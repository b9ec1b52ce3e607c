package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// healthOf runs `postern health` with the settings in environ.
func healthOf(t *testing.T, environ ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), []string{"health"}, environ, &out, &errs)
	return code, out.String(), errs.String()
}

func TestHealth(t *testing.T) {
	socket := "unix:" + filepath.Join(t.TempDir(), "s")
	overTCP, overSocket := newHouse(t), newHouse(t, "POSTERN_ADMIN_LISTEN="+socket)
	addr := overTCP.admin[0].listener.Addr().String()

	for name, admin := range map[string]string{"over TCP": addr, "over a socket": socket} {
		if code, out, errs := healthOf(t, sane("POSTERN_ADMIN_LISTEN="+admin)...); code != exitOK || out != "ready\n" || errs != "" {
			t.Errorf("%s: got %d, %q, %q", name, code, out, errs)
		}
	}
	overTCP.state.Store(draining)
	overSocket.close()
	for name, tt := range map[string]struct {
		env  []string
		want string
	}{
		"draining":            {sane("POSTERN_ADMIN_LISTEN=" + addr), "postern: health: not ready: shutting down\n"},
		"nobody there":        {sane("POSTERN_ADMIN_LISTEN=" + socket), "postern: health: ask " + socket + ": "},
		"no admin address":    {sane("POSTERN_ADMIN_LISTEN=off"), "postern: health: POSTERN_ADMIN_LISTEN: off: there is nobody to ask\n"},
		"settings unreadable": {[]string{"POSTERN_ADMIN_LISTEN=nowhere"}, "postern: health: POSTERN_ADMIN_LISTEN: \"nowhere\": takes"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := healthOf(t, tt.env...)
			if code != exitFailure || out != "" || !strings.HasPrefix(errs, tt.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("got %d, %q, %q", code, out, errs)
			}
		})
	}
	// What else is wrong by now does not matter to a gate that runs.
	if code, _, errs := healthOf(t, "POSTERN_ADMIN_LISTEN="+overTCP.admin[0].listener.Addr().String()); !strings.Contains(errs, "shutting down") || code != exitFailure {
		t.Errorf("with settings missing: got %d, %q", code, errs)
	}
}
