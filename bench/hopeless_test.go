package bench

import (
	"context"
	"errors"
	"testing"
)

func TestHopelessTargetsAreLeftOut(t *testing.T) {
	h := newHopeless("let in")
	played := map[string]int{}
	work := func(name string) Work {
		return h.unless(Work{Name: name, Measure: func(_ context.Context, t *Target, s *Sample) error {
			played[t.Name]++
			s.Figure("let in", "%", Higher, map[string]float64{"good": 99, "bad": 3}[t.Name])
			return nil
		}})
	}
	weak, strong := work("weak"), work("strong")
	for _, w := range []Work{weak, weak, strong, strong} {
		for _, name := range []string{"good", "bad"} {
			err := w.Measure(t.Context(), &Target{Name: name}, &Sample{})
			if left := errors.Is(err, ErrLeftOut); left != (name == "bad" && w.Name == "strong") {
				t.Errorf("%s at %s: %v", w.Name, name, err)
			}
		}
	}
	if played["good"] != 4 || played["bad"] != 2 {
		t.Errorf("played: %v", played)
	}
}
