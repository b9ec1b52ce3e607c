package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

func TestDefaultStateDir(t *testing.T) {
	dir := t.TempDir()
	file := testbed.WriteFile(t, "a file, not a directory")
	system, home := filepath.Join(dir, "var/lib/postern"), filepath.Join(dir, "home")
	no := filepath.Join(file, "postern")
	for name, tt := range map[string]struct {
		environ []string
		system  string
		want    string
	}{
		"systemd":                      {[]string{"STATE_DIRECTORY=/var/lib/a:/var/lib/b", "XDG_STATE_HOME=" + dir}, system, "/var/lib/a"},
		"systemd, one directory":       {[]string{"STATE_DIRECTORY=/var/lib/a"}, system, "/var/lib/a"},
		"XDG_STATE_HOME":               {[]string{"XDG_STATE_HOME=" + dir, "HOME=" + home}, system, filepath.Join(dir, "postern")},
		"relative XDG_STATE_HOME":      {[]string{"XDG_STATE_HOME=state"}, system, system},
		"system directory":             {[]string{"HOME=" + home}, system, system},
		"existing system directory":    {nil, dir, dir},
		"no system directory":          {[]string{"HOME=" + home}, no, filepath.Join(home, ".local/state/postern")},
		"no home":                      {nil, no, ""},
		"home that cannot be used":     {[]string{"HOME=" + file}, no, ""},
		"home that is relative":        {[]string{"HOME=."}, no, ""},
		"empty variables are not used": {[]string{"STATE_DIRECTORY=", "XDG_STATE_HOME=", "HOME="}, no, ""},
	} {
		if got := defaultStateDir(tt.environ, tt.system); string(got) != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Errorf("created %v, %v", made, err)
	}
}

// TestStateDirSetting is unset, a path or off. `postern config` shows where the state
// is.
func TestStateDirSetting(t *testing.T) {
	unset := slices.DeleteFunc(testbed.Environ("STATE_DIRECTORY=/var/lib/a"), func(v string) bool { return strings.HasPrefix(v, "POSTERN_STATE_DIR=") })
	unset = slices.Clip(unset) // for append below
	for name, tt := range map[string]struct {
		environ     []string
		dir, token  string
		shown, star string
	}{
		"unset": {unset, "/var/lib/a", "/var/lib/a/admin-token", "/var/lib/a", " "},
		"path":  {append(unset, "POSTERN_STATE_DIR=/x"), "/x", "/x/admin-token", "/x", "*"},
		"off":   {append(unset, "POSTERN_STATE_DIR=off"), "", "", "off", "*"},
		"empty": {append(unset, "POSTERN_STATE_DIR="), "", "", "off", "*"},
	} {
		c, err := load(tt.environ, testFDs)
		if err != nil {
			t.Fatal(err)
		}
		if token, _ := c.TokenFile(); string(c.State.Dir) != tt.dir || token != tt.token || len(c.Warnings()) > 0 {
			t.Errorf("%s: got directory %q, token %q, warnings %q", name, c.State.Dir, token, c.Warnings())
		}
		var out strings.Builder
		if err := c.WriteTable(&out); err != nil {
			t.Fatal(err)
		}
		if want := tt.star + " POSTERN_STATE_DIR"; !strings.Contains(out.String(), want) || strings.Fields(after(out.String(), "POSTERN_STATE_DIR"))[0] != tt.shown {
			t.Errorf("%s: no line with %q and %q in\n%s", name, want, tt.shown, &out)
		}
	}
}

// after is what follows name in text.
func after(text, name string) string {
	_, rest, _ := strings.Cut(text, name)
	return rest
}

// TestNoStateDirIsWarnedOf unless it is wanted.
func TestNoStateDirIsWarnedOf(t *testing.T) {
	c, err := load(testbed.Environ(), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	c.values["STATE_DIR"] = ""
	if got := c.Warnings(); len(got) != 1 || !strings.HasPrefix(got[0], "POSTERN_STATE_DIR: no directory can be written") {
		t.Errorf("got %q", got)
	}
}
