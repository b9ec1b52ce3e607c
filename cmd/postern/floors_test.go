package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors says on which floor each package lives. Imports point down only, never
// along a floor. A package that stands on its neighbours is a tenth higher than
// they are. What stands around the gate in tests, in the demo and in the bench
// has a floor of its own beside the second.
var floors = map[string]float64{
	"postern/cmd/postern":            3,
	"postern/proxy":                  2,
	"postern/proxy/dialogue":         1,
	"postern/proxy/netpoll":          1,
	"postern/limiter":                1,
	"postern/limiter/traffic":        1,
	"postern/limiter/watch":          1,
	"postern/limiter/watch/incident": 1.1,
	"postern/limiter/watch/report":   1.2,
	"postern/tlsconf":                1,
	"postern/proxy/standin":          1,
	"postern/proxy/mailtest":         1.1,

	"postern/cmd/postern-bench": 4, // beside postern, on top of its own floors
	"postern/bench":             3,
	"postern/bench/backend":     2,
	"postern/bench/client":      2,
	"postern/bench/machine":     2,
	"postern/bench/peer":        2,

	"postern/cmd/postern/internal/atomicfile": 0,
	"postern/cmd/postern/internal/statuspage": 1,
	"postern/cmd/postern/internal/notify":     1,
	"postern/cmd/postern/internal/monitor":    1,
	"postern/cmd/postern/internal/incidents":  2,
}

// homes says which packages may import each third-party module.
var homes = map[string][]string{
	"github.com/caarlos0/env/v11":         {"postern/cmd/postern"},
	"github.com/joho/godotenv":            {"postern/cmd/postern"},
	"github.com/coreos/go-systemd/v22":    {"postern/cmd/postern"},
	"github.com/prometheus/client_golang": {"postern/cmd/postern"},
	"github.com/pires/go-proxyproto":      {"postern/proxy", "postern/proxy/standin", "postern/bench/client"},

	"github.com/dchest/siphash":      {"postern/limiter", "postern/limiter/watch"},
	"golang.org/x/time":              {"postern/limiter", "postern/bench/backend"},
	"github.com/emersion/go-imap/v2": {"postern/proxy/dialogue", "postern/proxy/standin"},
	"github.com/emersion/go-sasl":    {"postern/proxy/dialogue", "postern/proxy/standin", "postern/bench/backend", "postern/bench/client"},

	"github.com/HdrHistogram/hdrhistogram-go": {"postern/bench"},
	"github.com/prometheus/procfs":            {"postern/bench/machine"},
	"github.com/schollz/progressbar/v3":       {"postern/cmd/postern-bench"},
	"golang.org/x/term":                       {"postern/cmd/postern-bench"},

	"github.com/oschwald/maxminddb-golang/v2": {"postern/cmd/postern"},
}

// listed is what `go list` says about one package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Module     *struct {
		Path string
		Main bool
	}
}

// packages lists every package of this module and all they depend on.
func packages(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Module", "postern/...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	all := map[string]listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// TestFloors holds the imports of this module to its floors.
func TestFloors(t *testing.T) {
	all := packages(t)
	for path, p := range all {
		if p.Module == nil || !p.Module.Main {
			continue
		}
		floor, known := floors[path]
		if !known {
			t.Errorf("%s: on which floor does it live?", path)
		}
		for _, imported := range p.Imports {
			to := all[imported]
			switch {
			case to.Standard || to.Module == nil:
			case to.Module.Main && floors[imported] >= floor:
				t.Errorf("%s imports %s, which is not below it", path, imported)
			case imported == "postern/proxy/mailtest" || imported == "testing":
				t.Errorf("%s imports %s, which is for tests", path, imported)
			case imported == "postern/proxy/standin" && path != "postern/cmd/postern" && path != "postern/bench" && path != "postern/proxy/mailtest":
				t.Errorf("%s imports %s", path, imported)
			case !to.Module.Main && !slices.Contains(homes[to.Module.Path], path):
				t.Errorf("%s imports %s, whose home is %q", path, imported, homes[to.Module.Path])
			}
		}
	}
}

// TestStandinIsForTheDemoAlone: of this package's files, only the demo may
// use what is made for tests.
func TestStandinIsForTheDemoAlone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .GoFiles "\n"}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range strings.Fields(string(out)) {
		if uses := importsOf(t, file); slices.Contains(uses, "postern/proxy/standin") != (file == "demo.go") {
			t.Errorf("%s imports %q", file, uses)
		}
	}
}

// importsOf returns what a file of this package imports.
func importsOf(t *testing.T, file string) (paths []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, `"`))
	}
	return paths
}
