package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// traceRunner is a runner that records the use of its targets.
type traceRunner struct {
	runner
	done []string
}

func newTraceRunner(targets ...string) *traceRunner {
	tr := &traceRunner{runner: runner{targets: targets, progress: func(int, int, string) {}}}
	tr.open = func(_ context.Context, _ Work, name string) (*target, func(), error) {
		tr.done = append(tr.done, "open "+name)
		return &target{name: name}, func() { tr.done = append(tr.done, "close "+name) }, nil
	}
	return tr
}

// work records that it is measured and has the figures 1, 2, 3 and so on.
func (tr *traceRunner) work(name string) Work {
	n := 0.0
	return Work{Name: name, rounds: 3, measure: func(_ context.Context, t *target, s *sample) error {
		n++
		tr.done = append(tr.done, t.name)
		s.figure("n", "", lower, n)
		return nil
	}}
}

func TestRoundsChangeTheOrderOfTargets(t *testing.T) {
	tr := newTraceRunner("a", "b", "c")
	groups := tr.run(t.Context(), []Work{tr.work("w")})
	want := "open a,open b,open c,a,b,c,b,c,a,c,a,b,close a,close b,close c"
	if got := strings.Join(tr.done, ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// a was first, then last, then in the middle.
	c := groups[0].Rows[0].Cells["a"]
	if !slices.Equal(c.Values, []float64{1, 6, 8}) || c.Median != 6 || c.Low != 1 || c.High != 8 {
		t.Errorf("figures of a: %+v", c)
	}
}

func TestFreshWorkOpensTargetsForEveryRound(t *testing.T) {
	tr := newTraceRunner("a", "b")
	w := tr.work("w")
	w.fresh, w.rounds = true, 2
	tr.run(t.Context(), []Work{w})
	want := "open a,a,close a,open b,b,close b,open b,b,close b,open a,a,close a"
	if got := strings.Join(tr.done, ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFailedRoundsDoNotEndTheRun(t *testing.T) {
	tr := newTraceRunner("good", "bad", "unable")
	tries := map[string]int{}
	w := Work{Name: "w", rounds: 3, measure: func(_ context.Context, t *target, s *sample) error {
		tries[t.name]++
		switch {
		case t.name == "bad" && tries["bad"] < 3:
			return errors.New("connection lost")
		case t.name == "unable":
			return fmt.Errorf("unable: imap, tls: %w", errNotOffered)
		}
		s.figure("n", "", lower, 1)
		return nil
	}}
	g := tr.run(t.Context(), []Work{w})[0]
	if r := g.Rounds["bad"]; r.Done != 1 || len(r.Problems) != 1 || r.Problems[0] != "a round failed: connection lost (2 times)" {
		t.Errorf("bad: %+v", r)
	}
	if r := g.Rounds["unable"]; !r.LeftOut || tries["unable"] != 1 || len(r.Problems) != 0 {
		t.Errorf("unable: %+v after %d tries", r, tries["unable"])
	}
	if len(g.Rows[0].Cells["good"].Values) != 3 || len(g.Rows[0].Cells["bad"].Values) != 1 || g.Rows[0].Cells["unable"] != nil {
		t.Errorf("rows: %+v", g.Rows)
	}
}

func TestTargetThatDoesNotStart(t *testing.T) {
	tr := newTraceRunner("a", "broken")
	open := tr.open
	tr.open = func(ctx context.Context, w Work, name string) (*target, func(), error) {
		if name == "broken" {
			return nil, nil, errors.New("no such file")
		}
		return open(ctx, w, name)
	}
	g := tr.run(t.Context(), []Work{tr.work("w")})[0]
	if got := strings.Join(tr.done, ","); got != "open a,a,a,a,close a" {
		t.Errorf("done: %s", got)
	}
	if r := g.Rounds["broken"]; r.Done != 0 || r.Failed != "no such file" {
		t.Errorf("broken: %+v", r)
	}
}

// An interrupted run keeps finished rounds and drops the unfinished one.
func TestInterruptedRun(t *testing.T) {
	tr := newTraceRunner("a", "b")
	ctx, stop := context.WithCancelCause(t.Context())
	n := 0
	w := Work{Name: "w", rounds: 3, measure: func(ctx context.Context, _ *target, s *sample) error {
		s.figure("n", "", lower, 1)
		if n++; n == 4 {
			stop(context.Canceled)
			return ctx.Err()
		}
		return nil
	}}
	groups := tr.run(ctx, []Work{w, tr.work("never")})
	if len(groups) != 1 || n != 4 {
		t.Fatalf("%d groups after %d rounds", len(groups), n)
	}
	if v := groups[0].Rows[0].Cells; len(v["a"].Values)+len(v["b"].Values) != 3 {
		t.Errorf("cells: %v, %v", v["a"], v["b"])
	}
	if closed := strings.Join(tr.done, ","); closed != "open a,open b,close a,close b" {
		t.Errorf("done: %s", closed)
	}
	if what := describeEnd(ctx); !strings.HasPrefix(what, "interrupted by the user") {
		t.Errorf("got %q", what)
	}
	late, cancel := context.WithTimeoutCause(t.Context(), -time.Second, errTimeUp)
	defer cancel()
	if what := describeEnd(late); !strings.HasPrefix(what, errTimeUp.Error()) {
		t.Errorf("got %q", what)
	}
}
