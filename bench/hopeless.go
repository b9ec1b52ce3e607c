package bench

import (
	"context"
	"fmt"
)

// hopeless remembers the targets at which an attack left hardly anybody in, so
// that stronger attacks of its kind need not be played there.
type hopeless struct {
	figure string            // the share of those who got in, in per cent
	since  map[string]string // work, by target
}

// hardly is the share below which a target is given up.
const hardly = 10

func newHopeless(figure string) *hopeless {
	return &hopeless{figure, map[string]string{}}
}

// unless returns w, left out at targets that an earlier work has found hopeless.
// Works must be given in the order of their strength.
func (h *hopeless) unless(w Work) Work {
	measure := w.Measure
	w.Measure = func(ctx context.Context, t *Target, s *Sample) error {
		if earlier, found := h.since[t.Name]; found && earlier != w.Name {
			return fmt.Errorf("%s: let in less than %d %% in %q already: %w", t.Name, hardly, earlier, ErrLeftOut)
		}
		err := measure(ctx, t, s)
		for _, f := range s.figures {
			if err == nil && f.name == h.figure && f.value < hardly {
				h.since[t.Name] = w.Name
			}
		}
		return err
	}
	return w
}
