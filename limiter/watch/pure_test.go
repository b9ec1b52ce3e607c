package watch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoClockNoGoroutineNoIO reads the sources of this package. Time comes in from outside, always.
func TestNoClockNoGoroutineNoIO(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	forbidden := regexp.MustCompile(strings.Join([]string{
		`\btime\.(Now|Since|Until|Sleep|After|AfterFunc|Tick|NewTimer|NewTicker)\b`,
		`\bgo\s+(func\b|[\w.]+\()`,
		`\.(Allow|Reserve|Wait|WaitN|Tokens|SetLimit|SetBurst|Cancel|Delay)\(`, // of x/time/rate: they read the clock
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
