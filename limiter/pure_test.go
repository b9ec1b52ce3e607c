package limiter

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoClockNoGoroutineNoIO reads the source code of this package and of those below it: times and random numbers are
// always arguments.
func TestNoClockNoGoroutineNoIO(t *testing.T) {
	var files []string
	for _, folder := range []string{".", "traffic", "watch", "watch/incident", "watch/report"} {
		found, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no sources in %s: %v", folder, err)
		}
		files = append(files, found...)
	}
	forbidden := regexp.MustCompile(strings.Join([]string{
		`\btime\.(Now|Since|Until|Sleep|After|AfterFunc|Tick|NewTimer|NewTicker)\b`,
		`\bgo\s+(func\b|[\w.]+\()`,
		`\brand\.(N|Int\w*|Uint\w*|Float\w*|Perm|Shuffle|ExpFloat64|NormFloat64)\(`, // not seeded
		`"(context|io|log|net|os|syscall|unsafe)(/[^"]*)?"`,
	}, "|"))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		imports := strings.ReplaceAll(string(source), `"net/netip"`, "")
		for _, found := range forbidden.FindAllString(imports, -1) {
			t.Errorf("%s: %s", file, found)
		}
	}
}
