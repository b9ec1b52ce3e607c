package bench

import (
	"errors"
	"testing"
)

// Sessions and waiting attempts are held at the same time, and all sessions remain
// alive.
func TestCapacity(t *testing.T) {
	t.Parallel()
	tb := newTestbed(t)
	w := must(capacityWorks(shortOptions()))[0]
	s, err := measureAt(t, tb, w, "postern")
	if err != nil {
		t.Fatal(err)
	}
	if s.value(t, "sessions") != 18 || s.value(t, "sessions that are alive") != 100 || s.value(t, "descriptors per session") != 2 {
		t.Errorf("%+v", s.figures)
	}
	if s, err := measureAt(t, tb, w, direct); !errors.Is(err, errLeftOut) {
		t.Errorf("%+v, %v", s, err)
	}
}

// Sessions and attempts need no more file descriptors than there are.
func TestCapacityCountsFitDescriptors(t *testing.T) {
	for _, test := range []struct{ files, sessions, attempts int }{
		{filesReserved + filesPerShare, 9, 5}, {20000, 7668, 4260}, {1 << 20, 9000, 5000},
	} {
		o := &Options{Files: test.files}
		sessions, attempts := o.capacityCounts()
		if sessions != test.sessions || attempts != test.attempts || 2*sessions+attempts+filesReserved > test.files {
			t.Errorf("%d descriptors: %d sessions, %d attempts", test.files, sessions, attempts)
		}
	}
}
