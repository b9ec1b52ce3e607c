package daemon

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Build says what this program was built from.
type Build struct {
	Version  string // of the module; "(devel)" for a build from a work tree without version control
	Revision string // of the repository; empty if unknown
}

// ThisBuild reads what the Go tool recorded in the program.
func ThisBuild() Build {
	b := Build{Version: "(devel)"}
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
func (b Build) String() string {
	from := ""
	if b.Revision != "" {
		from = fmt.Sprintf(" (%.12s)", b.Revision)
	}
	return fmt.Sprintf("postern %s%s %s %s/%s", b.Version, from, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
