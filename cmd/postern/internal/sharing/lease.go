package sharing

import (
	"bytes"
	"context"
	"time"
)

const (
	leaseTime  = 15 * time.Second // after which the lease of a gateway that has failed ends
	leaseRenew = 5 * time.Second  // between renewals
)

// lease is what this gateway knows of the lease, a key of the engine that one gateway sets at
// a time. That gateway is the leader: it notifies people and writes the snapshots. lease is
// guarded by the mu of Sharing, but for value, which does not change.
type lease struct {
	value      []byte    // of the key if this gateway has the lease
	held       bool      // this gateway has the lease
	asked      time.Time // when the engine last answered that
	leaderSeen time.Time // when a heartbeat of another gateway last said that it has the lease
	leads      bool      // this gateway notifies people: it has the lease, or nobody is known to have it
}

// renewLease takes the lease if no gateway has it, and renews it every leaseRenew if this
// gateway has it. Its error is one of the engine.
func (s *Sharing) renewLease(ctx context.Context) error {
	now, name := time.Now(), s.config.Keys.Name("lease")
	s.mu.Lock()
	held, since := s.lease.held, now.Sub(s.lease.asked)
	s.mu.Unlock()
	if held && since < leaseRenew {
		return nil
	}
	held, err := s.ownsLease(ctx) // a call that failed may have been executed
	if err == nil && held {
		held, err = s.config.Engine.SetXX(ctx, name, s.lease.value, leaseTime)
	}
	if err == nil && !held {
		held, err = s.config.Engine.SetNX(ctx, name, s.lease.value, leaseTime)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.lease.held, s.lease.asked = held, now
	case since >= leaseTime:
		s.lease.held = false
	}
	return err
}

// ownsLease asks the engine whether this gateway has the lease.
func (s *Sharing) ownsLease(ctx context.Context) (bool, error) {
	value, err := s.config.Engine.Get(ctx, s.config.Keys.Name("lease"))
	return bytes.Equal(value, s.lease.value), err
}

// isLed reports whether another gateway has sent a heartbeat with the lease within leaseTime.
// If none has, each gateway leads: otherwise a program that sets the key in the engine could
// prevent all notifications. s.mu must be held.
func (s *Sharing) isLed(t time.Time) bool {
	for _, m := range s.members.List() {
		if m.Heartbeat.Leads && !m.Own {
			s.lease.leaderSeen = latest(s.lease.leaderSeen, m.Seen)
		}
	}
	return t.Sub(latest(s.lease.leaderSeen, s.presence.since)) < leaseTime
}
