package main

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

// TestHeap takes a gate from its start through a storm of logins to a quiet night.
func TestHeap(t *testing.T) {
	const mb = 1 << 20
	start := time.Date(2026, 3, 29, 8, 0, 0, 0, time.UTC)
	h := heap{percent: 100}
	for i, step := range []struct {
		use     heapUse
		percent int
		tidy    bool
		rests   int // moments, after tidying up
	}{
		{heapUse{live: 0, roots: mb, total: 3 * mb}, 1550, false, 0},
		{heapUse{live: 3 * mb, roots: mb, total: 4 * mb}, 725, true, 0}, // a second of quiet
		{heapUse{live: 3 * mb, roots: mb, total: 5 * mb}, 725, false, 0},
		{heapUse{live: 15 * mb, roots: 2 * mb, total: 90 * mb}, 100, false, 0},   // the storm
		{heapUse{live: 30 * mb, roots: 5 * mb, total: 170 * mb}, 100, false, 0},  // goes on
		{heapUse{live: 31 * mb, roots: 5 * mb, total: 171 * mb}, 100, false, 0},  // and is over
		{heapUse{live: 31 * mb, roots: mb, total: 172 * mb}, 100, true, 4},       // for a second
		{heapUse{live: 10 * mb, roots: mb, total: 175 * mb}, 200, false, 0},      // it rests
		{heapUse{live: 10 * mb, roots: mb, total: 179 * mb}, 200, false, 0},      // still
		{heapUse{live: 10 * mb, roots: mb, total: 180 * mb}, 200, false, 0},      // still
		{heapUse{live: 10 * mb, roots: mb, total: 181 * mb}, 200, true, 0},       // and there is something again
		{heapUse{live: 900 * mb, roots: mb, total: 1800 * mb}, 100, false, 0},    // a large site
		{heapUse{live: 900 * mb, roots: mb, total: 1801 * mb}, 100, false, 0},    // in peace
		{heapUse{live: 900 * mb, roots: mb, total: 1802 * mb}, 100, true, 0},     // and tidy
		{heapUse{live: 900 * mb, roots: mb, total: 1809 * mb}, 100, false, 0},    // for so little it is not worth it
		{heapUse{live: 4 * mb, roots: mb, total: 1810 * mb}, 560, true, 0},       // all have left
		{heapUse{live: 4*mb + 9999, roots: mb, total: 1811 * mb}, 560, false, 0}, // which is no change
	} {
		now := start.Add(time.Duration(i) * tidyEvery)
		percent, tidy := h.decide(now, step.use)
		if percent != step.percent || tidy != step.tidy {
			t.Errorf("step %d: %d %%, tidy up %t; want %d %%, %t", i, percent, tidy, step.percent, step.tidy)
		}
		if h.percent = percent; step.rests > 0 {
			h.rested = now.Add(time.Duration(step.rests) * tidyEvery)
		}
	}
}

// The runtime is asked in its own words, and left as it was.
func TestTendHeap(t *testing.T) {
	if u := readHeap(); u.roots == 0 || u.total < u.live {
		t.Errorf("the heap is %+v", u)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tendHeap(ctx)
	surroundings{}.tendHeap()()
	surroundings{environ: []string{"GOGC=77"}}.tendHeap()()
	if percent := debug.SetGCPercent(77); percent != 77 {
		t.Errorf("%d %% afterwards", percent)
	}
}
