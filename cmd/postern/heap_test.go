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
	for _, step := range []struct {
		at      int // seconds
		use     heapUse
		percent int
		tidy    bool
		rests   int // for how long after tidying up
	}{
		{0, heapUse{live: 0, now: 3 * mb, total: 3 * mb}, 1500, true, 2},
		{1, heapUse{live: 2 * mb, now: 6 * mb, total: 6 * mb}, 700, false, 0},           // not so soon again
		{3, heapUse{live: 2 * mb, now: 3 * mb, total: 9 * mb}, 700, false, 0},           // not for so little
		{4, heapUse{live: 8 * mb, now: 15 * mb, total: 90 * mb}, 100, false, 0},         // the storm
		{5, heapUse{live: 30 * mb, now: 44 * mb, total: 170 * mb}, 50, false, 0},        // goes on
		{6, heapUse{live: 31 * mb, now: 40 * mb, total: 171 * mb}, 50, true, 3},         // and is over
		{7, heapUse{live: 31 * mb, now: 32 * mb, total: 172 * mb}, 50, false, 0},        // a few
		{8, heapUse{live: 31 * mb, now: 39 * mb, total: 179 * mb}, 50, false, 0},        // it rests
		{9, heapUse{live: 31 * mb, now: 39 * mb, total: 180 * mb}, 50, true, 0},         // it has rested
		{10, heapUse{live: 900 * mb, now: 1300 * mb, total: 1800 * mb}, 50, false, 0},   // a large site
		{11, heapUse{live: 900 * mb, now: 1000 * mb, total: 1801 * mb}, 50, false, 0},   // in peace
		{12, heapUse{live: 900 * mb, now: 1020 * mb, total: 1802 * mb}, 50, true, 25},   // and tidy
		{13, heapUse{live: 15 * mb, now: 20 * mb, total: 1803 * mb}, 50, false, 0},      // all have left
		{14, heapUse{live: 4 * mb, now: 5 * mb, total: 1804 * mb}, 300, false, 0},       // and it is small
		{15, heapUse{live: 4*mb + 99999, now: 5 * mb, total: 1804 * mb}, 300, false, 0}, // which is no change
	} {
		percent, tidy := h.decide(start.Add(time.Duration(step.at)*time.Second), step.use)
		if percent != step.percent || tidy != step.tidy {
			t.Errorf("at %d s: %d %%, tidy up %t; want %d %%, %t", step.at, percent, tidy, step.percent, step.tidy)
		}
		if h.percent = percent; step.rests > 0 {
			h.rested = start.Add(time.Duration(step.at+step.rests) * time.Second)
		}
	}
}

// The runtime is asked in its own words, and left as it was.
func TestTendHeap(t *testing.T) {
	if u := readHeap(); u.now == 0 || u.total < u.now {
		t.Errorf("the heap is %+v", u)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tend(ctx)
	surroundings{}.tendHeap()()
	surroundings{environ: []string{"GOGC=77"}}.tendHeap()()
	if percent := debug.SetGCPercent(77); percent != 77 {
		t.Errorf("%d %% afterwards", percent)
	}
}
