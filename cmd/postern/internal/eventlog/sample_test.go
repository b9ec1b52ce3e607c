package eventlog

import (
	"testing"
	"time"
)

// TestSampler: two lines a second, and two at once after a second without any. A
// clock that goes back gives nothing away.
func TestSampler(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	s := newSampler(2)
	for i, step := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true}, {time.Millisecond, true}, {2 * time.Millisecond, false}, {499 * time.Millisecond, false},
		{500 * time.Millisecond, true}, // one token in half a second
		{501 * time.Millisecond, false}, {999 * time.Millisecond, false},
		{1000 * time.Millisecond, true}, {0, false}, {999 * time.Millisecond, false}, {1000 * time.Millisecond, false}, // back in time
		{time.Minute, true}, {time.Minute, true}, {time.Minute, false}, // no more than a second's lines are saved up
	} {
		if got := s.allow(start.Add(step.at)); got != step.want {
			t.Errorf("step %d, after %v: got %v", i, step.at, got)
		}
	}
	const dropped = 8
	if n := s.report(); n != dropped {
		t.Errorf("first report: got %d, want %d", n, dropped)
	}
	if n := s.report(); n != 0 {
		t.Errorf("second report: got %d, want 0", n)
	}
	if n := s.total(); n != dropped {
		t.Errorf("since the start: got %d, want %d", n, dropped)
	}
}
