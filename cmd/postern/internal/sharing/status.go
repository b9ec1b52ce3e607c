package sharing

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter/share"
)

// counts are for operators. They are guarded by the mu of Sharing.
type counts struct {
	sent, received, rejected monitor.Transfer
	failed                   map[engine.Reason]uint64 // commands
	lastError                string
	logged                   map[string]time.Time // when errors were logged: since the last success, or lately
}

// logEvery is how often errors of one kind are logged at most: somebody who can write to the
// engine could cause many.
const logEvery = time.Minute

// failed notes that a command of the engine has failed, and logs the first for each reason
// until one succeeds.
func (s *Sharing) failed(doing string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	reason := engine.ReasonOf(err)
	s.mu.Lock()
	s.counts.failed[reason]++
	s.counts.lastError = eventlog.Printable(doing+": "+err.Error(), eventlog.ErrorMax)
	first := s.counts.noteFirst(string(reason))
	s.mu.Unlock()
	if first {
		s.config.Log.Warn("the engine has failed", slog.String("event", "share"), slog.String("doing", doing),
			slog.String("reason", string(reason)), eventlog.Error(err))
	}
}

// reject notes that something in the engine cannot be used, and logs that once in logEvery for
// each kind.
func (s *Sharing) reject(what string, err error) {
	s.mu.Lock()
	s.counts.rejected.Batches++
	s.counts.lastError = eventlog.Printable(what+": "+err.Error(), eventlog.ErrorMax)
	first := s.counts.noteFirst(what)
	s.mu.Unlock()
	if first {
		s.config.Log.Warn("cannot use what is in the engine", slog.String("event", "share"), slog.String("what", what), eventlog.Error(err))
	}
}

// noteFirst reports whether no error of this kind is in c.logged, and adds it.
func (c *counts) noteFirst(kind string) bool {
	if !c.logged[kind].IsZero() || len(c.logged) >= 100 {
		return false
	}
	if c.logged == nil {
		c.logged = map[string]time.Time{}
	}
	c.logged[kind] = time.Now()
	return true
}

// sent notes that the engine has accepted a batch.
func (st *stream) sent(records int) {
	s := st.Sharing
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.sent.Batches++
	s.counts.sent.Records += uint64(records)
	maps.DeleteFunc(s.counts.logged, func(_ string, at time.Time) bool { return time.Since(at) >= logEvery })
}

// received notes a batch of another gateway.
func (s *Sharing) received(b *share.Batch) {
	if b.Own {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.received.Batches++
	s.counts.received.Records += uint64(len(b.Records))
}

// Status returns what operators see at time t.
func (s *Sharing) Status(t time.Time) *monitor.Sharing {
	var lost uint64
	for _, st := range s.streams {
		st.mu.Lock()
		lost += st.sender.Lost()
		st.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, c := &s.presence, &s.counts
	m := &monitor.Sharing{
		Gateway: s.config.Gateway, Mode: p.mode, Since: p.since, Engine: s.config.Engine.Address(), GlobalPart: p.limits.Global,
		Sent: c.sent, Received: c.received, Rejected: c.rejected, Lost: monitor.Transfer{Records: lost}, Errors: map[string]uint64{}, LastError: c.lastError,
	}
	if !p.receipt.IsZero() {
		m.ReceiptAge = t.Sub(p.receipt).Seconds()
	}
	for _, reason := range engine.Reasons() {
		m.Errors[string(reason)] = c.failed[reason]
	}
	for _, one := range s.members.List() {
		member := monitor.Member{Name: one.Gateway, Version: one.Heartbeat.Version, Mode: monitor.SharingMode(one.Heartbeat.Mode),
			SeenAgo: max(t.Sub(one.Seen), 0).Seconds(), Leads: one.Heartbeat.Leads, Own: one.Own}
		if one.Own {
			member.Version, member.Mode, member.SeenAgo, member.Leads = s.config.Version, p.mode, 0, s.lease.leads
		}
		if member.Leads {
			m.Leader = member.Name
		}
		m.Members = append(m.Members, member)
	}
	if names := s.members.Conflicts(); len(names) > 0 {
		m.Warning = "two gateways have the name " + strings.Join(names, ", ") + ": set GATEWAY to another name at one of them"
	}
	return m
}
