package incidents

import (
	"testing"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// TestFormerStateIsTakenOver: the next Manager has the incidents of the former.
func TestFormerStateIsTakenOver(t *testing.T) {
	m, _ := newManager(t, Config{})
	do(t, m, at(1), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack})
	data, err := m.Export(at(2))
	if err != nil {
		t.Fatal(err)
	}
	next, _ := newManager(t, Config{Former: data})
	if i, open := next.Open(); !open || i.Class != watch.ClassAttack {
		t.Errorf("got %+v", i)
	}
}
