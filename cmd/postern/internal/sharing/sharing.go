// Package sharing lets the gateways of a site count together through an engine, a
// Valkey or Redis server that they all reach. Each gateway decides by itself and at once,
// from its own records and those that it has received from the others.
//
// Package limiter defines what is shared and what it does to a bucket, limiter/share how it
// is encoded and sealed, and package engine has the connections. This package moves records
// between the three, and has the goroutines, the clock and the I/O:
//
//	sharing.go   Config, New, Run, Publish
//	send.go      own records to the engine, one goroutine for each stream
//	receive.go   the records of all gateways from the engine
//	join.go      what was shared before: snapshots, then the streams from there on
//	snapshot.go  writes the snapshots, and publishes them
//	presence.go  heartbeats, the clock of the engine, and whether it has lost its data
//	lease.go     which gateway is the leader
//	mode.go      whether a gateway counts together with others, and as one of how many
//	status.go    what operators see
//	export.go    the hand-over to the next process at an upgrade
//
// # The way of one denial
//
// A client of gateway A has a wrong password:
//
//  1. Ticket.Settle spends a token in the buckets of A and records an event in the feed of
//     denials (limiter/settle.go, publish.go, feed.go). The client has its answer.
//  2. stream.run waits for the feed. stream.send takes the events as a record, has it sealed in
//     a batch (limiter/share/sender.go) and appends it to the stream denials (engine/client.go).
//  3. read at gateway B gets the entry, handle opens it (limiter/share/receiver.go), and apply
//     calls Limiter.ApplyShared with the time of the denial (limiter/apply.go). It spends the
//     token in the buckets of B.
//  4. A reads the same batch: its receipt. acknowledge calls Limiter.Acknowledge 2 s later.
//     Until then A may not use all that is left in these buckets (limiter/rest.go).
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
	"fmt"
	"sync"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/limiter/share"
)

// aloneAfter is how long after its last receipt a gateway is alone.
const aloneAfter = 5 * time.Second

// Config says what a Sharing connects. All but Handlers, Snapshots and Path are required.
type Config struct {
	Gateway string // name of this gateway
	Version string // of this program
	Engine  *engine.Client
	Keys    *share.Keys
	Limiter *limiter.Limiter
	Log     *eventlog.Log

	// Handlers are called with the records of other gateways that this package does not
	// handle itself, one at a time. t is when the record was made. An error is logged and
	// counted; then the snapshots are read again, for a record before it may be missing.
	Handlers map[share.RecordType]func(t time.Time, data []byte) error

	// Snapshots are what a joining gateway reads beside buckets and known users.
	Snapshots []Snapshot

	// Lead is called when this gateway becomes the one that notifies people or is so no longer,
	// and Alone when its mode becomes alone or is so no longer. Both are called at the start.
	Lead  func(bool)
	Alone func(time.Time, bool)

	// Path is the file with the number of gateways, for the next start; empty: none.
	Path string
}

// ErrHandOver is the cause with which the context of Run ends before a hand-over: another
// process sends the records that wait.
var ErrHandOver = errors.New("another process is taking over")

// A Sharing is one process of a gateway that counts together with other gateways. Its
// methods are safe for concurrent use.
type Sharing struct {
	config    Config
	boot      share.Boot
	streams   [share.Streams]*stream
	snapshots snapshots
	joined    chan struct{} // closed once what others have shared is read
	recheck   chan struct{} // wakes beat: perhaps this gateway counts together with others now

	limiting sync.Mutex // so that the latest limits are set last

	mu       sync.Mutex
	receiver *share.Receiver
	members  *share.Members
	presence presence
	lease    lease
	reading  reading
	counts   counts
}

// New returns a Sharing that continues from the Export of the former process of this
// gateway, or joins if former is nil. From then on the limiter counts as one of several. The
// error is about former.
func New(t time.Time, c Config, former []byte) (*Sharing, error) {
	s := &Sharing{config: c, boot: newBoot(), joined: make(chan struct{}), recheck: make(chan struct{}, 1)}
	s.receiver, s.members = share.NewReceiver(c.Keys, c.Gateway, s.boot), share.NewMembers(c.Gateway, s.boot)
	s.presence.started, s.presence.gateways = t, s.readGateways()
	s.lease.value = []byte(c.Gateway + " " + s.boot.String())
	s.reading.asked = map[string]time.Time{}
	s.counts.failed = map[engine.Reason]uint64{}
	s.snapshots.init(s)
	denials, known := c.Limiter.ShareFeeds()
	s.streams[share.Denials] = newStream(s, share.Denials, denials)
	s.streams[share.Known] = newStream(s, share.Known, known)
	if former != nil {
		if err := s.takeOver(t, former); err != nil {
			return nil, fmt.Errorf("take over what gateways share: %w", err)
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

// Run shares until ctx ends. Then it sends the records that wait, for a second at most, unless
// the cause is ErrHandOver. It does not close the engine. It can be called again after it has
// returned.
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

// leave sends the records that wait, and deletes the lease if this gateway has it.
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
	if held, err := s.ownsLease(ctx); err == nil && held {
		_ = s.config.Engine.Del(ctx, s.config.Keys.Name("lease")) // it ends by itself as well
	}
}

// leaveTime bounds leave.
const leaveTime = time.Second

// Publish queues a record for all other gateways, made at time t, and does not block. data
// must not be changed afterwards. If too many records wait, the oldest are lost.
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
