package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/view"
	"postern/limiter/watch/incident"
)

// Tokens of the stand-in gateway.
const (
	operatorToken = "operator-token-0123456789"
	readerToken   = "reader-token-0123456789"
)

// eventTime is how often a gateway sends a view. The stand-in sends one with each change as
// well, to save the time of tests.
const eventTime = time.Second

// gateway stands in for the admin API of a gateway, with its real types.
type gateway struct {
	t    *testing.T
	addr string

	mu        sync.Mutex
	second    int
	frozen    bool             // the time in views stands still
	change    func(*view.View) // changes each view
	decisions []decisions.Decision
	calls     []string // actions, with who did them
	server    *http.Server
	streams   int           // open ones
	changed   chan struct{} // closed, and replaced, with each change
}

// newGateway starts one that ends with the test.
func newGateway(t *testing.T) *gateway {
	g := &gateway{t: t, addr: "127.0.0.1:0", change: func(*view.View) {}, changed: make(chan struct{})}
	g.start()
	t.Cleanup(g.stop)
	return g
}

// url is where the page is.
func (g *gateway) url() string { return "http://" + g.addr + "/" }

// start listens, after stop again on the same address.
func (g *gateway) start() {
	ln, err := net.Listen("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.addr = ln.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("/", Handler())
	mux.HandleFunc("GET /page/session", g.serveSession)
	mux.HandleFunc("POST /page/login", g.serveLogin)
	mux.HandleFunc("POST /page/logout", serveLogout)
	mux.HandleFunc("GET /v1/live", g.serveLive)
	mux.HandleFunc("GET /v1/decisions", g.reader(func(w http.ResponseWriter, _ *http.Request) { answer(w, g.latest()) }))
	mux.HandleFunc("GET /v1/explain", g.reader(g.serveExplain))
	mux.HandleFunc("POST /v1/decisions", operator(g.serveDecide))
	mux.HandleFunc("DELETE /v1/decisions/{id}", operator(g.serveEnd))
	mux.HandleFunc("POST /v1/release", operator(g.serveRelease))
	mux.HandleFunc("POST /v1/forget", operator(g.serveForget))
	mux.HandleFunc("POST /v1/incidents", operator(g.serveIncidents))
	g.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func(server *http.Server) {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			g.t.Errorf("serve: %v", err)
		}
	}(g.server)
}

// stop closes all connections.
func (g *gateway) stop() { g.server.Close() }

// set changes the gateway, which then sends a view.
func (g *gateway) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

// called returns the actions since the last call.
func (g *gateway) called() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := g.calls
	g.calls = nil
	return calls
}

// latest are the decisions in force, the newest first.
func (g *gateway) latest() []decisions.Decision {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := slices.Clone(g.decisions)
	slices.Reverse(list)
	return list
}

// problem answers with problem details.
func problem(w http.ResponseWriter, status int, detail string, more map[string]any) {
	p := map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail}
	for name, value := range more {
		p[name] = value
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p)
}

// answer answers with v.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// role is that of a request: operator, reader or none.
func role(r *http.Request) string {
	c, err := r.Cookie("postern_session")
	if err != nil {
		return "none"
	}
	return c.Value
}

// reader refuses requests without a role.
func (g *gateway) reader(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if role(r) == "none" {
			problem(w, 401, "this needs a token", nil)
			return
		}
		h(w, r)
	}
}

// operator refuses requests without the role of an operator and their CSRF token.
func operator(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case role(r) != "operator":
			problem(w, 403, "this needs the token of an operator", nil)
		case r.Header.Get("X-CSRF-Token") != "csrf-operator":
			problem(w, 403, "the CSRF token is missing or wrong", nil)
		default:
			h(w, r)
		}
	}
}

func (g *gateway) serveSession(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]any{"role": role(r), "csrf": "csrf-" + role(r), "socket": false})
}

func (g *gateway) serveLogin(w http.ResponseWriter, r *http.Request) {
	var q struct{ Token string }
	if !decode(w, r, &q) {
		return
	}
	name := map[string]string{operatorToken: "operator", readerToken: "reader"}[q.Token]
	if name == "" {
		problem(w, 403, "wrong token", nil)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "postern_session", Value: name, HttpOnly: true, SameSite: http.SameSiteStrictMode, Path: "/"})
	answer(w, map[string]any{"role": name, "csrf": "csrf-" + name, "socket": false})
}

func serveLogout(w http.ResponseWriter, r *http.Request) {
	if want := "csrf-" + role(r); r.Header.Get("X-CSRF-Token") != want {
		problem(w, 403, "the CSRF token is missing or wrong", nil)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "postern_session", HttpOnly: true, SameSite: http.SameSiteStrictMode, Path: "/", MaxAge: -1})
	answer(w, map[string]any{"role": "none", "csrf": "", "socket": false})
}

