package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors says on which floor each package is. Imports point down only, never
// along a floor. The digit before the point is the floor of the design; those
// after it order the packages of one floor that use each other.
var floors = map[string]float64{
	"postern/proxy/dialogue":               1,
	"postern/proxy/netpoll":                1,
	"postern/limiter/internal/hyperloglog": 1,
	"postern/limiter":                      1.05,
	"postern/limiter/traffic":              1,
	"postern/limiter/watch/internal/codec": 1,
	"postern/limiter/watch":                1.1,
	"postern/limiter/share":                1.2,
	"postern/limiter/watch/incident":       1.2,
	"postern/limiter/watch/report":         1.3,
	"postern/tlsconf":                      1,

	"postern/proxy/standin":  2,
	"postern/proxy":          2,
	"postern/proxy/mailtest": 2.1,

	"postern/cmd/postern/internal/atomicfile": 3,
	"postern/cmd/postern/internal/engine":     3,
	"postern/cmd/postern/internal/eventlog":   3,
	"postern/cmd/postern/internal/handover":   3,
	"postern/cmd/postern/internal/loginlog":   3,
	"postern/cmd/postern/internal/monitor":    3,
	"postern/cmd/postern/internal/notify":     3,
	"postern/cmd/postern/internal/packaging":  3,
	"postern/cmd/postern/internal/page":       3,
	"postern/cmd/postern/internal/testbed":    3,
	"postern/cmd/postern/internal/authpolicy": 3.1,
	"postern/cmd/postern/internal/container":  3.2,
	"postern/cmd/postern/internal/browser":    3.1,
	"postern/cmd/postern/internal/decisions":  3.1,
	"postern/cmd/postern/internal/geoip":      3.1,
	"postern/cmd/postern/internal/firewall":   3.1,
	"postern/cmd/postern/internal/learn":      3.1,
	"postern/cmd/postern/internal/recent":     3.1,
	"postern/cmd/postern/internal/statuspage": 3.1,
	"postern/cmd/postern/internal/config":     3.1,
	"postern/cmd/postern/internal/explain":    3.2,
	"postern/cmd/postern/internal/incidents":  3.2,
	"postern/cmd/postern/internal/notices":    3.2,
	"postern/cmd/postern/internal/view":       3.3,
	"postern/cmd/postern/internal/metrics":    3.3,
	"postern/cmd/postern/internal/sharing":    3.3,
	"postern/cmd/postern/internal/admin":      3.4,
	"postern/cmd/postern/internal/daemon":     3.5,
	"postern/cmd/postern/internal/doctor":     3.5,
	"postern/cmd/postern/internal/top":        3.5,
	"postern/cmd/postern/internal/demo":       3.6,
	"postern/cmd/postern":                     3.7,

	"postern/bench/backend":     3,
	"postern/bench/client":      3,
	"postern/bench/machine":     3,
	"postern/bench/peer":        3,
	"postern/bench":             3.1,
	"postern/cmd/postern-bench": 3.2,
}

// forTests are the packages that only tests may import.
var forTests = []string{"postern/proxy/mailtest", "postern/cmd/postern/internal/testbed", "postern/cmd/postern/internal/browser", "postern/cmd/postern/internal/packaging"}

// standinUsers are the packages of programs that may import the stand-in servers.
var standinUsers = []string{"postern/cmd/postern/internal/demo", "postern/bench"}

// unsafeUsers are the packages that may import unsafe.
var unsafeUsers = []string{"postern/proxy/netpoll"}

