package daemon

import (
	"runtime/debug"
	"testing"
)

// TestOperatorSetsGC: with one of Go's own variables, nothing is changed.
func TestOperatorSetsGC(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	for _, tt := range []struct {
		variable string
		want     int
	}{{"GOGC=off", 77}, {"GOMEMLIMIT=1GiB", 77}, {"GOGCX=1", gcPercent}} {
		debug.SetGCPercent(77)
		setGC([]string{"HOME=/root", tt.variable})
		if got := debug.SetGCPercent(77); got != tt.want {
			t.Errorf("with %s: got %d, want %d", tt.variable, got, tt.want)
		}
	}
}
