package sharing

import (
	"bytes"
	"context"
	"crypto/rand"
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
	"postern/limiter/share"
)

const (
	beatEvery  = time.Second      // between heartbeats
	leaseTime  = 15 * time.Second // how long a leader that has died is one
	leaseRenew = 5 * time.Second
	epochTime  = 30 * 24 * time.Hour
	maxKept    = 1 << 10 // gateways
)

// presence is what this gateway is among the others. It is guarded by the mu of Sharing,
// but for lease, which does not change.
type presence struct {
	started  time.Time
	mode     monitor.SharingMode
	since    time.Time     // of mode
	receipt  time.Time     // when the last own batch came back
	delay    time.Duration // of that batch
	gateways int           // how many count together; while alone, as before
	limits   limiter.Sharing

	lease   []byte    // the value of the lease of this gateway
	leads   bool      // it has the lease
	renewed time.Time // when it last asked for it
	led     time.Time // when another gateway last said that it has the lease
	leading bool      // this one notifies people

	epoch    []byte
	ahead    time.Duration // of the clock of the engine, compared with the one here
	measured bool          // ahead is known

	known, strangers uint64 // logins until the last heartbeat
}

// beat sends heartbeats and decides the mode, until ctx ends.
func (s *Sharing) beat(ctx context.Context) {
	for {
		s.publishHeartbeat(time.Now())
		if err := s.askEngine(ctx); err != nil && ctx.Err() == nil {
			s.failed("use the engine", err)
		}
		s.decideMode(time.Now())
		for next := time.After(beatEvery); next != nil; {
			select {
			case <-ctx.Done():
				return
			case <-next:
				next = nil
			case <-s.joined:
				s.decideMode(time.Now())
			}
		}
	}
}

// publishHeartbeat says that this gateway is there, and what it needs of the global bucket.
func (s *Sharing) publishHeartbeat(t time.Time) {
	known, strangers := s.config.Limiter.Entered()
	s.mu.Lock()
	p := &s.presence
	record := s.members.Announce(t, share.Heartbeat{
		Known: float64(known-p.known) / beatEvery.Seconds(), Strangers: float64(strangers-p.strangers) / beatEvery.Seconds(),
		Version: s.config.Version, Mode: string(p.mode), Since: p.started, Leads: p.leads,
	})
	p.known, p.strangers = known, strangers
	format := s.members.Format()
	s.mu.Unlock()
	for _, st := range s.streams {
		st.setFormat(format)
	}
	s.streams[share.Known].publish(t, record)
}

// askEngine does what needs the engine once a second: its clock, the epoch and the lease.
func (s *Sharing) askEngine(ctx context.Context) error {
	if err := s.measureClock(ctx, true); err != nil {
		return err
	}
	if err := s.checkEpoch(ctx); err != nil {
		return err
	}
	return s.renewLease(ctx)
}

// measureClock compares the clock of the engine with the one here. Unless again is set, once
// is enough.
func (s *Sharing) measureClock(ctx context.Context, again bool) error {
	s.mu.Lock()
	measured := s.presence.measured
	s.mu.Unlock()
	if measured && !again {
		return nil
	}
	begin := time.Now()
	at, err := s.config.Engine.Time(ctx)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presence.ahead, s.presence.measured = at.Sub(begin.Add(took/2)), true
	return nil
}

// Clock returns what the clock of the engine shows at time t of this gateway; t itself before
// the engine has answered.
func (s *Sharing) Clock(t time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.Add(s.presence.ahead)
}

