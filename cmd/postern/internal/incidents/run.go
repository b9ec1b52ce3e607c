package incidents

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"postern/limiter/share"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

const (
	tickInterval = time.Second     // of the detector, which has a new state every 10 s
	pollInterval = 5 * time.Second // of the status page and the receivers, without a change
	saveInterval = 5 * time.Minute // of the detector's snapshot
)

// Run ticks the detector, delivers alerts and writes the status page until ctx
// ends; then it saves its state, unless ctx has ended with the cause ErrHandOver.
// Each receiver and the status page have their own goroutine, so a slow receiver
// delays neither the detector nor the status page. Run can be called again after it
// has returned; then it goes on as if it had not.
func (m *Manager) Run(ctx context.Context) {
	m.setRunning(true)
	defer m.setRunning(false)
	if err := m.store.open(); err != nil {
		m.setResult(time.Now(), "opening the state directory", err)
	}
	if m.config.Tighten != nil && m.State().Tighten {
		m.config.Tighten(true) // after a hand-over, the next state is up to 10 s away
	}
	var all sync.WaitGroup
	all.Go(func() { runEvery(ctx, tickInterval, nil, m.tick) })
	all.Go(func() { runEvery(ctx, pollInterval, m.changed, m.publish) })
	for _, to := range m.receivers {
		all.Go(func() {
			runEvery(ctx, pollInterval, to.changed, func(t time.Time) { m.deliver(ctx, t, to) })
		})
	}
	all.Wait()
	if !handingOver(ctx) {
		m.save(time.Now())
	}
}

// handingOver reports whether ctx has ended for a hand-over.
func handingOver(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrHandOver) }

// setRunning sets whether Run is under way.
func (m *Manager) setRunning(running bool) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.running = running
	m.handedOver = m.handedOver && !running
}

// runEvery calls f at once, at each interval and after each signal, until ctx
// ends.
func runEvery(ctx context.Context, interval time.Duration, changed <-chan struct{}, f func(time.Time)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	f(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-changed:
		}
		f(time.Now())
	}
}

// signalChange wakes the goroutines of the status page and the receivers.
func (m *Manager) signalChange() {
	signal(m.changed)
	for _, to := range m.receivers {
		signal(to.changed)
	}
}

// signal sends without blocking. A signal that is already pending is enough.
func signal(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// tick advances the detector to time t and handles its new state.
func (m *Manager) tick(t time.Time) {
	r := m.watch.Tick(t)
	m.addHistory(t, r.Minutes, r.Hours)
	m.shareTick()
	if !r.Ticked {
		return
	}
	m.mu.Lock()
	m.state = r.State
	due := t.Sub(m.saved) >= saveInterval
	if due {
		m.saved = t
	}
	m.mu.Unlock()
	if m.config.Tighten != nil {
		m.config.Tighten(r.State.Tighten)
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	m.observe(t, r.State)
	if due {
		m.saveSnapshot(t)
		m.store.deleteExpired(t)
	}
}

// addHistory adds completed minutes and hours to the history and saves them.
func (m *Manager) addHistory(t time.Time, minutes []watch.Minute, hours []watch.Hour) {
	var lines []historyLine
	for _, minute := range minutes {
		m.history.AddMinute(minute)
		lines = append(lines, historyLine{Minute: &minute})
	}
	for _, hour := range hours {
		m.history.AddHour(hour)
		lines = append(lines, historyLine{Hour: &hour})
	}
	if len(lines) > 0 {
		m.setResult(t, "saving the history", appendLines(m.store, historyFile(t), false, lines...))
	}
}

// saveEvents saves events of this gateway, then logs and shares them and wakes the
// receivers. The caller holds m.writing.
func (m *Manager) saveEvents(t time.Time, events []incident.Event) {
	if len(events) == 0 {
		return
	}
	m.setResult(t, "saving incidents", appendLines(m.store, incidentsFile, true, events...))
	for _, e := range events {
		m.logEvent(t, e)
		m.share(share.RecordIncident, e)
	}
	m.signalChange()
}

// logEvent logs an event: as a warning with the alert's summary when an incident
// is detected, else as information.
func (m *Manager) logEvent(t time.Time, e incident.Event) {
	level, text := slog.LevelInfo, "incident "+string(e.Kind)
	if i, found := m.incidents.Find(e.Incident); found && e.To == incident.Detected {
		level, text = slog.LevelWarn, m.summary(t, i, i.Class)
		m.countIncident(i.Class)
	}
	m.config.Log.Log(context.Background(), level, text,
		slog.String("event", "incident"), slog.String("incident", e.Incident), slog.String("kind", string(e.Kind)),
		slog.String("phase", string(e.To)), slog.String("class", string(e.Class)), slog.String("by", e.By), slog.String("note", e.Text))
}

// Do executes an operator's command at time t and saves its events. The error
// says why the command is refused.
func (m *Manager) Do(t time.Time, c incident.Command) ([]incident.Event, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.handedOver {
		return nil, errHandedOver
	}
	events, err := m.incidents.Do(t, c)
	if err != nil {
		return nil, err
	}
	m.saveEvents(t, events)
	if c.Action == incident.ActFalseAlarm {
		m.watch.Relearn(t)
	}
	return events, nil
}

// saveSnapshot saves what the detector has learned. The caller holds m.writing.
func (m *Manager) saveSnapshot(t time.Time) {
	m.setResult(t, "saving the detector snapshot", m.store.replace(SnapshotFile, m.watch.Snapshot(t)))
}

// save saves, at the end of Run, the current minute and hour and the snapshot.
func (m *Manager) save(t time.Time) {
	minute, hour := m.watch.Partial(t)
	m.addHistory(t, []watch.Minute{minute}, []watch.Hour{hour})
	m.writing.Lock()
	defer m.writing.Unlock()
	m.saveSnapshot(t)
}
