package sharing

import (
	"encoding/json"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/limiter"
	"postern/limiter/share"
)

// exported is what a process hands over to the next one of the same gateway.
type exported struct {
	Senders   [share.Streams][]byte
	Receiver  []byte
	Members   []byte
	Positions [share.Streams]engine.ID
	Merged    bool
	Epoch     []byte
	Lease     []byte
	HasLease  bool
	Gateways  int
	Ahead     time.Duration
}

// Export returns at time t what the next process of this gateway needs to go on. Run must
// have returned with ErrHandOver, and [limiter.Limiter.Export] must have been called. If
// that process fails, call Resume.
func (s *Sharing) Export(t time.Time) ([]byte, error) {
	var x exported
	for i, st := range s.streams {
		st.mu.Lock()
		st.collect(t)
		x.Senders[i] = st.sender.Export(t)
		st.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.Receiver, x.Members = s.receiver.Export(t), s.members.Export(t)
	x.Positions, x.Merged = s.reading.positions, s.reading.merged
	x.Epoch, x.Gateways, x.Ahead = s.presence.epoch, s.presence.gateways, s.presence.ahead
	x.Lease, x.HasLease = s.lease.value, s.lease.held
	return json.Marshal(x)
}

// takeOver goes on from what another process has exported.
func (s *Sharing) takeOver(t time.Time, data []byte) error {
	var x exported
	if err := json.Unmarshal(data, &x); err != nil {
		return err
	}
	for i, st := range s.streams {
		if err := st.sender.Import(t, x.Senders[i]); err != nil {
			return err
		}
		st.again = true
	}
	if err := s.receiver.Import(t, x.Receiver); err != nil {
		return err
	}
	if err := s.members.Import(t, x.Members); err != nil {
		return err
	}
	s.reading.positions, s.reading.merged = x.Positions, x.Merged
	p := &s.presence
	s.lease.value, s.lease.held = x.Lease, x.HasLease
	p.epoch, p.gateways, p.ahead = x.Epoch, min(max(x.Gateways, 1), gatewaysMax), x.Ahead
	return nil
}

// Resume records again what this process does: the next one has failed. What it has done since
// Export is in no record, so the other gateways are to read its snapshots. Run must be called
// again.
func (s *Sharing) Resume() {
	denials, known := s.config.Limiter.ShareFeeds()
	for i, feed := range [share.Streams]*limiter.Feed{share.Denials: denials, share.Known: known} {
		st := s.streams[i]
		st.mu.Lock()
		st.feed.Close()
		st.feed = feed
		st.mu.Unlock()
	}
	s.snapshots.publishLimiterSoon()
}
