package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// adminServer is an admin API whose stream of events sends three views and then
// stays open, or ends if ends is set.
func adminServer(t *testing.T, ends bool) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/view", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	mux.HandleFunc("GET /v1/live", func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			fmt.Fprintf(w, "event: view\ndata: {%q}\n\n: event: view\n\n", strings.Repeat("x", 10_000))
		}
		_ = http.NewResponseController(w).Flush()
		if !ends {
			<-r.Context().Done()
		}
	})
	return startAdmin(t, mux)
}

// startAdmin serves h to those with the token of viewers, and returns its
// address.
func startAdmin(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+viewersToken {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestViewersReceiveViews(t *testing.T) {
	v, err := openViewers(t.Context(), adminServer(t, false))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for v.received.Load() < 4 { // three events and one poll
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("got %d views, want 4", v.received.Load())
		}
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
}

// A postern without views makes viewers fail with an error that says so.
func TestViewersNeedViews(t *testing.T) {
	for name, tc := range map[string]struct{ addr, want string }{
		"no views":     {startAdmin(t, http.NotFoundHandler()), "got 404 Not Found, want 200: this postern has no such view"},
		"wrong token":  {startAdmin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })), "got 401 Unauthorized"},
		"no admin API": {"127.0.0.1:1", "connection refused"},
	} {
		if v, err := openViewers(t.Context(), tc.addr); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
			if v != nil {
				_ = v.close()
			}
		}
	}
}

// Events that end while logins are measured are an error: the rest would be
// measured without viewers.
func TestViewersNoticeTheEndOfEvents(t *testing.T) {
	v, err := openViewers(t.Context(), adminServer(t, true))
	if err == nil {
		v.wg.Wait() // the end of the events ends all viewers
		err = v.close()
	}
	if err == nil || !strings.Contains(err.Error(), "the events end") {
		t.Errorf("got %v, want the end of the events", err)
	}
}

// CPU per login is measured at one postern with viewers and without.
func TestViewersWork(t *testing.T) {
	tb := newTestbed(t)
	o := Defaults()
	o.Rate, o.Duration = 50, 500*time.Millisecond
	works, err := viewersWorks(&o)
	if err != nil {
		t.Fatal(err)
	}
	target, p, err := tb.start(t.Context(), findKind(t, "postern"), works[0])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if target.admin == "" {
		t.Fatal("the admin API has no address")
	}
	target.admin, target.timeout = adminServer(t, false), time.Minute
	s := &sample{}
	if err := works[0].measure(t.Context(), target, s); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"CPU per login, without viewers", "CPU per login, with viewers", viewersRatio, "views received"} {
		if s.value(t, name) <= 0 {
			t.Errorf("%s: got %v, want more than 0", name, s.value(t, name))
		}
	}
}
