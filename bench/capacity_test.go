package bench

import (
	"errors"
	"testing"
)

// Sessions and attempts are held at the same time, and all sessions live on.
func TestCapacity(t *testing.T) {
	h := newHouse(t)
	w := must(capacityWorks(few()))[0]
	s, err := measureAt(t, h, w, "postern")
	if err != nil {
		t.Fatal(err)
	}
	if s.value(t, "sessions") != 18 || s.value(t, "sessions that are alive") != 100 || s.value(t, "descriptors per session") != 2 {
		t.Errorf("%+v", s.figures)
	}
	if s, err := measureAt(t, h, w, direct); !errors.Is(err, ErrLeftOut) {
		t.Errorf("%+v, %v", s, err)
	}
}

// What is to be held needs no more descriptors than there are.
func TestCrewFitsDescriptors(t *testing.T) {
	for _, test := range []struct{ files, sessions, attempts int }{
		{filesSpare + filesEach, 9, 5}, {20000, 7668, 4260}, {1 << 20, 9000, 5000},
	} {
		o := &Options{Files: test.files}
		sessions, attempts := o.crew()
		if sessions != test.sessions || attempts != test.attempts || 2*sessions+attempts+filesSpare > test.files {
			t.Errorf("%d descriptors: %d sessions, %d attempts", test.files, sessions, attempts)
		}
	}
}
