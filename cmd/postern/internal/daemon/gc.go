package daemon

import (
	"runtime/debug"
	"slices"
	"strings"
)

// gcPercent is GOGC unless the operator sets it or GOMEMLIMIT. Most memory of a
// gateway is the heap of idle sessions, to which the collector allows this much
// garbage: with Go's default of 100 a session in TLS takes about 9.5 KB, with 75
// 8.6 KB, with 50 7.4 KB and with 200 13 KB. A login costs as much CPU time with
// 75 as with 100 or 200, within the noise of 10 %, and a quarter more with 50.
const gcPercent = 75

// setGC sets gcPercent, unless one of the variables is in environ.
func setGC(environ []string) {
	if slices.ContainsFunc(environ, func(v string) bool {
		return strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=")
	}) {
		return
	}
	debug.SetGCPercent(gcPercent)
}
