package daemon

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestBuildString(t *testing.T) {
	tail := " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	for want, b := range map[string]Build{
		"postern (devel)" + tail:               {Version: "(devel)"},
		"postern v1.2.3 (0123456789ab)" + tail: {Version: "v1.2.3", Revision: "0123456789abcdef"},
	} {
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestGCIsTheOperators if they set one of Go's variables.
func TestGCIsTheOperators(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	for _, tt := range []struct {
		environ string
		want    int
	}{{"GOGC=off", 77}, {"GOMEMLIMIT=1GiB", 77}, {"GOGCX=1", gcPercent}} {
		debug.SetGCPercent(77)
		setGC([]string{"HOME=/root", tt.environ})
		if got := debug.SetGCPercent(77); got != tt.want {
			t.Errorf("with %s: got %d, want %d", tt.environ, got, tt.want)
		}
	}
}
