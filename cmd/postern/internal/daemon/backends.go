package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/proxy"
	"postern/proxy/dialogue"
	"postern/tlsconf"
)

// backends are the mail servers, by the names of the protocols that have a listener.
type backends map[string]*proxy.Backends

// newBackends makes them. certs says which server names of clients may be passed
// on; it may be nil.
func newBackends(c *config.Config, certs *certificates) (backends, error) {
	b := c.Backend
	bc := proxy.BackendConfig{Proxy: b.Proxy, TLS: b.TLS, Logins: b.Logins}
	if b.TLS != proxy.BackendClear {
		var err error
		if bc.TLSConfig, err = tlsconf.Client(string(b.CA), string(b.Name)); err != nil {
			return nil, config.Errorf("BACKEND_TLS_CA", "%w", err)
		}
	}
	if certs != nil {
		bc.Serves = certs.source.Serves
	}
	all := backends{}
	for _, p := range c.Listeners.Protocols() {
		bc.Addrs = b.Of(p.Name())
		all[p.Name()] = proxy.NewBackends(p, bc)
	}
	return all, nil
}

// learnTime is how long the start waits for backends that do not answer.
const learnTime = 2 * time.Second

// learn asks the backends for their capabilities, so that the first clients are
// offered what later ones are.
func (b backends) learn() {
	ctx, cancel := context.WithTimeout(context.Background(), learnTime)
	defer cancel()
	var asked sync.WaitGroup
	for _, group := range b {
		asked.Go(func() { group.Learn(ctx) })
	}
	asked.Wait()
}

// down names a protocol of which no backend is up, or returns "".
func (b backends) down() string {
	for _, p := range dialogue.Protocols() {
		if group := b[p.Name()]; group != nil && !group.Healthy() {
			return p.Name()
		}
	}
	return ""
}

// components are the parts of the service that users can tell apart: one for each
// protocol.
func (b backends) components() (all []incidents.Component) {
	for _, p := range dialogue.Protocols() {
		if group := b[p.Name()]; group != nil {
			all = append(all, incidents.Component{Name: p.Title(), Down: !group.Healthy()})
		}
	}
	return all
}

// count returns how many backends there are, and how many of them are up.
func (b backends) count() (up, all int) {
	for _, group := range b {
		for _, s := range group.Stats() {
			all++
			if s.Up {
				up++
			}
		}
	}
	return up, all
}

// backendCheck is how often logChanges looks which backends are up.
const backendCheck = time.Second

// logChanges logs each backend that goes down or comes up, until ctx ends.
func (b backends) logChanges(ctx context.Context, log *eventlog.Log) {
	down := map[string]bool{}
	every(ctx, backendCheck, func(time.Time) {
		for _, group := range b {
			for _, s := range group.Stats() {
				logChange(s, down, log)
			}
		}
	})
}

// logChange logs s and updates down, the addresses that were down before, if they
// differ. At the start all count as up.
func logChange(s proxy.BackendStats, down map[string]bool, log *eventlog.Log) {
	if s.Up != down[s.Addr] {
		return
	}
	down[s.Addr] = !s.Up
	if s.Up {
		log.Info("backend up", slog.String("event", "backend"), slog.String("backend", s.Addr))
		return
	}
	attrs := []any{slog.String("event", "backend"), slog.String("backend", s.Addr), eventlog.Error(s.ProbeError)}
	if why := eventlog.WhyBackend(s.ProbeError); why != "" {
		attrs = append(attrs, slog.String("why", why))
	}
	log.Warn("backend down", attrs...)
}
