package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/view"
)

const (
	// liveEvery is the time between two views.
	liveEvery = time.Second
	// streamsMax is how many streams there are at most, and openStreamsMax how many of
	// those may have no detail: they need no token, and must not use up what operators need.
	streamsMax     = 64
	openStreamsMax = 48
	// streamQueue is how many events may wait for a slow reader before its stream is
	// ended.
	streamQueue = 4
	// eventTime is how long the writing of one event may take.
	eventTime = 5 * time.Second
	// endTime is how long the writing may go on once the stream has been ended.
	endTime = time.Second
)

// live sends a view each second to the clients that ask for it. While there are none, it makes no views.
// A view is made and encoded once for all streams with the same amount of detail.
type live struct {
	log  *eventlog.Log
	view func(now time.Time, detail bool) *view.View

	mu      sync.Mutex
	streams map[*stream]struct{}
	running bool                // run is
	closed  chan struct{}       // no more streams
	latest  map[bool]*view.View // by detail: what was sent last; what streams of that kind begin with
}

// stream is one client that gets views.
type stream struct {
	detail  bool
	expires time.Time // zero: never
	events  chan []byte
	control *http.ResponseController

	mu        sync.Mutex
	ended     chan struct{} // closed once no more is to be written
	isWriting bool
}

// newLive returns a live without streams.
func newLive(log *eventlog.Log, makeView func(time.Time, bool) *view.View) *live {
	return &live{log: log, view: makeView, streams: map[*stream]struct{}{}, closed: make(chan struct{}), latest: map[bool]*view.View{}}
}

// serveLive writes views until the client has gone, its session has expired, or the
// server ends.
func (s *Server) serveLive(w http.ResponseWriter, q *query) error {
	st := &stream{
		detail: q.sender.may(roleReader), expires: q.sender.expires, control: http.NewResponseController(w),
		events: make(chan []byte, streamQueue), ended: make(chan struct{}),
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if q.Method == http.MethodHead {
		return nil
	}
	if err := s.live.join(q.time, st); err != nil {
		return err
	}
	defer s.live.leave(st)
	_ = st.control.SetReadDeadline(time.Time{}) // else the timeout of the server would cancel the context
	st.copyTo(q.Context(), w)
	_ = st.control.SetWriteDeadline(time.Now().Add(eventTime)) // for the end of the answer
	return nil
}

// copyTo writes the events of st to w until the stream ends.
func (st *stream) copyTo(ctx context.Context, w http.ResponseWriter) {
	for {
		select {
		case event := <-st.events:
			if !st.begin() {
				return
			}
			_, err := w.Write(event)
			if err == nil {
				err = st.control.Flush()
			}
			st.finish()
			if err != nil {
				return
			}
		case <-st.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// begin lets one event be written, unless the stream has been ended.
func (st *stream) begin() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	select {
	case <-st.ended:
		return false
	default:
		st.isWriting = true
		_ = st.control.SetWriteDeadline(time.Now().Add(eventTime)) // else that of the last event remains
		return true
	}
}

// finish is called when an event was written, or could not be.
func (st *stream) finish() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.isWriting = false
}

// end ends st. An event that is being written must be finished within endTime.
func (st *stream) end() {
	st.mu.Lock()
	defer st.mu.Unlock()
	select {
	case <-st.ended:
		return
	default:
		close(st.ended)
	}
	if st.isWriting {
		_ = st.control.SetWriteDeadline(time.Now().Add(endTime)) // else that of the event remains
	}
}

// join adds a stream, which gets the view with the whole series at once.
func (l *live) join(now time.Time, st *stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return retryAfter(http.StatusServiceUnavailable, time.Second, "this process ends: connect again")
	default:
	}
	limited := 0
	for other := range l.streams {
		if !other.detail {
			limited++
		}
	}
	if len(l.streams) >= streamsMax || !st.detail && limited >= openStreamsMax {
		return retryAfter(http.StatusServiceUnavailable, time.Minute, fmt.Sprintf("got too many streams, want at most %d, of these %d without a token", streamsMax, openStreamsMax))
	}
	if l.latest[st.detail] == nil {
		l.latest[st.detail] = l.view(now, st.detail)
	}
	event, err := encodeEvent(l.latest[st.detail], nil)
	if err != nil {
		return err
	}
	st.events <- event // is empty
	l.streams[st] = struct{}{}
	if !l.running {
		l.running = true
		go l.run()
	}
	return nil
}

// leave removes a stream.
func (l *live) leave(st *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, st)
}

