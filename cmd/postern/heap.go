package main

import (
	"context"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// How much garbage there may be. What lives long takes little memory, for sessions
// that are silent have next to none: so there may be as much garbage as there is in
// use. Where little is in use the heap may grow to heapMin all the same, or there
// would be a collection for every few logins, each of which leaves 45 KB behind.
const (
	garbagePercent = 100
	heapMin        = 32 << 20
)

// When it is quiet, what can be given back is. A moment is quiet when less than
// quietBelow was allocated in it, and it is time to tidy up when it has been quiet for
// two: then silent sessions have gone to sleep. Of the time, one part in tidyShare may
// go into that.
const (
	tidyEvery  = 500 * time.Millisecond
	quietBelow = 8 << 20
	tidyShare  = 50
)

// heap decides when garbage is collected.
type heap struct {
	percent int       // of garbage, in force
	total   uint64    // allocated ever
	quiet   int       // moments in a row
	tidied  uint64    // allocated ever when it was tidied up
	rested  time.Time // when it may be tidied up again
}

// heapUse is what the runtime tells of the heap, in octets.
type heapUse struct {
	live  uint64 // in use after the last collection
	roots uint64 // stacks and globals, of which the runtime allows as much garbage again
	total uint64 // allocated ever
}

// tendHeap tends the heap of the process until the function that it returns is
// called. An operator who has set GOGC or GOMEMLIMIT does so himself.
func (s surroundings) tendHeap() (stop func()) {
	return s.tend(tendHeap, "GOGC", "GOMEMLIMIT")
}

// tendHeap does what a heap decides, until ctx ends.
func tendHeap(ctx context.Context) {
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
	if h.quiet++; u.total-h.total >= quietBelow {
		h.quiet = 0
	}
	h.total = u.total
	live := int(max(u.live, 1<<20))
	percent = max(garbagePercent, (heapMin-live)*100/(live+int(u.roots)))
	if change := percent - h.percent; max(change, -change) <= h.percent/8 {
		percent = h.percent // not worth the stop
	}
	tidy = h.quiet >= 2 && u.total-h.tidied > u.live/8+1<<20 && !now.Before(h.rested)
	if tidy {
		h.tidied = u.total
	}
	return percent, tidy
}

// readHeap asks the runtime.
func readHeap() heapUse {
	s := []runtimemetrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	runtimemetrics.Read(s)
	return heapUse{live: s[0].Value.Uint64(), roots: s[1].Value.Uint64() + s[2].Value.Uint64(), total: s[3].Value.Uint64()}
}
