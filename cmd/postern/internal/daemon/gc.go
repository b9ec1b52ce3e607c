package daemon

import (
	"runtime/debug"
	"slices"
	"strings"
)

// gcPercent is GOGC unless the operator sets it or GOMEMLIMIT.
const gcPercent = 100

// setGC sets it, once.
func setGC(environ []string) {
	if slices.ContainsFunc(environ, func(v string) bool {
		return strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=")
	}) {
		return
	}
	debug.SetGCPercent(gcPercent)
}
