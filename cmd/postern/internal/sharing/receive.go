package sharing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter/share"
)

// readWait is how long a read waits for the first batch.
const readWait = time.Second

// readPace is the pause after a read. Otherwise each batch would wake every gateway, which
// with some 25 of them is more than an engine can do.
const readPace = 50 * time.Millisecond

// memberTime is how old a heartbeat may be to count.
const memberTime = time.Minute

// reading is how far the streams are read. It is guarded by the mu of Sharing.
type reading struct {
	merged    bool      // the snapshots are read
	joined    time.Time // when all that came after them was read, too; zero before
	restart   bool      // the engine has lost everything, so positions mean nothing
	positions [share.Streams]engine.ID
	answered  time.Time // when the engine last answered a read
	gap       bool      // batches were lost
	repaired  time.Time
	entries   [share.Streams]int       // read so far
	awaited   [share.Streams]time.Time // since when an own batch is to be read back; zero if none is
	receipts  []receipt                // the oldest first
	asked     map[string]time.Time     // the gateways that were asked for what was lost of them
}

// receipt is own denials that were read back from the engine.
type receipt struct {
	at     time.Time
	events []byte
}

// acknowledgeAfter is how long own denials remain unacknowledged after their receipt. Each
// gateway uses its share of what is left in a bucket. One with faster backends would use one
// share after the other while the attempts of a slower gateway are still under way, and both
// would spend the same tokens. Within this time, the other attempts are usually answered and
// their batches read. Users do not notice: after a denial they wait as long (see limiter).
const acknowledgeAfter = 2 * time.Second

// read reads all streams until ctx ends.
func (s *Sharing) read(ctx context.Context) {
	backoff := retry{}
	for {
		more, err := s.readNext(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			backoff = retry{}
			if more || pause(ctx, readPace) {
				continue
			}
			return
		}
		s.failed("read from the engine", err)
		if !pause(ctx, backoff.next()) {
			return
		}
	}
}

// readNext joins, or handles the next batches. more reports whether there are others. Its
// error is one of the engine.
func (s *Sharing) readNext(ctx context.Context) (more bool, err error) {
	now := time.Now()
	s.mu.Lock()
	r := &s.reading
	if r.restart {
		r.restart, r.positions = false, [share.Streams]engine.ID{}
	}
	begun := r.merged
	repair := r.gap && now.Sub(r.repaired) >= repairEvery
	if repair {
		r.gap, r.repaired = false, now
	}
	var after [share.Streams]engine.Position
	for i := range after {
		after[i] = engine.Position{Key: s.streams[i].key, After: r.positions[i]}
	}
	s.mu.Unlock()
	switch {
	case !begun:
		return true, s.join(ctx)
	case repair:
		return true, s.repair(ctx)
	}
	s.acknowledge(now)
	entries, err := s.config.Engine.Read(ctx, after[:], readWait)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		s.handle(time.Now(), e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.answered = time.Now()
	more = len(entries) >= joinedBelow
	if !more && r.joined.IsZero() {
		r.joined = r.answered
		close(s.joined)
	}
	if p := &s.presence; !r.joined.IsZero() && p.mode != monitor.Shared && !p.receipt.IsZero() {
		signal(s.recheck)
	}
	return more, nil
}

// acknowledge acknowledges the own denials that were read back acknowledgeAfter before t or
// earlier.
func (s *Sharing) acknowledge(t time.Time) {
	s.mu.Lock()
	var due []receipt
	r := &s.reading
	for len(r.receipts) > 0 && t.Sub(r.receipts[0].at) >= acknowledgeAfter {
		due, r.receipts = append(due, r.receipts[0]), r.receipts[1:]
	}
	s.mu.Unlock()
	for _, one := range due {
		s.config.Limiter.Acknowledge(one.events)
	}
}

// joinedBelow is how many batches a read returns at least if there are more.
const joinedBelow = 256

// handle applies one batch, read at time t.
func (s *Sharing) handle(t time.Time, e engine.Entry) {
	appended := e.ID.Time()
	age := max(s.Clock(t).Sub(appended), 0)
	s.mu.Lock()
	b, err := s.receiver.Open(t, share.Entry{Stream: share.Stream(e.Stream), Appended: appended, Age: age, Data: e.Data})
	r := &s.reading
	r.positions[e.Stream] = e.ID
	r.entries[e.Stream]++
	r.gap = r.gap || err == nil && b.Gap
	if err == nil && b.Own {
		s.presence.receipt, r.awaited[e.Stream] = t, time.Time{}
	}
	s.mu.Unlock()
	if err == nil && b.Gap {
		s.lost(t, &b)
	}
	if err != nil {
		if !errors.Is(err, share.ErrDuplicate) { // a call that failed may have been carried out
			s.reject("a batch in the engine", err)
		}
		return
	}
	s.received(&b)
	for _, record := range b.Records {
		if err := s.apply(t, &b, &record); err != nil {
			s.reject(fmt.Sprintf("a record of gateway %s", b.Gateway), err)
		}
	}
}

// lost is called when batches before b were lost, at the sender or in the engine. Perhaps only
// the sender knows what was in them.
func (s *Sharing) lost(t time.Time, b *share.Batch) {
	if b.Own {
		s.lostOwn(t)
		return
	}
	s.mu.Lock()
	ask := t.Sub(s.reading.asked[b.Gateway]) >= repairEvery
	if ask {
		s.reading.asked[b.Gateway] = t
	}
	s.mu.Unlock()
	if ask {
		s.Publish(t, share.RecordResend, []byte(b.Gateway))
	}
}

// lostOwn is lost for own batches. They will never be acknowledged.
func (s *Sharing) lostOwn(t time.Time) {
	s.snapshots.publishLimiterSoon()
	s.mu.Lock()
	s.reading.receipts = nil
	s.mu.Unlock()
	s.setLimits(t, true)
}

// apply applies one record, read at time t.
func (s *Sharing) apply(t time.Time, b *share.Batch, r *share.Record) error {
	made := t.Add(-r.Age)
	switch {
	case r.Type == share.RecordHeartbeat:
		h, err := share.ParseHeartbeat(r.Data)
		if err != nil || r.Age > memberTime {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.members.Heartbeat(made, b.Gateway, b.Boot, h)
		return nil
	case r.Type == share.RecordEvents && b.Own && b.Stream == share.Denials:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reading.receipts = append(s.reading.receipts, receipt{t, r.Data})
		return nil
	case b.Own:
		return nil
	case r.Type == share.RecordEvents:
		return s.config.Limiter.ApplyShared(made, r.Data)
	case r.Type == share.RecordSnapshot:
		return s.snapshots.readSoon(r.Data)
	case r.Type == share.RecordResend:
		if string(r.Data) == s.config.Gateway {
			s.snapshots.publishLimiterSoon()
		}
		return nil
	}
	handle := s.config.Handlers[r.Type]
	if handle == nil {
		return nil
	}
	err := handle(made, r.Data)
	if err != nil { // perhaps it is about something in a record that was lost
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reading.gap = true
	}
	return err
}
