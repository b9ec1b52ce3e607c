package bench

import (
	"errors"
	"os"
	"testing"
	"time"
)

// CPU per login is measured at gateways that share and at others, and what the engine gets.
func TestSharingWork(t *testing.T) {
	tb := newTestbed(t)
	o := Defaults()
	o.Rate, o.Duration = 50, 300*time.Millisecond
	works, err := sharingWorks(&o)
	if err != nil {
		t.Fatal(err)
	}
	target, p, err := tb.start(t.Context(), findKind(t, "postern"), works[0])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	target.timeout = time.Minute
	s := &sample{}
	err = works[0].measure(t.Context(), target, s)
	if errors.Is(err, errNotOffered) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range sharingKinds {
		for _, name := range []string{sharingRatio(kind.name), sharingBatches(kind.name), "sent per gateway, " + kind.name, "received per gateway, " + kind.name} {
			if s.value(t, name) <= 0 {
				t.Errorf("%s: got %v, want more than 0", name, s.value(t, name))
			}
		}
	}
}