// checkEpoch finds out whether the engine has lost everything: then its epoch is missing, or
// another gateway has set a new one. Then the streams are read from their beginning, and the
// leader writes all snapshots.
func (s *Sharing) checkEpoch(ctx context.Context) error {
	name := s.config.Keys.Name("epoch")
	epoch, err := s.config.Engine.Get(ctx, name)
	if err == nil && epoch == nil {
		epoch = []byte(rand.Text())
		var first bool
		if first, err = s.config.Engine.SetNX(ctx, name, epoch, epochTime); err == nil && !first {
			return nil // another gateway was first: it is read the next time
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	former := s.presence.epoch
	lost := former != nil && !bytes.Equal(former, epoch)
	s.presence.epoch = epoch
	s.reading.restart = s.reading.restart || lost
	s.mu.Unlock()
	if lost {
		s.snapshots.writeAll()
		s.config.Log.Warn("the engine has lost what gateways have shared: it is sent again", slog.String("event", "share"))
	}
	return nil
}

// renewLease asks for the lease, or renews it. Only one gateway has it.
func (s *Sharing) renewLease(ctx context.Context) error {
	now, name := time.Now(), s.config.Keys.Name("lease")
	s.mu.Lock()
	leads, due := s.presence.leads, now.Sub(s.presence.renewed)
	s.mu.Unlock()
	if leads && due < leaseRenew {
		return nil
	}
	leads, err := s.hasLease(ctx) // perhaps by a call that has failed
	if err == nil && leads {
		leads, err = s.config.Engine.SetXX(ctx, name, s.presence.lease, leaseTime)
	}
	if err == nil && !leads {
		leads, err = s.config.Engine.SetNX(ctx, name, s.presence.lease, leaseTime)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.presence
	switch {
	case err == nil:
		p.leads, p.renewed = leads, now
	case due >= leaseTime:
		p.leads = false
	}
	return err
}

// hasLease reports whether this gateway has the lease.
func (s *Sharing) hasLease(ctx context.Context) (bool, error) {
	value, err := s.config.Engine.Get(ctx, s.config.Keys.Name("lease"))
	return bytes.Equal(value, s.presence.lease), err
}

// decideMode decides at time t how this gateway counts, and whether it notifies people.
func (s *Sharing) decideMode(t time.Time) {
	s.mu.Lock()
	p, former, formerGateways := &s.presence, s.presence.mode, s.presence.gateways
	part := 0.
	switch {
	case s.reading.joined && t.Sub(p.receipt) <= aloneAfter:
		p.mode = monitor.Shared
		p.gateways, part = s.members.Count(), s.members.Global(t)
	case t.Sub(latest(p.started, s.reading.answered)) <= aloneAfter && (former == "" || former == monitor.Joining):
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
	limits := limiter.Sharing{Gateways: p.gateways, Alone: p.mode != monitor.Shared, Global: math.Floor(part*100) / 100}
	changed := limits != p.limits
	p.limits = limits
	lead := p.mode == monitor.Alone || p.mode == monitor.Shared && (p.leads || !s.isLed(t))
	leadChanged := lead != p.leading || former == ""
	p.leading = lead
	mode, gateways := p.mode, p.gateways
	s.mu.Unlock()

	if changed {
		s.config.Limiter.SetSharing(t, limits)
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

// isLed reports whether a gateway has said lately that it has the lease. If none has, each one
// leads: somebody who can write to the engine could take the lease, and people would not be
// notified. s.mu must be held.
func (s *Sharing) isLed(t time.Time) bool {
	for _, m := range s.members.List() {
		if m.Heartbeat.Leads && !m.Own {
			s.presence.led = latest(s.presence.led, m.Seen)
		}
	}
	return t.Sub(latest(s.presence.led, s.presence.since)) < leaseTime
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

// kept is what the file of a Sharing has.
type kept struct {
	Gateways int `json:"gateways"`
}

// readGateways returns how many gateways there were before the restart: the limits of one
// that starts without the engine depend on it.
func (s *Sharing) readGateways() int {
	if s.config.Path == "" {
		return 1
	}
	k := kept{1}
	data, err := os.ReadFile(s.config.Path)
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.config.Log.Error("cannot read how many gateways there were: counting as the only one until the others are seen",
			slog.String("event", "state"), slog.String("file", s.config.Path), eventlog.Error(err))
	}
	return min(max(k.Gateways, 1), maxKept)
}

// saveGateways saves how many gateways there are.
func (s *Sharing) saveGateways(n int) {
	if s.config.Path == "" {
		return
	}
	data, err := json.Marshal(kept{n})
	if err == nil {
		err = atomicfile.Write(s.config.Path, data, 0o600)
	}
	if err != nil {
		s.config.Log.Error("cannot save how many gateways there are", slog.String("event", "state"), eventlog.Error(err))
	}
}
