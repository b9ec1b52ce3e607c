package daemon

import (
	"runtime"
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
