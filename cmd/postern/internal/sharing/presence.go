package sharing

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/limiter"
	"postern/limiter/share"
)

const (
	demandBeats = 10                        // heartbeats over which the demand is smoothed
	beatEvery   = time.Second               // between heartbeats
	epochTime   = 10 * 365 * 24 * time.Hour // after which the engine drops the epoch, as if it had lost its data
)

// presence is what this gateway is among the others. It is guarded by the mu of Sharing.
type presence struct {
	started  time.Time
	mode     monitor.SharingMode
	since    time.Time // of mode
	receipt  time.Time // when the last own batch was read back
	gateways int       // how many count together; while alone, as before
	limits   limiter.Sharing

	epoch    []byte
	lost     time.Time     // when another one was found
	ahead    time.Duration // of the clock of the engine, compared with the one here
	measured bool          // ahead is known

	known, strangers        uint64  // logins until the last heartbeat
	knownRate, strangerRate float64 // logins a second, smoothed
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
			case <-s.recheck:
				s.decideMode(time.Now())
			}
		}
	}
}

// publishHeartbeat sends a heartbeat, with the demand of this gateway for global tokens.
func (s *Sharing) publishHeartbeat(t time.Time) {
	known, strangers := s.config.Limiter.Entered()
	s.mu.Lock()
	p := &s.presence
	smooth := func(rate *float64, n uint64) { *rate += (float64(n)/beatEvery.Seconds() - *rate) / demandBeats }
	smooth(&p.knownRate, known-p.known)
	smooth(&p.strangerRate, strangers-p.strangers)
	record := s.members.Announce(t, share.Heartbeat{
		Known: p.knownRate, Strangers: p.strangerRate,
		Version: s.config.Version, Mode: string(p.mode), Since: p.started, Leads: s.lease.held,
	})
	p.known, p.strangers = known, strangers
	format := s.members.Format()
	since := s.reading.awaited[share.Denials]
	s.mu.Unlock()
	for _, st := range s.streams {
		st.setFormat(format)
	}
	s.streams[share.Known].publish(t, record)
	if !since.IsZero() && t.Sub(since) >= beatEvery { // the last batch may be lost: the next one shows that
		s.streams[share.Denials].publish(t, record)
	}
}

// askEngine reads the clock and the epoch of the engine and renews the lease.
func (s *Sharing) askEngine(ctx context.Context) error {
	if err := s.measureClock(ctx, true); err != nil {
		return err
	}
	if err := s.checkEpoch(ctx); err != nil {
		return err
	}
	return s.renewLease(ctx)
}

// measureClock measures how far the clock of the engine is ahead. Without again it does so
// only until it has succeeded once.
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

// checkEpoch detects that the engine has lost its data: its epoch, a random text, is missing
// or another gateway has set a new one. Then the streams are read from their beginning, and
// each gateway publishes all its snapshots.
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
	p, now := &s.presence, time.Now()
	lost := p.epoch != nil && !bytes.Equal(p.epoch, epoch)
	if lost && now.Sub(p.lost) < repairEvery {
		s.mu.Unlock()
		return nil // later: it costs much, and somebody may change the epoch all the time
	}
	p.epoch = epoch
	if lost {
		p.lost, s.reading.restart = now, true
	}
	s.mu.Unlock()
	if lost {
		s.snapshots.publishAllSoon()
		s.config.Log.Warn("the engine has lost what gateways have shared: it is sent again", slog.String("event", "share"))
	}
	return nil
}
