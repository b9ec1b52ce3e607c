package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// build says what this program was built from.
type build struct {
	Version  string // of the module; "(devel)" for a build from a work tree without version control
	Revision string // of the repository; empty if unknown
}

// thisBuild reads what the Go tool noted in the program.
func thisBuild() build {
	b := build{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

// String is the line that `postern version` prints.
func (b build) String() string {
	from := ""
	if b.Revision != "" {
		from = fmt.Sprintf(" (%.12s)", b.Revision)
	}
	return fmt.Sprintf("postern %s%s %s %s/%s", b.Version, from, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
