package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/testbed"
	"postern/cmd/postern/internal/view"
)

// reader takes the events of a stream. While it is stuck a write blocks until its
// deadline.
type reader struct {
	mu       sync.Mutex
	header   http.Header
	code     int
	text     strings.Builder
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
	stuck    bool
}

func newReader() *reader { return &reader{header: http.Header{}, moved: make(chan struct{})} }

func (r *reader) Header() http.Header { return r.header }

func (r *reader) WriteHeader(code int) { r.code = code }

func (r *reader) Write(p []byte) (int, error) {
	for {
		r.mu.Lock()
		if !r.stuck {
			defer r.mu.Unlock()
			return r.text.Write(p)
		}
		wait, moved := time.Until(r.deadline), r.moved
		r.mu.Unlock()
		select {
		case <-time.After(wait):
			return 0, errors.New("deadline exceeded")
		case <-moved:
		}
	}
}

func (r *reader) FlushError() error { return nil }

func (r *reader) SetReadDeadline(time.Time) error { return nil }

func (r *reader) SetWriteDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	close(r.moved)
	r.moved = make(chan struct{})
	return nil
}

// views returns the views that have arrived.
func (r *reader) views(t *testing.T) (all []view.View) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for event := range strings.SplitSeq(strings.TrimSuffix(r.text.String(), "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(event, "event: view\ndata: ")
		var v view.View
		if err := json.Unmarshal([]byte(data), &v); err != nil || !ok {
			t.Fatalf("got event %q: %v", event, err)
		}
		all = append(all, v)
	}
	return all
}

// liveServer is a server of views within a synctest bubble, which counts them.
type liveServer struct {
	*Server
	made, detailed atomic.Int64
	fault          atomic.Bool
	log            *testbed.Log
}

func newLiveServer() *liveServer {
	s := &liveServer{Server: &Server{}, log: testbed.NewLog()}
	s.live = newLive(eventlog.New(s.log, "text", slog.LevelInfo), func(now time.Time, detail bool) *view.View {
		if s.fault.Load() {
			panic("a fault")
		}
		n := s.made.Add(1)
		v := &view.View{Time: now, Series: []recent.Second{{Time: n - 1, Known: 2}, {Time: n, Known: 1}}}
		if detail {
			s.detailed.Add(1)
			v.Detail = &view.Detail{}
		}
		return v
	})
	return s
}

// listen serves a stream to r until ctx is done, and sends why it was refused, or nil
// when it ends.
func (s *liveServer) listen(ctx context.Context, from sender, r *reader) <-chan error {
	ended := make(chan error, 1)
	req := httptest.NewRequestWithContext(ctx, "GET", view.LivePath, nil)
	go func() { ended <- s.serveLive(r, &query{Request: req, time: time.Now(), sender: from}) }()
	synctest.Wait()
	return ended
}

// TestLiveSendsAViewEachSecond: the first at once and with the whole series, the others
// with the seconds that are new or have changed. Streams share views, and none is made
// while there is no stream.
func TestLiveSendsAViewEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLiveServer()
		ctx, leave := context.WithCancel(t.Context())
		readers := []*reader{newReader(), newReader(), newReader(), newReader()}
		var ends []<-chan error
		for i, r := range readers {
			ends = append(ends, s.listen(ctx, sender{role: role(i % 2)}, r))
		}
		<-time.After(3*time.Second + liveEvery/2)
		if s.made.Load() != 2*4 || s.detailed.Load() != 4 {
			t.Errorf("got %d views, %d with detail, want 8 and 4", s.made.Load(), s.detailed.Load())
		}
		second := newReader()
		ends = append(ends, s.listen(ctx, sender{}, second))
		for i, r := range append(readers, second) {
			views := r.views(t)
			if want := []int{4, 4, 4, 4, 1}[i]; len(views) != want {
				t.Fatalf("stream %d: got %d views, want %d", i, len(views), want)
			}
			for n, v := range views {
				if len(v.Series) != 2 || (v.Detail != nil) != (i < 4 && i%2 == 1) || v.Backends == nil || v.Listeners == nil {
					t.Errorf("stream %d: got view %d %+v", i, n, v)
				}
			}
		}
		leave()
		for _, ended := range ends {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		<-time.After(2 * liveEvery)
		before := s.made.Load()
		<-time.After(time.Hour)
		if got := s.made.Load(); got != before {
			t.Errorf("made %d views without a stream", got-before)
		}
		again := newReader()
		ctx, leave = context.WithCancel(t.Context())
		ended := s.listen(ctx, sender{}, again)
		if v := again.views(t); len(v) != 1 || !v[0].Time.Equal(time.Now()) {
			t.Errorf("got %+v", v)
		}
		leave()
		<-ended
		s.live.close()
	})
}

// TestLiveDropsSlowReaders without delay for the others.
func TestLiveDropsSlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLiveServer()
		ctx, leave := context.WithCancel(t.Context())
		slow, fast := newReader(), newReader()
		slow.stuck = true
		slowEnded, fastEnded := s.listen(ctx, sender{}, slow), s.listen(ctx, sender{}, fast)
		began := time.Now()
		<-slowEnded
		if waited := time.Since(began); waited > (streamQueue+1)*liveEvery+endTime {
			t.Errorf("the slow stream ended after %v", waited)
		}
		<-time.After(10*time.Second - time.Since(began) + liveEvery/2)
		if n := len(fast.views(t)); n != 11 {
			t.Errorf("got %d views, want 11", n)
		}
		leave()
		<-fastEnded
		s.live.close()
	})
}