// close ends all streams, and lets no other join.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return
	default:
	}
	close(l.closed)
	for st := range l.streams {
		st.end()
	}
}

// run sends views until there are no more streams. A fault in a view ends the streams
// and not the process.
func (l *live) run() {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("cannot make a view: this is a fault of postern", slog.String("event", "admin"),
				slog.String("error", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			l.dropAll()
		}
	}()
	t := time.NewTicker(liveEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if !l.send(time.Now()) {
				return
			}
		case <-l.closed:
			return
		}
	}
}

// send sends a view to each stream, and ends those whose session has expired or whose
// reader is too slow. It reports whether there are streams.
func (l *live) send(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for st := range l.streams {
		if !st.expires.IsZero() && !now.Before(st.expires) {
			l.drop(st)
		}
	}
	for _, detail := range []bool{false, true} {
		l.sendTo(now, detail)
	}
	l.running = len(l.streams) > 0
	return l.running
}

// sendTo sends a view to the streams with or without detail.
func (l *live) sendTo(now time.Time, detail bool) {
	var event []byte
	last := l.latest[detail]
	l.latest[detail] = nil
	for st := range l.streams {
		if st.detail != detail {
			continue
		}
		if event == nil {
			l.latest[detail] = l.view(now, detail)
			var err error
			if event, err = encodeEvent(l.latest[detail], last); err != nil {
				l.drop(st)
				continue
			}
		}
		select {
		case st.events <- event:
		default:
			l.drop(st)
		}
	}
}

// dropAll ends and removes all streams, and lets others join.
func (l *live) dropAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for st := range l.streams {
		l.drop(st)
	}
	l.running = false
	clear(l.latest)
}

// drop ends a stream and removes it.
func (l *live) drop(st *stream) {
	st.end()
	delete(l.streams, st)
}

// encodeEvent encodes v as one event. The series has only what differs from that of
// last, if there is one.
func encodeEvent(v, last *view.View) ([]byte, error) {
	next := complete(v)
	if last != nil {
		next.Series = changed(v.Series, last.Series)
	}
	data, err := json.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("encode a view: %w", err)
	}
	return slices.Concat([]byte("event: view\ndata: "), data, []byte("\n\n")), nil
}

// changed returns the seconds of series that are not in last, or were different there.
// Both are sorted by time.
func changed(series, last []recent.Second) []recent.Second {
	out := []recent.Second{}
	for _, second := range series {
		i, found := slices.BinarySearchFunc(last, second.Time, compareTime)
		if !found || last[i] != second {
			out = append(out, second)
		}
	}
	return out
}

// compareTime orders seconds by time.
func compareTime(s recent.Second, t int64) int { return int(s.Time - t) }

// complete returns a copy of v without lists that are nil.
func complete(v *view.View) view.View {
	c := *v
	c.Series, c.Backends, c.Listeners = list(c.Series), list(c.Backends), list(c.Listeners)
	if c.Detail != nil {
		d := *c.Detail
		d.Incidents, d.Decisions, d.Refusals = list(d.Incidents), list(d.Decisions), list(d.Refusals)
		d.Top.Sources, d.Top.Networks, d.Top.Accounts = list(d.Top.Sources), list(d.Top.Networks), list(d.Top.Accounts)
		c.Detail = &d
	}
	return c
}