// homes says which packages may import each third-party module. They must be on
// one floor.
var homes = map[string][]string{
	"github.com/caarlos0/env/v11":             {"postern/cmd/postern/internal/config"},
	"github.com/joho/godotenv":                {"postern/cmd/postern/internal/config"},
	"github.com/coreos/go-systemd/v22":        {"postern/cmd/postern/internal/daemon"},
	"github.com/prometheus/client_golang":     {"postern/cmd/postern/internal/metrics"},
	"github.com/prometheus/common":            {"postern/cmd/postern/internal/testbed", "postern/cmd/postern/internal/doctor"},
	"github.com/oschwald/maxminddb-golang/v2": {"postern/cmd/postern/internal/geoip"},
	"github.com/valkey-io/valkey-go":          {"postern/cmd/postern/internal/engine"},

	"github.com/dchest/siphash":               {"postern/limiter", "postern/limiter/watch"},
	"github.com/emersion/go-imap/v2":          {"postern/proxy/dialogue", "postern/proxy/standin"},
	"github.com/emersion/go-sasl":             {"postern/proxy/dialogue", "postern/proxy/standin", "postern/bench/backend", "postern/bench/client"},
	"github.com/pires/go-proxyproto":          {"postern/proxy", "postern/proxy/standin", "postern/bench/client"},
	"golang.org/x/time":                       {"postern/limiter", "postern/bench/backend", "postern/cmd/postern/internal/admin", "postern/cmd/postern/internal/authpolicy", "postern/cmd/postern/internal/eventlog"},
	"github.com/HdrHistogram/hdrhistogram-go": {"postern/bench"},
	"github.com/prometheus/procfs":            {"postern/bench/machine"},
	"github.com/klauspost/compress":           {"postern/cmd/postern/internal/loginlog"},
	"github.com/schollz/progressbar/v3":       {"postern/cmd/postern-bench", "postern/cmd/postern"},
	"golang.org/x/term":                       {"postern/cmd/postern-bench", "postern/cmd/postern", "postern/cmd/postern/internal/demo", "postern/cmd/postern/internal/top"},

	"charm.land/bubbletea/v2":         {"postern/cmd/postern/internal/top"},
	"charm.land/bubbles/v2":           {"postern/cmd/postern/internal/top"},
	"charm.land/lipgloss/v2":          {"postern/cmd/postern/internal/top"},
	"github.com/charmbracelet/x/ansi": {"postern/cmd/postern/internal/top"},

	// Of the packages for tests alone.
	"github.com/chromedp/cdproto":        {"postern/cmd/postern/internal/browser"},
	"github.com/chromedp/chromedp":       {"postern/cmd/postern/internal/browser"},
	"github.com/prometheus/client_model": {"postern/cmd/postern/internal/testbed"},
}

// onSeveralFloors are the modules whose homes are on more than one floor, because
// programs and what stands in for their peers use the same protocol or algorithm.
var onSeveralFloors = []string{
	"github.com/emersion/go-imap/v2", "github.com/emersion/go-sasl", "github.com/pires/go-proxyproto", "golang.org/x/time",
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

// isOurs reports whether p belongs to this module.
func (p listed) isOurs() bool { return p.Module != nil && p.Module.Main }

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

// TestLayout checks the imports of every package of this module, without its
// tests.
func TestLayout(t *testing.T) {
	all := packages(t)
	for path, p := range all {
		if !p.isOurs() {
			continue
		}
		if _, known := floors[path]; !known {
			t.Errorf("%s is on no floor", path)
		}
		for _, imported := range p.Imports {
			if complaint := checkImport(path, all[imported], imported); complaint != "" {
				t.Errorf("%s imports %s, %s", path, imported, complaint)
			}
		}
	}
	for path := range floors {
		if !all[path].isOurs() {
			t.Errorf("%s has a floor and does not exist", path)
		}
	}
}

// checkImport says what is wrong with an import of to, which is called imported,
// by the package path; "" if nothing is.
func checkImport(path string, to listed, imported string) string {
	switch {
	case imported == "testing" && !slices.Contains(forTests, path):
		return "which is for tests"
	case imported == "unsafe" && !slices.Contains(unsafeUsers, path):
		return "which only the poller may"
	case to.Standard || to.Module == nil:
		return ""
	case slices.Contains(forTests, imported) && !slices.Contains(forTests, path):
		return "which is for tests"
	case imported == "postern/proxy/standin" && !slices.Contains(slices.Concat(standinUsers, forTests), path):
		return "which is for demo, bench and tests"
	case to.isOurs() && floors[imported] >= floors[path]:
		return "which is not on a lower floor"
	case !to.isOurs() && !slices.Contains(homes[to.Module.Path], path):
		return "whose homes are " + strings.Join(homes[to.Module.Path], ", ")
	}
	return ""
}

// TestModulesHaveOneFloor each, but for the exceptions, and no home is left over.
func TestModulesHaveOneFloor(t *testing.T) {
	used := map[string][]string{}
	for path, p := range packages(t) {
		if !p.isOurs() {
			continue
		}
		for _, imported := range p.Imports {
			for module, homes := range homes {
				if (imported == module || strings.HasPrefix(imported, module+"/")) && slices.Contains(homes, path) {
					used[module] = append(used[module], path)
				}
			}
		}
	}
	for module, homes := range homes {
		onFloor := map[float64]bool{}
		for _, path := range homes {
			onFloor[math.Floor(floors[path])] = true
			if !slices.Contains(used[module], path) {
				t.Errorf("%s may import %s and does not", path, module)
			}
		}
		if several := len(onFloor) > 1; several && !slices.Contains(onSeveralFloors, module) {
			t.Errorf("%s is imported on the floors %v", module, slices.Sorted(maps.Keys(onFloor)))
		}
	}
}

// TestDaemonLinksNoTests: neither "testing" nor a package for tests is part of the
// program.
func TestDaemonLinksNoTests(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if path == "testing" || slices.Contains(forTests, path) {
			t.Errorf("links %s", path)
		}
	}
}
