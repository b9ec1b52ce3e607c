package main

import (
	"context"
	"log/slog"
	"time"

	"postern/proxy"
)

// backendCheck is how often the log learns which backends are up.
const backendCheck = time.Second

// tellOfBackends logs each backend that goes down or comes back, until ctx
// ends.
func (g *gate) tellOfBackends(ctx context.Context) {
	tick := time.NewTicker(backendCheck)
	defer tick.Stop()
	down := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, group := range g.backends {
			for _, b := range group.Stats() {
				g.tellOfBackend(b, down)
			}
		}
	}
}

// tellOfBackend logs b if it is not as down remembers it. All were up at the
// start.
func (g *gate) tellOfBackend(b proxy.BackendStats, down map[string]bool) {
	if b.Up != down[b.Addr] {
		return
	}
	down[b.Addr] = !b.Up
	if b.Up {
		g.journal.Info("backend up", slog.String("event", "backend"), slog.String("backend", b.Addr))
		return
	}
	g.journal.Warn("backend down", slog.String("event", "backend"), slog.String("backend", b.Addr),
		slog.String("error", printable(b.ProbeError, errorMax)))
}
