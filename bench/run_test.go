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

// trace is a runner whose targets only note what is done with them.
type trace struct {
	Runner
	done []string
}

func newTrace(targets ...string) *trace {
	tr := &trace{Runner: Runner{Targets: targets, Progress: func(int, int, string) {}}}
	tr.Open = func(_ context.Context, _ Work, name string) (*Target, func(), error) {
		tr.done = append(tr.done, "open "+name)
		return &Target{Name: name}, func() { tr.done = append(tr.done, "close "+name) }, nil
	}
	return tr
}

// work notes that it is measured and finds the number 1, 2, 3 and so on.
func (tr *trace) work(name string) Work {
	n := 0.0
	return Work{Name: name, Rounds: 3, Measure: func(_ context.Context, t *Target, s *Sample) error {
		n++
		tr.done = append(tr.done, t.Name)
		s.Figure("n", "", Lower, n)
		return nil
	}}
}

func TestRoundsAreInterleaved(t *testing.T) {
	tr := newTrace("a", "b", "c")
	groups := tr.Run(t.Context(), []Work{tr.work("w")})
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

func TestFreshTargets(t *testing.T) {
	tr := newTrace("a", "b")
	w := tr.work("w")
	w.Fresh, w.Rounds = true, 2
	tr.Run(t.Context(), []Work{w})
	want := "open a,a,close a,open b,b,close b,open b,b,close b,open a,a,close a"
	if got := strings.Join(tr.done, ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFailuresAreShownAndDoNotEndTheRun(t *testing.T) {
	tr := newTrace("good", "bad", "unable")
	tries := map[string]int{}
	w := Work{Name: "w", Rounds: 3, Measure: func(_ context.Context, t *Target, s *Sample) error {
		tries[t.Name]++
		switch {
		case t.Name == "bad" && tries["bad"] < 3:
			return errors.New("it hung up")
		case t.Name == "unable":
			return fmt.Errorf("unable: knocking: %w", ErrNotOffered)
		}
		s.Figure("n", "", Lower, 1)
		return nil
	}}
	g := tr.Run(t.Context(), []Work{w})[0]
	if r := g.Rounds["bad"]; r.Done != 1 || len(r.Problems) != 1 || r.Problems[0] != "a round failed: it hung up (2 times)" {
		t.Errorf("bad: %+v", r)
	}
	if r := g.Rounds["unable"]; !r.Not || tries["unable"] != 1 || len(r.Problems) != 0 {
		t.Errorf("unable: %+v after %d tries", r, tries["unable"])
	}
	if len(g.Rows[0].Cells["good"].Values) != 3 || len(g.Rows[0].Cells["bad"].Values) != 1 || g.Rows[0].Cells["unable"] != nil {
		t.Errorf("rows: %+v", g.Rows)
	}
}

func TestTargetThatDoesNotStart(t *testing.T) {
	tr := newTrace("a", "broken")
	open := tr.Open
	tr.Open = func(ctx context.Context, w Work, name string) (*Target, func(), error) {
		if name == "broken" {
			return nil, nil, errors.New("no such file")
		}
		return open(ctx, w, name)
	}
	g := tr.Run(t.Context(), []Work{tr.work("w")})[0]
	if got := strings.Join(tr.done, ","); got != "open a,a,a,a,close a" {
		t.Errorf("done: %s", got)
	}
	if r := g.Rounds["broken"]; r.Done != 0 || r.Failed != "no such file" {
		t.Errorf("broken: %+v", r)
	}
}

// What was measured before the end is kept, the round that was cut short is not.
func TestInterruptedRun(t *testing.T) {
	tr := newTrace("a", "b")
	ctx, stop := context.WithCancelCause(t.Context())
	n := 0
	w := Work{Name: "w", Rounds: 3, Measure: func(ctx context.Context, _ *Target, s *Sample) error {
		s.Figure("n", "", Lower, 1)
		if n++; n == 4 {
			stop(context.Canceled)
			return ctx.Err()
		}
		return nil
	}}
	groups := tr.Run(ctx, []Work{w, tr.work("never")})
	if len(groups) != 1 || n != 4 {
		t.Fatalf("%d groups after %d rounds", len(groups), n)
	}
	if v := groups[0].Rows[0].Cells; len(v["a"].Values)+len(v["b"].Values) != 3 {
		t.Errorf("cells: %v, %v", v["a"], v["b"])
	}
	if closed := strings.Join(tr.done, ","); closed != "open a,open b,close a,close b" {
		t.Errorf("done: %s", closed)
	}
	if what := interrupted(ctx); !strings.HasPrefix(what, "stopped by hand") {
		t.Errorf("said: %s", what)
	}
	late, cancel := context.WithTimeoutCause(t.Context(), -time.Second, ErrTimeUp)
	defer cancel()
	if what := interrupted(late); !strings.HasPrefix(what, ErrTimeUp.Error()) {
		t.Errorf("said: %s", what)
	}
}
