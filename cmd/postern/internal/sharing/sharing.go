// Package sharing lets the gateways of a site count together through an engine, a
// Valkey or Redis server that they all reach. Each gateway decides alone and at once;
// what it decides from includes what the others have told it.
//
// What is told, and what a limiter makes of it, is defined by package limiter. How it
// is encoded and sealed is in limiter/share, and the connection to the engine in
// package engine. This package moves records between the three, and has all that
// takes time:
//
//	sharing.go   what others may tell each other through this package
//	send.go      own records to the engine, one goroutine a stream
//	receive.go   the records of all gateways from the engine
//	join.go      what was shared before: snapshots, then the streams from there on
//	presence.go  heartbeats, the members, the mode, the lease of the leader
//	snapshot.go  what the leader writes for those who join
//	status.go    what operators see
//	export.go    the hand-over to the next process at an upgrade
//
// # When the engine fails
//
// No login waits for the engine. A gateway that has not read back an own batch for
// aloneAfter is alone: strangers get its part of each bucket, see
// [limiter.Sharing], and it notifies people by itself. Its records wait, within the
// bounds of a [share.Sender]. Once the engine answers again, they are sent with their
// ages, and what was missed is read.
package sharing

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/limiter/share"
)

// aloneAfter is how long no own batch may have come back before a gateway is alone.
const aloneAfter = 5 * time.Second

// Config says what a Sharing connects. All but Handlers and Snapshots is required.
type Config struct {
	Gateway string // name of this gateway
	Version string // of this program
	Engine  *engine.Client
	Keys    *share.Keys
	Limiter *limiter.Limiter
	Log     *eventlog.Log

	// Handlers are called with the records of other gateways that this package does not
	// handle itself, one at a time. t is when the record was made.
	Handlers map[share.RecordType]func(t time.Time, data []byte) error

	// Snapshots are what a joining gateway reads beside buckets and known users.
	Snapshots []Snapshot

	// Lead is called when this gateway begins or ceases to be the one that notifies people,
	// and Alone when it begins or ceases to count alone, also at the start.
	Lead  func(bool)
	Alone func(time.Time, bool)

	// Path is the file that keeps how many gateways there were; empty if there is none.
	Path string
}

// ErrHandOver is the cause that the context of Run must have ended with for a hand-over:
// then another process goes on with what waits.
var ErrHandOver = errors.New("another process is taking over")

// A Sharing is one process of a gateway that counts together with other gateways. Its
// methods are safe for concurrent use.
type Sharing struct {
	config    Config
	boot      share.Boot
	streams   [share.Streams]*stream
	snapshots snapshots
	joined    chan struct{} // wakes beat: perhaps this gateway counts together with others now

	mu       sync.Mutex
	receiver *share.Receiver
	members  *share.Members
	presence presence
	reading  reading
	counts   counts
}

// New returns a Sharing that goes on with what another process of this gateway has
// exported, or joins if former is nil. From then on the limiter counts as one of several.
func New(t time.Time, c Config, former []byte) (*Sharing, error) {
	s := &Sharing{config: c, boot: newBoot(), joined: make(chan struct{}, 1)}
	s.receiver, s.members = share.NewReceiver(c.Keys, c.Gateway, s.boot), share.NewMembers(c.Gateway, s.boot)
	s.presence.started, s.presence.gateways = t, s.readGateways()
	s.presence.lease = []byte(c.Gateway + " " + s.boot.String())
	s.reading.asked = map[string]time.Time{}
	s.counts.failed = map[engine.Reason]uint64{}
	s.snapshots.init(s)
	denials, known := c.Limiter.ShareFeeds()
	s.streams[share.Denials] = newStream(s, share.Denials, denials)
	s.streams[share.Known] = newStream(s, share.Known, known)
	if former != nil {
		if err := s.takeOver(t, former); err != nil {
			return nil, err
		}
	}
	s.decideMode(t)
	return s, nil
}

// newBoot returns the identity of this process.
func newBoot() (b share.Boot) {
	rand.Read(b[:])
	return b
}

// Run shares until ctx ends. Then it sends what waits, for a second at most, unless
// another process does that. It can be called again after it has returned.
func (s *Sharing) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, st := range s.streams {
		all.Go(func() { st.run(ctx) })
	}
	all.Go(func() { s.read(ctx) })
	all.Go(func() { s.beat(ctx) })
	all.Go(func() { s.snapshots.run(ctx) })
	all.Wait()
	if !errors.Is(context.Cause(ctx), ErrHandOver) {
		s.leave()
	}
}

// leave sends what waits, and gives up the lease.
func (s *Sharing) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	for _, st := range s.streams {
		for more := true; more; {
			var err error
			if more, err = st.send(ctx); err != nil {
				return
			}
		}
	}
	if leads, err := s.hasLease(ctx); err == nil && leads {
		_ = s.config.Engine.Del(ctx, s.config.Keys.Name("lease")) // it ends by itself as well
	}
}

// leaveTime bounds what a gateway does at its end.
const leaveTime = time.Second

// Publish gives a record to all other gateways, made at time t. data must not be changed
// afterwards.
func (s *Sharing) Publish(t time.Time, kind share.RecordType, data []byte) {
	s.streams[share.Known].publish(t, share.Record{Type: kind, Data: data})
}

// pause waits for d, or until ctx ends. It reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
