package main

import (
	"context"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"sync"
	"time"
)

// How much garbage there may be. Sessions live long among what every login leaves
// behind it, 45 KB, and memory that holds one of them is never given back for the
// rest: so the heap that a storm of logins makes is the one that stays. Half of
// what is in use may be garbage. Where little is in use the heap may grow to
// heapMin all the same, or there would be a collection for every few logins.
const (
	garbagePercent = 50
	heapMin        = 16 << 20
)

// When it is quiet, what can be given back is. A moment is quiet when less than
// quietBelow was allocated in it. Of the time, one part in tidyShare may go into
// that.
const (
	tidyEvery  = time.Second
	quietBelow = 8 << 20
	tidyShare  = 100
)

// heap decides when garbage is collected.
type heap struct {
	percent int       // of garbage, in force
	total   uint64    // allocated ever
	rested  time.Time // when it may be tidied up again
}

// heapUse is what the runtime tells of the heap, in octets.
type heapUse struct {
	live  uint64 // in use after the last collection
	now   uint64 // in use and garbage
	total uint64 // allocated ever
}

// tendHeap tends the heap of the process until the function that it returns is
// called. An operator who has set GOGC or GOMEMLIMIT does so himself.
func (s surroundings) tendHeap() (stop func()) {
	if slices.ContainsFunc(s.environ, func(v string) bool {
		return strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=")
	}) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tending sync.WaitGroup
	tending.Go(func() { tend(ctx) })
	return func() {
		cancel()
		tending.Wait()
	}
}

// tend does what a heap decides, until ctx ends.
func tend(ctx context.Context) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	h := heap{percent: 100}
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		percent, tidy := h.decide(time.Now(), readHeap())
		if percent != h.percent {
			debug.SetGCPercent(percent)
			h.percent = percent
		}
		if tidy {
			begun := time.Now()
			debug.FreeOSMemory()
			h.rested = time.Now().Add(tidyShare * time.Since(begun))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// decide says how much garbage there may be from now on, in per cent of what is in
// use, and whether to tidy up.
func (h *heap) decide(now time.Time, u heapUse) (percent int, tidy bool) {
	quiet := u.total-h.total < quietBelow
	h.total = u.total
	live := int(max(u.live, 1<<20))
	percent = max(garbagePercent, (heapMin-live)*100/live)
	if change := percent - h.percent; max(change, -change) <= h.percent/8 {
		percent = h.percent // not worth the stop
	}
	return percent, quiet && u.now > u.live+u.live/8+1<<20 && !now.Before(h.rested)
}

// readHeap asks the runtime.
func readHeap() heapUse {
	s := []runtimemetrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	runtimemetrics.Read(s)
	return heapUse{live: s[0].Value.Uint64(), now: s[1].Value.Uint64(), total: s[2].Value.Uint64()}
}
