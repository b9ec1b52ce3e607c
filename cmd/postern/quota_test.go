package main

import (
	"testing"
	"time"
)

func TestQuota(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	q := &quota{limit: 2}
	for i, step := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true}, {time.Millisecond, true}, {2 * time.Millisecond, false}, {999 * time.Millisecond, false},
		{time.Second, true}, {1500 * time.Millisecond, true}, {1999 * time.Millisecond, false},
		{time.Minute, true},
	} {
		if got := q.take(start.Add(step.at)); got != step.want {
			t.Errorf("step %d, after %v: got %v", i, step.at, got)
		}
	}
	if n := q.report(); n != 3 {
		t.Errorf("first report: got %d, want 3", n)
	}
	if n := q.report(); n != 0 {
		t.Errorf("second report: got %d, want 0", n)
	}
	if n := q.refused(); n != 3 {
		t.Errorf("in all: got %d, want 3", n)
	}
}
