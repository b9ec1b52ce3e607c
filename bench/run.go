package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/bench/machine"
)

// Runner measures works at targets.
type Runner struct {
	// Open makes a target ready for a work and returns what ends it. Fresh work
	// opens it for every round.
	Open func(ctx context.Context, w Work, name string) (*Target, func(), error)
	// Targets names the targets, in the order of the table.
	Targets []string
	// Patience is given to every client.
	Patience time.Duration
	// Progress is called before every round, and once at the end with done ==
	// total.
	Progress func(done, total int, what string)
}

// Run measures all works and returns what it found. When ctx ends, it returns
// what was measured so far with the cause in Interrupted; the round that was cut
// short is left out.
func (r *Runner) Run(ctx context.Context, works []Work) []Group {
	total, done := 0, 0
	for _, w := range works {
		total += w.Rounds * len(r.Targets)
	}
	var groups []Group
	for _, w := range works {
		c := newCollector(w)
		targets, end := r.persistent(ctx, w, c)
		for round := range w.Rounds {
			for i := range r.Targets {
				name := r.Targets[(i+round)%len(r.Targets)] // each round in another order
				if ctx.Err() == nil {
					r.Progress(done, total, w.Name+" · "+name)
					r.round(ctx, w, name, targets, c)
				}
				done++
			}
		}
		end()
		groups = append(groups, c.finish())
		if ctx.Err() != nil {
			break
		}
	}
	r.Progress(total, total, "")
	return groups
}

// persistent opens the targets of work that is not fresh.
func (r *Runner) persistent(ctx context.Context, w Work, c *collector) (map[string]*Target, func()) {
	byName, ends := map[string]*Target{}, []func(){}
	end := func() {
		for _, e := range ends {
			e()
		}
	}
	if w.Fresh {
		return nil, end
	}
	for _, name := range r.Targets {
		t, e, err := r.Open(ctx, w, name)
		if err != nil {
			c.add(name, &Sample{}, 0, err)
			continue
		}
		byName[name], ends = t, append(ends, e)
	}
	return byName, end
}

// round measures once at one target.
func (r *Runner) round(ctx context.Context, w Work, name string, targets map[string]*Target, c *collector) {
	t := targets[name]
	if w.Fresh {
		opened, end, err := r.Open(ctx, w, name)
		if err != nil {
			c.add(name, &Sample{}, 0, err)
			return
		}
		defer end()
		t = opened
	}
	if t == nil || c.group.Rounds[name] != nil && c.group.Rounds[name].Not {
		return
	}
	t.patience = r.Patience
	s := &Sample{}
	others, err := watched(func() error { return w.Measure(ctx, t, s) })
	if t.tidy != nil {
		t.tidy()
	}
	if t.pid == 0 && t.loopback {
		others = 0 // it runs here and is not ours: it cannot be told from others
	}
	if ctx.Err() != nil {
		return
	}
	c.add(name, s, others, err)
}

// watched does something and returns how much of the machine others used
// meanwhile.
func watched(do func() error) (float64, error) {
	watch, err := machine.NewWatch()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	return watch.Others()
}

// ErrTimeUp is the cause of a run's end when it has taken as long as it may.
var ErrTimeUp = errors.New("the time for the whole run was up")

// interrupted puts the end of ctx into words.
func interrupted(ctx context.Context) string {
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return ""
	case errors.Is(cause, context.Canceled):
		return "stopped by hand: what follows is what was measured until then"
	default:
		return fmt.Sprintf("%v: what follows is what was measured until then", cause)
	}
}
