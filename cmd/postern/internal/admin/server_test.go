package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/metrics"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/testbed"
	"postern/cmd/postern/internal/view"
)

// running is a server under test.
type running struct {
	*Server
	log     *testbed.Log
	unready atomic.Value // string: the gateway's answer
	asked   atomic.Value // string: the last request for a decision, in Go syntax
	views   atomic.Int64 // that were made
}

// start serves with these settings until the test ends.
func start(t *testing.T, more ...string) *running {
	t.Helper()
	c, err := config.Load(testbed.Environ(append([]string{"POSTERN_ADMIN_LISTEN=127.0.0.1:0"}, more...)...))
	if err != nil {
		t.Fatal(err)
	}
	r := &running{log: testbed.NewLog()}
	r.unready.Store("")
	log := eventlog.New(r.log, "text", slog.LevelInfo)
	i, err := incidents.New(time.Now(), incidents.Config{
		Location: time.UTC, Log: log.Logger, Components: func() []incidents.Component { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Server, err = Open(&c, r.gateway(log, i))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- r.Serve() }()
	t.Cleanup(func() {
		r.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// errBad is the answer of the gateway to what it does not take.
var errBad = decisions.RequestError{Err: errors.New("this is bad")}

// began is when the tests began.
var began = time.Now()

// gateway answers all requests for r.
func (r *running) gateway(log *eventlog.Log, i *incidents.Manager) Gateway {
	return Gateway{
		Log: log, Metrics: metrics.New("v1", "").Handler(), Unready: func() string { return r.unready.Load().(string) },
		State: func(time.Time) monitor.State { return monitor.State{Verdict: "normal"} }, Incidents: i,
		Learn:   func(time.Time, Learned) (Knowledge, error) { return Knowledge{Accounts: 1}, nil },
		Upgrade: func() (monitor.Generation, error) { return monitor.Generation{Number: 2}, nil },
		Reload:  func() (Reloaded, error) { return Reloaded{}, nil },
		View: func(now time.Time, detail bool) *view.View {
			n := r.views.Add(1)
			v := &view.View{Time: now, Series: []recent.Second{{Time: began.Unix() + n - 1, Known: 2}, {Time: began.Unix() + n, Known: 1}}}
			if detail {
				v.Detail = &view.Detail{Decided: 1}
			}
			return v
		},
		Decisions: func() []decisions.Decision { return nil },
		Firewall: func(t time.Time, client string, q firewall.Query) firewall.Stream {
			r.asked.Store(fmt.Sprintf("%+v by %q", q, client))
			return firewall.Stream{New: []firewall.Decision{{ID: 1, Value: "192.0.2.1", CreatedAt: t}}, Deleted: []firewall.Decision{}}
		},
		Decide: func(t time.Time, q decisions.Request, remote netip.Addr) (decisions.Result, error) {
			r.asked.Store(fmt.Sprintf("%+v from %v", q, remote))
			switch {
			case q.Network == "bad":
				return decisions.Result{}, errBad
			case q.Network == "127.0.0.1" && !q.Force:
				return decisions.Result{}, decisions.NeedsForceError{Reason: "this is your own\naddress", Users: 3}
			}
			return decisions.Result{Decision: decisions.Decision{ID: "a1", Kind: q.Kind, Made: t, By: q.By}}, nil
		},
		End: func(t time.Time, id, by string) (decisions.Decision, error) {
			r.asked.Store(fmt.Sprintf("end %q by %q", id, by))
			if id == "none" {
				return decisions.Decision{}, decisions.ErrNotFound
			}
			return decisions.Decision{ID: id, Kind: decisions.Allow, Network: netip.MustParsePrefix("192.0.2.0/24"), Made: t}, nil
		},
		Release: func(time.Time, decisions.Release) (decisions.Released, error) { return decisions.Released{}, nil },
		Forget:  func(time.Time, decisions.Forget) (decisions.Forgotten, error) { return decisions.Forgotten{}, nil },
		Explain: func(t time.Time, about string) (explain.Explanation, error) {
			switch {
			case about == "bad":
				return explain.Explanation{}, errBad
			case about == "" || len(about) > 1024:
				return explain.Explain(t, about, explain.Sources{}) // refuses it
			}
			return explain.Explanation{Time: t, About: about, Subject: explain.Account}, nil
		},
		Page: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html>") }),
	}
}

// post sends a request that must be executed, to the first endpoint.
func (r *running) post(t *testing.T, path, body string) {
	t.Helper()
	if code, text := r.ask(t, request{method: "POST", path: path, body: body}); code != http.StatusOK {
		t.Fatalf("%s %s: got %d %s", path, body, code, text)
	}
}

// request is one request to the endpoint number n.
type request struct {
	n                  int
	method, path, host string
	header             map[string]string
	body               string
}

// ask sends a request and returns status and body.
func (r *running) ask(t *testing.T, q request) (int, string) {
	t.Helper()
	resp := r.send(t, q)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// send sends a request and returns the answer, whose body the caller closes.
func (r *running) send(t *testing.T, q request) *http.Response {
	t.Helper()
	addr := r.endpoints[q.n].listener.Addr()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), q.method, "http://localhost", strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(q.path, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query // as it is, not cleaned
	req.Host = q.host
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	s := start(t, "POSTERN_METRICS_LISTEN=unix:"+socket)
	for name, tt := range map[string]struct {
		n                  int
		method, path, host string
		code               int
		body               string
	}{
		"alive":                 {0, "GET", "/livez", "localhost", 200, "alive\n"},
		"ready":                 {0, "GET", "/readyz", "127.0.0.1:9143", 200, "ready\n"},
		"by IPv6":               {0, "GET", "/readyz", "[::1]:9143", 200, "ready\n"},
		"by IPv6 without port":  {0, "GET", "/readyz", "[::1]", 200, "ready\n"},
		"in capitals":           {0, "GET", "/readyz", "LOCALHOST", 200, "ready\n"},
		"head":                  {0, "HEAD", "/readyz", "localhost", 200, ""},
		"metrics":               {0, "GET", "/metrics", "localhost", 200, "postern_build_info"},
		"state":                 {0, "GET", monitor.Path, "localhost", 200, `"verdict":"normal"`},
		"post":                  {0, "POST", "/readyz", "localhost", 405, ""},
		"delete":                {0, "DELETE", "/metrics", "localhost", 405, ""},
		"another path":          {0, "GET", "/none", "localhost", 404, openAPIPath},
		"page":                  {0, "GET", "/", "localhost", 200, "<!doctype html>"},
		"rebound name":          {0, "GET", "/metrics", "evil.example", 403, "localhost only"},
		"name that looks local": {0, "GET", "/metrics", "127.0.0.1.evil.example", 403, "localhost only"},
		"metrics by socket":     {1, "GET", "/metrics", "anything", 200, "postern_build_info"},
		"readyz by socket":      {1, "GET", "/readyz", "anything", 404, ""},
		"post by socket":        {1, "POST", "/metrics", "anything", 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := s.ask(t, request{n: tt.n, method: tt.method, path: tt.path, host: tt.host})
			if code != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("got %d %q, want %d %q", code, body, tt.code, tt.body)
			}
		})
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v", info, err)
	}
}

// TestReadyz gives the reason why a gateway is not ready.
func TestReadyz(t *testing.T) {
	s := start(t)
	s.unready.Store("shutting down")
	if code, body := s.ask(t, request{method: "GET", path: "/readyz"}); code != 503 || body != "not ready: shutting down\n" {
		t.Errorf("got %d %q", code, body)
	}
}

// TestRetireAnswersAcceptedConnections, also those that have sent nothing yet, but no new and no idle ones.
func TestRetireAnswersAcceptedConnections(t *testing.T) {
	s := start(t)
	c := testbed.Dial(t, s.Addr().String())
	idle := http.Client{Transport: new(http.Transport)}
	get := func() error {
		resp, err := idle.Get("http://" + s.Addr().String() + "/livez") // is accepted after c
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	s.StopAccepting()
	if get() == nil {
		t.Error("a request after StopAccepting was answered")
	}
	retired := make(chan struct{})
	go func() {
		s.Retire()
		close(retired)
	}()
	c.Say("GET /livez HTTP/1.1\r\nHost: localhost\r\n", "HTTP/1.1 200 OK")
	<-retired
}

// TestServeReportsFailure of an address, and ends with it.
func TestServeReportsFailure(t *testing.T) {
	c, err := config.Load(testbed.Environ("POSTERN_ADMIN_LISTEN=127.0.0.1:0", "POSTERN_METRICS_LISTEN=localhost:0"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(&c, Gateway{Log: eventlog.New(io.Discard, "text", slog.LevelInfo), Metrics: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	s.endpoints[1].listener.Close()
	if err := s.Serve(); err == nil || !strings.Contains(err.Error(), "serve HTTP on 127.0.0.1:") {
		t.Errorf("got %v", err)
	}
}

// TestCloseAtStart closes a server at the moment in which it begins to serve.
func TestCloseAtStart(t *testing.T) {
	c, err := config.Load(testbed.Environ("POSTERN_ADMIN_LISTEN=unix:" + filepath.Join(t.TempDir(), "s")))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		s, err := Open(&c, Gateway{Log: eventlog.New(io.Discard, "text", slog.LevelInfo), Metrics: http.NotFoundHandler()})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- s.Serve() }()
		s.Close()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

// TestSocketIsReplacedOnlyWhenStale: a crash leaves a socket file behind, which
// must not prevent the next start; the socket of a running process must remain.
func TestSocketIsReplacedOnlyWhenStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bind("unix:" + path); err == nil || !strings.Contains(err.Error(), "another process does") {
		t.Errorf("of a running process: %v", err)
	}
	crashed.SetUnlinkOnClose(false)
	crashed.Close()
	ln, err := bind("unix:" + path)
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	ln.Close()

	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bind("unix:" + path); err == nil {
		t.Error("a file that is no socket was replaced")
	}
}

// TestPassedSocketWithoutFile: a unix socket whose file was removed is replaced, for nobody can connect to it.
func TestPassedSocketWithoutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, removed := range []bool{false, true} {
		former, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		former.SetUnlinkOnClose(removed)
		passed, err := former.File()
		if err != nil {
			t.Fatal(err)
		}
		former.Close()
		s := &Server{gateway: Gateway{Passed: func(string, string) (*os.File, bool) { return passed, false }}}
		ln, _, err := s.listen("admin", "unix:"+path)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := net.Dial("unix", path); err != nil {
			t.Errorf("removed %v: %v", removed, err)
		} else {
			c.Close()
		}
		ln.Close()
		os.Remove(path)
	}
}
