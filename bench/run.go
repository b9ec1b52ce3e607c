package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/bench/machine"
)

// Run measures what c asks for. It returns an error if nothing could be
// measured; an interrupted run returns a report of what it has.
func Run(ctx context.Context, c Config) (*Report, error) {
	works, err := c.selected()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, errTimeUp)
	defer cancel()
	report := &Report{Start: time.Now(), Command: c.Command, Version: c.Version, Machine: machine.Describe()}
	r := &runner{timeout: c.Options.Timeout, progress: c.Progress}
	closeTargets := func() {}
	if c.Remote.Given() {
		err = c.openRemote(ctx, r, report)
	} else {
		closeTargets, err = c.openLocal(ctx, r, report)
	}
	if err != nil {
		return nil, err
	}
	defer closeTargets()
	report.Groups = r.run(ctx, works)
	report.Interrupted = describeEnd(ctx)
	report.Took = Duration(time.Since(report.Start))
	report.Goals = evaluateGoals(report)
	if err := report.failure(); err != nil && report.Running && !report.measured() && report.Interrupted == "" {
		return nil, err
	}
	return report, nil
}

// runner measures works at targets.
type runner struct {
	// open prepares a target for a work and returns what closes it. Fresh work
	// opens it for every round.
	open     func(ctx context.Context, w Work, name string) (*target, func(), error)
	targets  []string // names, in the order of the table
	timeout  time.Duration
	progress func(done, total int, what string)
}

// run measures all works and returns their figures. When ctx ends, it returns
// what was measured so far, without the unfinished round.
func (r *runner) run(ctx context.Context, works []Work) []Group {
	total, done := 0, 0
	for _, w := range works {
		total += w.rounds * len(r.targets)
	}
	var groups []Group
	for _, w := range works {
		c := newCollector(w)
		targets, closeTargets := r.openAll(ctx, w, c)
		for round := range w.rounds {
			for i := range r.targets {
				name := r.targets[(i+round)%len(r.targets)] // each round in another order
				if ctx.Err() == nil {
					r.progress(done, total, w.Name+" · "+name)
					r.round(ctx, w, name, targets, c)
				}
				done++
			}
		}
		closeTargets()
		groups = append(groups, c.finish())
		if ctx.Err() != nil {
			break
		}
	}
	r.progress(total, total, "")
	return groups
}

// openAll opens the targets of a work that is not fresh.
func (r *runner) openAll(ctx context.Context, w Work, c *collector) (map[string]*target, func()) {
	byName, closers := map[string]*target{}, []func(){}
	closeAll := func() {
		for _, f := range closers {
			f()
		}
	}
	if w.fresh {
		return nil, closeAll
	}
	for _, name := range r.targets {
		t, f, err := r.open(ctx, w, name)
		if err != nil {
			c.add(name, &sample{}, 0, err)
			continue
		}
		byName[name], closers = t, append(closers, f)
	}
	return byName, closeAll
}

// round measures once at one target.
func (r *runner) round(ctx context.Context, w Work, name string, targets map[string]*target, c *collector) {
	t := targets[name]
	if w.fresh {
		opened, closeTarget, err := r.open(ctx, w, name)
		if err != nil {
			c.add(name, &sample{}, 0, err)
			return
		}
		defer closeTarget()
		t = opened
	}
	if t == nil || c.group.Rounds[name] != nil && c.group.Rounds[name].LeftOut {
		return
	}
	t.timeout = r.timeout
	s := &sample{}
	others, err := measureOthers(func() error { return w.measure(ctx, t, s) })
	if t.afterRound != nil {
		t.afterRound()
	}
	if t.pid == 0 && t.loopback {
		others = 0 // a server on this machine that is not ours counts as others
	}
	if ctx.Err() != nil {
		return
	}
	c.add(name, s, others, err)
}

// measureOthers calls do and returns which part of the machine other programs
// used meanwhile.
func measureOthers(do func() error) (float64, error) {
	load, err := machine.NewLoadMeter()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	return load.Others()
}

// errTimeUp is the cause when a run reaches [Config.Limit].
var errTimeUp = errors.New("-limit was reached")

// describeEnd says why ctx has ended, "" if it has not.
func describeEnd(ctx context.Context) string {
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return ""
	case errors.Is(cause, context.Canceled):
		return "interrupted by the user; these are the figures until then"
	default:
		return fmt.Sprintf("%v; these are the figures until then", cause)
	}
}