// TestLiveEndsWithTheSession.
func TestLiveEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLiveServer()
		r := newReader()
		began := time.Now()
		<-s.listen(t.Context(), sender{role: roleReader, expires: began.Add(time.Minute)}, r)
		if lasted := time.Since(began); lasted != time.Minute {
			t.Errorf("lasted %v, want 1m", lasted)
		}
		s.live.close()
	})
}

// TestLiveIsBounded: streams without a token cannot use up those of operators.
func TestLiveIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLiveServer()
		ctx, leave := context.WithCancel(t.Context())
		served, refused := map[role]int{}, map[role]int{}
		var open []<-chan error
		for _, role := range []role{roleNone, roleOperator} {
			for range 100 {
				ended := s.listen(ctx, sender{role: role}, newReader())
				select {
				case err := <-ended:
					var p *Problem
					if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.header.Get("Retry-After") != "60" {
						t.Fatalf("got %v", err)
					}
					refused[role]++
				default:
					served[role]++
					open = append(open, ended)
				}
			}
		}
		if served[roleNone] != openStreamsMax || served[roleOperator] != streamsMax-openStreamsMax || refused[roleNone] == 0 || refused[roleOperator] == 0 {
			t.Errorf("got %v served, %v refused", served, refused)
		}
		leave()
		for _, ended := range open {
			<-ended
		}
		if err := <-s.listen(expired(), sender{}, newReader()); err != nil {
			t.Errorf("after all have left: %v", err)
		}
		s.live.close()
	})
}

// expired is a context that is done.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestLiveCloseEndsStreams at once, also those of slow readers, and lets no other join.
func TestLiveCloseEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLiveServer()
		stuck := newReader()
		stuck.stuck = true
		idle, writing := s.listen(t.Context(), sender{}, newReader()), s.listen(t.Context(), sender{}, stuck)
		began := time.Now()
		s.live.close()
		s.live.close()
		<-idle
		if waited := time.Since(began); waited != 0 {
			t.Errorf("an idle stream ended after %v", waited)
		}
		<-writing
		if waited := time.Since(began); waited > endTime {
			t.Errorf("a slow stream ended after %v", waited)
		}
		if err := <-s.listen(t.Context(), sender{role: roleOperator}, newReader()); err == nil || !strings.Contains(err.Error(), "this process ends") {
			t.Errorf("after: got %v", err)
		}
	})
}

// TestLiveSurvivesAFault of what makes views.
func TestLiveSurvivesAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLiveServer()
		ended := s.listen(t.Context(), sender{}, newReader())
		s.fault.Store(true)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if !strings.Contains(s.log.String(), "cannot make a view") || !strings.Contains(s.log.String(), "a fault") {
			t.Errorf("got log %s", s.log)
		}
		s.fault.Store(false)
		ctx, leave := context.WithCancel(t.Context())
		r := newReader()
		ended = s.listen(ctx, sender{}, r)
		<-time.After(liveEvery + liveEvery/2)
		if n := len(r.views(t)); n != 2 {
			t.Errorf("got %d views after the fault, want 2", n)
		}
		leave()
		<-ended
		s.live.close()
	})
}

// TestChangedSeconds has those that are new or differ.
func TestChangedSeconds(t *testing.T) {
	last := []recent.Second{{Time: 1, Known: 1}, {Time: 2, Known: 2}, {Time: 4, Known: 4}}
	series := []recent.Second{{Time: 2, Known: 2}, {Time: 3, Known: 3}, {Time: 4, Known: 5}, {Time: 5}}
	want := []recent.Second{{Time: 3, Known: 3}, {Time: 4, Known: 5}, {Time: 5}}
	if got := changed(series, last); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestLiveByTCP: of 200 streams the first are served. Retire ends them cleanly.
func TestLiveByTCP(t *testing.T) {
	s := startWithTokens(t)
	var bodies []*http.Response
	codes := map[int]int{}
	for range 200 {
		resp := s.send(t, request{method: "GET", path: view.LivePath, header: bearer(readerToken)})
		codes[resp.StatusCode]++
		if resp.StatusCode != http.StatusOK {
			resp.Body.Close()
			continue
		}
		bodies = append(bodies, resp)
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("got type %q", got)
		}
		if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "event: view\n" || err != nil {
			t.Errorf("got %q, %v", line, err)
		}
	}
	if codes[http.StatusOK] != streamsMax || codes[http.StatusServiceUnavailable] != 200-streamsMax {
		t.Errorf("got %v", codes)
	}
	resp := s.send(t, request{method: "HEAD", path: view.LivePath})
	resp.Body.Close()
	s.StopAccepting()
	s.Retire()
	for _, resp := range bodies {
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Errorf("the stream ended with %v", err)
		}
		resp.Body.Close()
	}
}
