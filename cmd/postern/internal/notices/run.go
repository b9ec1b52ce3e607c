package notices

import (
	"context"
	"log/slog"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/geoip"
	"postern/cmd/postern/internal/notify"
)

// When Run does what.
const (
	tickInterval    = time.Second
	batchInterval   = 30 * time.Second // between two requests; the first notice after a pause is sent at once
	refreshInterval = time.Minute      // of the check whether an MMDB file has changed
	saveInterval    = 5 * time.Minute
)

// Shortest and longest pause after a failed delivery.
const retryMin, retryMax = 10 * time.Second, 5 * time.Minute

// Run delivers notices and saves the state until ctx ends; then it saves for the last time.
// It can be called again after it has returned.
func (m *Manager) Run(ctx context.Context) {
	m.working.Lock()
	defer m.working.Unlock()
	m.handedOver = 0
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	for {
		m.work(ctx, time.Now())
		select {
		case <-ctx.Done():
			m.handedOver = m.save(time.Now())
			return
		case <-tick.C:
		case <-m.queue.added:
		}
	}
}

// work does what is due at time t.
func (m *Manager) work(ctx context.Context, t time.Time) {
	if t.Sub(m.refreshed) >= refreshInterval {
		m.refreshed = t
		m.refresh("COUNTRY_FILE", m.config.Countries)
		m.refresh("ASN_FILE", m.config.Systems)
		m.networks.expire(t)
	}
	if !t.Before(m.next) {
		m.deliver(ctx, t)
	}
	if t.Sub(m.saved) >= saveInterval {
		m.saved = t
		m.save(t)
	}
}

// Flush tries once to deliver what was found since Run has returned, in a process that has
// handed over: the next one has what the state file had then.
func (m *Manager) Flush(ctx context.Context) {
	m.working.Lock()
	defer m.working.Unlock()
	m.queue.forget(m.handedOver)
	m.handedOver = 0
	for m.deliver(ctx, time.Now()) {
	}
}

// deliver sends one batch, if there is one, and reports whether it did. After a failure it
// pauses, longer each time.
func (m *Manager) deliver(ctx context.Context, t time.Time) bool {
	b, ok := m.queue.take(t, m.config.Gateway)
	if !ok {
		return false
	}
	err := notify.Notices(ctx, m.config.URL, t, m.config.Secret, b)
	if err != nil && ctx.Err() != nil { // cut off, which is no failure; the next process repeats it
		return false
	}
	m.queue.delivered(b, err)
	m.setResult("deliver login notices", err)
	if err != nil {
		m.backoff = min(max(2*m.backoff, retryMin), retryMax)
		m.next = t.Add(m.backoff)
		return false
	}
	m.backoff, m.next = 0, t.Add(batchInterval)
	return true
}

// refresh reads an MMDB file again if it has changed.
func (m *Manager) refresh(setting string, d *geoip.Database) {
	if d != nil {
		m.setResult("read "+setting, d.Refresh())
	}
}

// setResult logs the result of an operation if it differs from the one before.
func (m *Manager) setResult(what string, err error) {
	switch {
	case err != nil && !m.failures[what]:
		m.config.Log.Warn("cannot "+what+": trying again", slog.String("event", "notice"), eventlog.Error(err))
	case err == nil && m.failures[what]:
		m.config.Log.Info(what+": works again", slog.String("event", "notice"))
	}
	m.failures[what] = err != nil
}