// serveLive sends a view each eventTime, and with each change, until the server is closed.
func (g *gateway) serveLive(w http.ResponseWriter, r *http.Request) {
	count := func(n int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.streams += n
	}
	count(1)
	defer count(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(eventTime)
	defer ticker.Stop()
	last := -1 << 30
	for r.Context().Err() == nil {
		text, second, changed := g.next(role(r) != "none", last)
		last = second
		if _, err := fmt.Fprintf(w, "event: view\ndata: %s\n\n", text); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-ticker.C:
		case <-changed:
		case <-r.Context().Done():
		}
	}
}

// next is the next view for a stream that has had the series until last. changed is closed when
// there is another one.
func (g *gateway) next(detail bool, last int) (text []byte, second int, changed chan struct{}) {
	decided := g.latest()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.frozen {
		g.second++
	}
	v := sample(g.second, detail)
	v.Series = sampleSeries(g.second, min(300, g.second-last))
	if v.Detail != nil {
		v.Detail.Decisions, v.Detail.Decided = decided[:min(100, len(decided))], len(decided)
	}
	g.change(v)
	text, err := json.Marshal(v)
	if err != nil {
		g.t.Error(err)
	}
	return text, g.second, g.changed
}

// decode reads a request that must have no other fields than v.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		problem(w, 400, err.Error(), nil)
		return false
	}
	return true
}

// call notes an action.
func (g *gateway) call(by, format string, a ...any) {
	g.set(func() { g.calls = append(g.calls, by+": "+fmt.Sprintf(format, a...)) })
}

func (g *gateway) serveDecide(w http.ResponseWriter, r *http.Request) {
	var q decisions.Request
	if !decode(w, r, &q) {
		return
	}
	d := decisions.Decision{Kind: q.Kind, Made: time.Now(), By: q.By, Comment: q.Comment}
	if q.Kind == decisions.Block || q.Kind == decisions.Allow {
		var err error
		if d.Network, err = netip.ParsePrefix(q.Network); err != nil {
			a, err := netip.ParseAddr(q.Network)
			if err != nil {
				problem(w, 400, fmt.Sprintf("network: got %q, want an address or a network in CIDR form", q.Network), map[string]any{"setting": "network"})
				return
			}
			d.Network = netip.PrefixFrom(a, a.BitLen())
		}
	}
	if span, err := time.ParseDuration(q.For); err == nil {
		d.Until = d.Made.Add(span)
	}
	if q.Kind == decisions.Block && d.Network.Bits() < 16 && !q.Force {
		problem(w, 409, fmt.Sprintf("block %v: it is wider than /16; 1234 known users have logged in from there in the last 24 h", d.Network), map[string]any{"needs_force": true, "users": 1234})
		return
	}
	g.call(q.By, "%s %s for %q, %q, force %v", q.Kind, q.Network, q.For, q.Comment, q.Force)
	g.set(func() {
		d.ID = fmt.Sprintf("d%d", len(g.decisions)+1)
		g.decisions = append(g.decisions, d)
	})
	answer(w, decisions.Result{Decision: d, Closed: 3, Users: 1})
}

func (g *gateway) serveEnd(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	for _, d := range g.latest() {
		if d.ID == id {
			g.call(r.FormValue("by"), "end %s %s", d.Kind, d.Network)
			g.set(func() {
				g.decisions = slices.DeleteFunc(g.decisions, func(d decisions.Decision) bool { return d.ID == id })
			})
			answer(w, d)
			return
		}
	}
	problem(w, 404, "there is no such decision", nil)
}

func (g *gateway) serveRelease(w http.ResponseWriter, r *http.Request) {
	var q decisions.Release
	if decode(w, r, &q) {
		g.call(q.By, "release %s", q.Of)
		answer(w, decisions.Released{Buckets: 2})
	}
}

func (g *gateway) serveForget(w http.ResponseWriter, r *http.Request) {
	var q decisions.Forget
	if decode(w, r, &q) {
		g.call(q.By, "forget %s", q.Account)
		answer(w, decisions.Forgotten{Known: true})
	}
}

func (g *gateway) serveIncidents(w http.ResponseWriter, r *http.Request) {
	var c incident.Command
	if !decode(w, r, &c) {
		return
	}
	if c.Action == incident.ActResolve && !c.Force {
		problem(w, 409, "resolve "+c.Incident+": not over yet: the attack on logins is on", map[string]any{"needs_force": true})
		return
	}
	g.call(c.By, "%s", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Action, c.Incident, c.Class, c.Text)))
	answer(w, []incident.Event{})
}

func (g *gateway) serveExplain(w http.ResponseWriter, r *http.Request) {
	about := r.FormValue("about")
	if about == "nothing" {
		problem(w, 404, "nothing is known of \"nothing\"", nil)
		return
	}
	answer(w, sampleExplanation(about, g.latest()))
}

// await waits until a condition holds.
func (g *gateway) await(what string, ok func() bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		g.mu.Lock()
		is := ok()
		g.mu.Unlock()
		if is {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			g.t.Fatalf("waited for %s in vain", what)
		}
	}
}
