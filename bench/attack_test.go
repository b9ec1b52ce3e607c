package bench

import (
	"context"
	"errors"
	"testing"
)

func TestSkipsStrongerAttacksAtFailedTargets(t *testing.T) {
	failed := newFailedTargets("accepted")
	measured := map[string]int{}
	work := func(name string) Work {
		return failed.skip(Work{Name: name, measure: func(_ context.Context, t *target, s *sample) error {
			measured[t.name]++
			s.figure("accepted", "%", higher, map[string]float64{"good": 99, "bad": 3}[t.name])
			return nil
		}})
	}
	weak, strong := work("weak"), work("strong")
	for _, w := range []Work{weak, weak, strong, strong} {
		for _, name := range []string{"good", "bad"} {
			err := w.measure(t.Context(), &target{name: name}, &sample{})
			if left := errors.Is(err, errLeftOut); left != (name == "bad" && w.Name == "strong") {
				t.Errorf("%s at %s: %v", w.Name, name, err)
			}
		}
	}
	if measured["good"] != 4 || measured["bad"] != 2 {
		t.Errorf("measured: %v", measured)
	}
}
