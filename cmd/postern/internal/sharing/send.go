package sharing

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/limiter"
	"postern/limiter/share"
)

// sendPace is the pause after a batch of a stream: a gateway sends no more than 20 a second of
// each, however many logins there are.
const sendPace = 50 * time.Millisecond

// The engine keeps about as many batches of each stream.
var lengths = [share.Streams]int{share.Denials: 1 << 14, share.Known: 1 << 16}

// Shortest and longest pause after the engine has failed, before it is varied.
const retryMin, retryMax = 100 * time.Millisecond, 5 * time.Second

// eventsMax bounds the events of one record.
const eventsMax = 8 << 10

// stream sends the records of one stream.
type stream struct {
	*Sharing
	kind  share.Stream
	key   string
	added chan struct{} // wakes run

	mu     sync.Mutex
	feed   *limiter.Feed
	sender *share.Sender
	again  bool // the batch of sender may have been sent before
}

func newStream(s *Sharing, kind share.Stream, feed *limiter.Feed) *stream {
	return &stream{
		Sharing: s, kind: kind, key: s.config.Keys.Name(kind.String()), added: make(chan struct{}, 1), feed: feed,
		sender: share.NewSender(s.config.Keys, s.config.Gateway, s.boot, kind),
	}
}

// publish adds a record to those that wait.
func (st *stream) publish(t time.Time, r share.Record) {
	st.mu.Lock()
	st.sender.Add(t, r)
	st.mu.Unlock()
	signal(st.added)
}

// signal sends without blocking. A signal that is pending is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run sends what there is until ctx ends.
func (st *stream) run(ctx context.Context) {
	signal(st.added) // for what a former process has left
	backoff := retry{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.feed.Ready():
		case <-st.added:
		}
		for more := true; more; {
			var err error
			more, err = st.send(ctx)
			wait := sendPace
			if err != nil {
				wait = backoff.next()
			} else {
				backoff = retry{}
			}
			if !pause(ctx, wait) {
				return
			}
		}
	}
}

// send sends one batch, if there is any. more reports whether to call it again.
func (st *stream) send(ctx context.Context) (more bool, err error) {
	now := time.Now()
	st.mu.Lock()
	st.collect(now) // whether or not the engine answers: their age counts from now on
	st.mu.Unlock()
	if err := st.measureClock(ctx, false); err != nil {
		return true, err
	}
	now = time.Now()
	clock := st.Clock(now)
	st.mu.Lock()
	waiting := st.sender.Waiting()
	batch, ok := st.sender.Next(now, clock)
	again := st.again
	st.again = ok
	st.mu.Unlock()
	if !ok {
		return false, nil
	}
	read := st.await(now, again)
	id, err := st.config.Engine.Add(ctx, st.key, batch, lengths[st.kind])
	if err != nil {
		st.failed("send to the engine", err)
		if engine.ReasonOf(err) == engine.Full {
			st.makeRoom(ctx)
		}
		return true, err
	}
	if id.Compare(read) <= 0 {
		st.readAgain()
	}
	st.mu.Lock()
	st.sender.Sent(id.Time())
	st.again = false
	after := st.sender.Waiting()
	st.mu.Unlock()
	st.sent(max(waiting-after, 0))
	return after > 0, nil
}

// await notes that a batch is sent at time t and is to be read back, unless it is sent again: then
// it may have been read already. It returns how far the stream is read.
func (st *stream) await(t time.Time, again bool) engine.ID {
	s := st.Sharing
	s.mu.Lock()
	defer s.mu.Unlock()
	if awaited := &s.reading.awaited[st.kind]; awaited.IsZero() && !again {
		*awaited = t
	}
	return s.reading.positions[st.kind]
}

// readAgain has the streams read from their beginning: a batch has got an ID that is not after
// one that was read before, so the stream is another one.
func (st *stream) readAgain() {
	s := st.Sharing
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading.restart = true
}

// collect adds the events of the limiter to the records that wait. st.mu must be held.
func (st *stream) collect(t time.Time) {
	for events := st.feed.Take(eventsMax); events != nil; events = st.feed.Take(eventsMax) {
		st.sender.Add(t, share.Record{Type: share.RecordEvents, Data: events})
	}
}

// makeRoom halves a stream, because the engine is full. That works when it takes nothing
// else.
func (st *stream) makeRoom(ctx context.Context) {
	if err := st.config.Engine.Trim(ctx, st.key, lengths[st.kind]/2); err != nil {
		st.failed("make room in the engine", err)
	}
}

// retry is the pause between tries.
type retry struct{ last time.Duration }

// next returns the next pause: each is twice as long as the one before, and varied, so that
// gateways do not try together.
func (r *retry) next() time.Duration {
	r.last = min(max(2*r.last, retryMin), retryMax)
	return r.last/2 + rand.N(r.last)
}

// waiting returns how many records the engine has not accepted.
func (st *stream) waiting() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.sender.Waiting()
}

// setFormat sets the format of the batches to come.
func (st *stream) setFormat(format uint8) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.sender.SetFormat(format)
}
