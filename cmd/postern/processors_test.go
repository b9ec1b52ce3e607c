package main

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestProcessors takes a gate through a day and an attack.
func TestProcessors(t *testing.T) {
	p := processors{all: 8, used: 8}
	for i, step := range []struct {
		busy  float64
		times int
		want  int
	}{
		{0, littleFor - 1, 8},    // it has begun
		{0, 1, 1},                // and nothing happens
		{0.79, 1000, 1},          // the day
		{0.9, 1, 1},              // a moment
		{0.5, 1, 1},              // is over
		{0.81, muchFor - 1, 1},   // the attack begins
		{0.95, 1, 8},             // and is taken on
		{7.5, 1000, 8},           // with all there is
		{0.69, littleFor - 1, 8}, // it weakens
		{0.71, 1, 8},             // not yet
		{0.69, littleFor, 1},     // now
	} {
		for range step.times {
			p.decide(step.busy)
		}
		if p.used != step.want {
			t.Errorf("after step %d %d are used, want %d", i, p.used, step.want)
		}
	}
}

// Go is given back what it had.
func TestTendProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go tendProcessors(ctx, before)
		<-time.After(countEvery * (littleFor + 2)) // in which nothing was done
		if used := runtime.GOMAXPROCS(0); used != 1 {
			t.Errorf("%d are used", used)
		}
		cancel()
		synctest.Wait()
	})
	surroundings{}.tendProcessors()()
	surroundings{environ: []string{"GOMAXPROCS=3"}}.tendProcessors()()
	if after := runtime.GOMAXPROCS(0); after != before {
		t.Errorf("%d are used afterwards, %d were before", after, before)
	}
}
