package packaging

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

var update = flag.Bool("update", false, "rewrite deploy/man and deploy/completion")

// repository is the directory of the module.
const repository = "../../../.."

// run runs a program in the directory of the module, and fails the test if it fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = repository
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr.Bytes())
	}
	return string(out)
}

// TestReference compares deploy/man and deploy/completion with what they are generated
// from.
func TestReference(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/postern", "./cmd/postern-bench")
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h, err := ReadHelp(dir)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, filepath.Join(repository, "deploy/man"), h.Pages())
	compare(t, filepath.Join(repository, "deploy/completion"), h.Completions())
}

// compare compares the files in a directory with texts, or writes them with -update.
func compare(t *testing.T, dir string, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s differs (%v); `go test ./cmd/postern/internal/packaging -run Reference -update` rewrites it", path, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := texts[e.Name()]; !ok {
			t.Errorf("%s/%s is not generated", dir, e.Name())
		}
	}
}

func TestManualPagesHaveNoWarnings(t *testing.T) {
	if _, err := exec.LookPath("groff"); err != nil {
		testbed.Missing(t, "groff")
	}
	pages, err := filepath.Glob(filepath.Join(repository, "deploy/man/*"))
	if err != nil || len(pages) != 3 {
		t.Fatalf("got %q, %v", pages, err)
	}
	for _, page := range pages {
		out, err := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", "-rLL=100n", "-z", "-K", "utf8", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

// completions returns what bash proposes for a command line whose last word is not
// complete.
func completions(t *testing.T, line string) []string {
	t.Helper()
	const script = `source "$1"; COMP_WORDS=($2); [[ $2 != *" " ]] || COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _postern; printf '%s\n' "${COMPREPLY[@]}"`
	return strings.Fields(run(t, "bash", "-c", script, "bash", "deploy/completion/postern.bash", line))
}

func TestBashCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"postern obs":                  {"observe"},
		"postern block -f":             {"-for", "-force"},
		"postern config POSTERN_TLS_K": {"POSTERN_TLS_KEY"},
		"postern incident ac":          {"ack"},
		"postern incident re":          {"reclassify", "resolve"},
		"postern learn READ":           {"README.md"},
		"postern version x":            nil,
	} {
		if got := completions(t, line); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestFishCompletion(t *testing.T) {
	if _, err := exec.LookPath("fish"); err != nil {
		testbed.Missing(t, "fish")
	}
	for line, want := range map[string]string{"postern obs": "observe\t", "postern block -fo": "-for\t", "postern incident ac": "ack", "postern-bench -rou": "-rounds\t"} {
		got := run(t, "fish", "--no-config", "-c", "source deploy/completion/postern.fish; complete -C "+quote(line))
		if !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestZshCompletionIsValid(t *testing.T) {
	if _, err := exec.LookPath("zsh"); err != nil {
		testbed.Missing(t, "zsh")
	}
	run(t, "zsh", "-n", "deploy/completion/_postern")
}
