package sharing

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"time"

	"postern/cmd/postern/internal/atomicfile"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter"
)

// gatewaysMax bounds the number of gateways that is read from a file or another process.
const gatewaysMax = 1 << 10

// decideMode decides at time t how this gateway counts and whether it notifies people, and
// passes changes to the limiter and the functions of the Config.
func (s *Sharing) decideMode(t time.Time) {
	s.mu.Lock()
	p, former, formerGateways := &s.presence, s.presence.mode, s.presence.gateways
	part := 0.
	switch {
	case s.areReceiptsInTime(t):
		p.mode = monitor.Shared
		p.gateways, part = s.members.Count(), s.members.Global(t)
	case s.mayJoin(t) && (former == "" || former == monitor.Joining):
		p.mode = monitor.Joining
	default:
		p.mode = monitor.Alone
	}
	if p.mode != monitor.Shared {
		part = 1 / float64(p.gateways)
	}
	if p.mode != former {
		p.since = t
	}
	limits := limiter.Sharing{Gateways: p.gateways, Alone: p.mode != monitor.Shared, Global: max(math.Floor(part*100), 1) / 100}
	changed := limits != p.limits
	p.limits = limits
	lead := p.mode == monitor.Alone || p.mode == monitor.Shared && (s.lease.held || !s.isLed(t))
	leadChanged := lead != s.lease.leads || former == ""
	s.lease.leads = lead
	mode, gateways := p.mode, p.gateways
	s.mu.Unlock()

	if changed {
		s.setLimits(t, false)
	}
	if mode != former {
		s.config.Alone(t, mode == monitor.Alone)
		s.logMode(former, mode, gateways)
	}
	if leadChanged {
		s.config.Lead(lead)
	}
	if gateways != formerGateways {
		s.saveGateways(gateways)
	}
}

// joinMax is how long the mode of a gateway may be joining. Then it is alone, until it has joined.
const joinMax = 30 * time.Second

// areReceiptsInTime reports whether own batches of both streams are read back in time at time t. s.mu must be held.
func (s *Sharing) areReceiptsInTime(t time.Time) bool {
	for _, since := range s.reading.awaited {
		if !since.IsZero() && t.Sub(since) > aloneAfter {
			return false
		}
	}
	return !s.reading.joined.IsZero() && t.Sub(s.presence.receipt) <= aloneAfter
}

// mayJoin reports whether this gateway may still be joining at time t: it reads what there is, or
// waits for its first own batch. s.mu must be held.
func (s *Sharing) mayJoin(t time.Time) bool {
	r, started := &s.reading, s.presence.started
	progress := latest(started, r.answered)
	if !r.joined.IsZero() {
		progress = latest(started, r.joined)
	}
	return t.Sub(progress) <= aloneAfter && t.Sub(started) <= joinMax
}

// setLimits has the limiter count as the mode says. If forget is set, it forgets which own denials
// are unacknowledged.
func (s *Sharing) setLimits(t time.Time, forget bool) {
	s.limiting.Lock()
	defer s.limiting.Unlock()
	s.mu.Lock()
	limits := s.presence.limits
	s.mu.Unlock()
	if forget && !limits.Alone {
		other := limits
		other.Alone = true
		s.config.Limiter.SetSharing(t, other)
	}
	s.config.Limiter.SetSharing(t, limits)
}

// logMode logs that the mode has changed.
func (s *Sharing) logMode(former, mode monitor.SharingMode, gateways int) {
	s.mu.Lock()
	why := s.counts.lastError
	s.mu.Unlock()
	attrs := []any{slog.String("event", "share"), slog.String("mode", string(mode)), slog.Int("gateways", gateways)}
	switch {
	case mode == monitor.Alone:
		s.config.Log.Warn("counting alone: the engine cannot be used", append(attrs, slog.String("error", eventlog.Printable(why, eventlog.ErrorMax)))...)
	case former != "":
		s.config.Log.Info("counting together with other gateways", attrs...)
	}
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// savedState is the content of Config.Path.
type savedState struct {
	Gateways int `json:"gateways"`
}

// readGateways returns how many gateways there were before the restart: the limits of one
// that starts without the engine depend on it.
func (s *Sharing) readGateways() int {
	if s.config.Path == "" {
		return 1
	}
	k := savedState{1}
	data, err := os.ReadFile(s.config.Path)
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.config.Log.Error("cannot read how many gateways there were: counting as the only one until the others are seen",
			slog.String("event", "state"), slog.String("file", s.config.Path), eventlog.Error(err))
	}
	return min(max(k.Gateways, 1), gatewaysMax)
}

// saveGateways saves how many gateways there are.
func (s *Sharing) saveGateways(n int) {
	if s.config.Path == "" {
		return
	}
	data, err := json.Marshal(savedState{n})
	if err == nil {
		err = atomicfile.Write(s.config.Path, data, 0o600)
	}
	if err != nil {
		s.config.Log.Error("cannot save how many gateways there are", slog.String("event", "state"), eventlog.Error(err))
	}
}
