//go:build linux

package packaging

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// TestPackage builds the Debian package once for all that is tested with it.
func TestPackage(t *testing.T) {
	if _, err := exec.LookPath("dh"); err != nil {
		testbed.Missing(t, "debhelper")
	}
	dir := t.TempDir()
	run(t, ".ci/package", dir, runtime.GOARCH)
	t.Run("lintian", func(t *testing.T) {
		t.Parallel()
		testLintian(t, packageIn(t, dir))
	})
	t.Run("second build gives the same files", func(t *testing.T) {
		t.Parallel()
		testReproducible(t, dir)
	})
	t.Run("installation", func(t *testing.T) {
		t.Parallel()
		testInstallation(t, packageIn(t, dir))
	})
}

// packageIn returns the only package in a directory.
func packageIn(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(all) != 1 {
		t.Fatalf("got %q, %v, want one package", all, err)
	}
	return all[0]
}

func testLintian(t *testing.T, deb string) {
	if _, err := exec.LookPath("lintian"); err != nil {
		testbed.Missing(t, "lintian")
	}
	out, err := exec.CommandContext(t.Context(), "lintian", "--no-cfg", "--allow-root", "--fail-on", "error,warning", deb).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// testReproducible builds once more: in another directory, time zone and language, and
// with other permissions of new files.
func testReproducible(t *testing.T, first string) {
	copied, second := filepath.Join(t.TempDir(), "a long name of a directory"), t.TempDir()
	const build = `mkdir "$1"
git ls-files -coz --exclude-standard | xargs -0 cp -a --parents -t "$1"
[ ! -e .git ] || cp -a .git "$1"
umask 077
cd "$1"
TZ=Asia/Kolkata LC_ALL=C.UTF-8 HOSTNAME=other .ci/package "$2" "$3"`
	run(t, "sh", "-ec", build, "sh", copied, second, runtime.GOARCH)
	want, got := hashes(t, first), hashes(t, second)
	for name, hash := range want {
		if got[name] != hash {
			t.Errorf("%s: got another file, or none, at the second build", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d files, want %d", len(got), len(want))
	}
}

// hashes returns the SHA-256 of the files in a directory by their names.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(text))
	}
	return all
}

// nextVersion makes a package of a later version with the same files.
func nextVersion(t *testing.T, deb string) string {
	t.Helper()
	dir, next := filepath.Join(t.TempDir(), "files"), filepath.Join(t.TempDir(), "next.deb")
	run(t, "dpkg-deb", "--raw-extract", deb, dir)
	control := filepath.Join(dir, "DEBIAN/control")
	text, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("\nVersion: "), []byte("\nVersion: 99"), 1)
	if err := os.WriteFile(control, text, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", dir, next)
	return next
}

// edit changes the settings as an operator does: it puts values for the backends and the
// exempt networks into their lines.
func edit(t *testing.T, path string, values map[string]string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, changed := strings.Split(string(text), "\n"), 0
	for i, line := range lines {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "#"), "=")
		if value, ok := values[name]; ok && strings.HasPrefix(line, "#") {
			lines[i] = name + "=" + value
			changed++
		}
	}
	if changed != len(values) {
		t.Fatalf("%s: found %d of the lines %v", path, changed, values)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o640); err != nil {
		t.Fatal(err)
	}
}
