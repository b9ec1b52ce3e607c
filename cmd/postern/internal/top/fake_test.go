package top

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/testbed"
	"postern/cmd/postern/internal/view"
	"postern/limiter/watch/incident"
)

// now is the time of the sample.
var now = time.Date(2026, 11, 27, 14, 30, 5, 0, time.UTC)

// ago is that time before now.
func ago(d time.Duration) time.Time { return now.Add(-d) }

// sample is a gateway under attack.
func sample() *view.View {
	v := &view.View{
		Time: now, Host: "mx1.example", Version: "v1.4", Level: "WARNING", Text: "attack since 14:07 UTC, known users 99.6 % served over 5 min",
		State: monitor.State{
			Verdict: "attack", Since: ago(23 * time.Minute), Learned: 1, Excess: 3,
			Incident: &monitor.Incident{ID: "20261127-1409", Class: "attack", Stage: "detected", Since: ago(23 * time.Minute)},
			Known:    monitor.Known{Good: 2480, Slow: 8, Limited: 6, Failed: 4, Greeted: 35 * time.Millisecond},
			Backends: monitor.Backends{Up: 2, All: 3}, Connections: 812, MaxConnections: 20000,
			Generations: []monitor.Generation{
				{Number: 3, PID: 4711, Version: "v1.4", Since: ago(2 * time.Hour), Sessions: 5120, Prelogin: 340},
				{Number: 2, PID: 4000, Version: "v1.3", Since: ago(300 * time.Hour), Sessions: 97, Until: now.Add(3 * time.Minute)},
			},
		},
		Mode: view.Mode{}, Tight: true,
		Lanes:  view.Lanes{Size: 200, Left: 140.4, Reserved: 120, KnownWait: 0, StrangersWait: 23, StrangerSlots: 2},
		Tarpit: view.Place{Now: 312, Max: 10000}, Tables: view.Tables{Buckets: 12345, Max: 500000, Known: 4567},
		Backends: []view.Backend{
			{Protocol: "imap", Addr: "10.0.0.1:143", Up: true, Logins: view.Place{Now: 3, Max: 100}, Sessions: 4000},
			{Protocol: "imap", Addr: "10.0.0.2:143", Error: "dial tcp 10.0.0.2:143: connection refused"},
			{Protocol: "pop3", Addr: "10.0.0.1:110", Up: true, Logins: view.Place{Now: 1, Max: 100}, Sessions: 120},
		},
		Listeners: []view.Listener{{Name: "imaps", Addr: ":993", Open: 5300, Rate: 1200}, {Name: "imap", Addr: "10.0.0.9:143", Open: 120, Rate: 30, Proxy: true}},
		Detail: &view.Detail{
			Top: recent.Top{Window: 5 * time.Minute, Sources: []recent.Row{
				{Name: "203.0.113.7", Attempts: 912, Denied: 10, Refused: 890, Waited: 12, Others: 480, Rule: "source", First: ago(22 * time.Minute), Last: ago(time.Second)},
				{Name: "2001:db8:aaaa:bbbb::/64", Attempts: 80, Accepted: 2, Denied: 8, Refused: 70, Others: 3, Rule: "pair", First: ago(20 * time.Minute), Last: ago(4 * time.Second), Known: true},
				{Name: "198.51.100.99", Attempts: 400, Denied: 400, Others: 1, Rule: "repeat", First: ago(3 * time.Hour), Last: ago(70 * time.Second)},
			}, Networks: []recent.Row{
				{Name: "203.0.113.0/24", Attempts: 2000, Denied: 100, Refused: 1900, Others: 900, Rule: "source", First: ago(22 * time.Minute), Last: ago(time.Second)},
			}, Accounts: []recent.Row{
				{Name: "info@example.org", Attempts: 66, Accepted: 1, Denied: 10, Refused: 55, Others: 44, Rule: "account", First: ago(22 * time.Minute), Last: ago(time.Second), Known: true},
			}},
			Incidents: []incident.Incident{{ID: "20261127-1409", Phase: incident.Detected, Class: "attack", Started: ago(23 * time.Minute), Since: ago(23 * time.Minute),
				Events: []incident.Event{{Time: ago(21 * time.Minute), Kind: incident.KindOpen, Class: "attack", To: incident.Detected, By: "postern"}}}},
			Decisions: []decisions.Decision{
				{ID: "k3f", Kind: decisions.Block, Network: netip.MustParsePrefix("203.0.113.7/32"), Made: ago(5 * time.Minute), Until: now.Add(55 * time.Minute), By: "anna", Comment: "Botnetz"},
				{ID: "z9q", Kind: decisions.Allow, Network: netip.MustParsePrefix("192.0.2.0/24"), Made: ago(50 * time.Hour), By: "ole"},
			}, Decided: 2,
			Refusals: []recent.Event{{Time: ago(3 * time.Second), Session: "7Qx2", Attempt: true, Listener: "imaps", Addr: netip.MustParseAddr("203.0.113.7"),
				Account: "info@example.org", Action: "reject", Rule: "source", Result: "refused", Why: "10 of 10 denials, LIMIT_SOURCE", Enforced: true}},
		},
	}
	for i := range int64(300) {
		v.Series = append(v.Series, recent.Second{Time: now.Unix() - 300 + i, Known: 8 + uint32(i%3), Denied: uint32(i / 10), Refused: uint32(i * i / 400), Repeat: uint32(i % 2)})
	}
	return v
}

// fake is a gateway behind a real admin server.
type fake struct {
	c config.Config

	mu     sync.Mutex
	server *admin.Server
	ended  chan error
	view   *view.View
	refuse error    // of the next action
	asked  []string // actions and questions, as text
}

// The tokens of the admin server.
const (
	adminToken = "0123456789abcdef0123456789abcdef"
	readToken  = "fedcba9876543210fedcba9876543210"
)

// newFake starts one, which ends with the test.
func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{view: sample()}
	var err error
	f.c, err = config.Load(testbed.Environ("POSTERN_ADMIN_LISTEN=127.0.0.1:0",
		"POSTERN_ADMIN_TOKEN_FILE="+testbed.WriteFile(t, adminToken), "POSTERN_ADMIN_READ_TOKEN_FILE="+testbed.WriteFile(t, readToken)))
	if err != nil {
		t.Fatal(err)
	}
	f.start(t)
	t.Cleanup(func() { f.stop(t) })
	return f
}

// start serves, at the same address as before.
func (f *fake) start(t *testing.T) {
	t.Helper()
	server, err := admin.Open(&f.c, admin.Gateway{
		Log: eventlog.New(io.Discard, "text", slog.LevelInfo), Metrics: http.NotFoundHandler(), Unready: func() string { return "" },
		View: f.serveView, Decide: f.decide, End: f.end, Release: f.release, Explain: f.explain,
	})
	if err != nil {
		t.Fatal(err)
	}
	set(&f.c.Admin.Listen, server.Addr().String())
	f.server, f.ended = server, make(chan error, 1)
	go func() { f.ended <- server.Serve() }()
}

// set changes a setting.
func set[T ~string](setting *T, value string) { *setting = T(value) }

// stop ends the server.
func (f *fake) stop(t *testing.T) {
	f.server.Close()
	if err := <-f.ended; err != nil {
		t.Error(err)
	}
	f.ended <- nil // for another stop
}

// change changes the View.
func (f *fake) change(change func(*view.View)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := sample()
	change(v)
	f.view = v
}

// serveView is the View.
func (f *fake) serveView(_ time.Time, detail bool) *view.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := *f.view
	if !detail {
		v.Detail = nil
	}
	return &v
}

// errNeedsForce refuses an action.
var errNeedsForce = decisions.NeedsForceError{Reason: "7 known users logged in from there", Users: 7}

// took notes an action and returns the error that it ends with.
func (f *fake) took(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	err := f.refuse
	f.refuse = nil
	return err
}

// requests are the actions and questions so far.
func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fake) decide(t time.Time, r decisions.Request, _ netip.Addr) (decisions.Result, error) {
	err := f.took("%s %s for %s by %s force %v", r.Kind, r.Network, r.For, r.By, r.Force)
	network, _ := netip.ParsePrefix(r.Network)
	if addr, err := netip.ParseAddr(r.Network); err == nil {
		network = netip.PrefixFrom(addr, addr.BitLen())
	}
	return decisions.Result{Decision: decisions.Decision{Kind: r.Kind, Network: network, Made: t, Until: t.Add(time.Hour)}, Closed: 1, Users: 2, Warning: "MODE is observe"}, err
}

func (f *fake) end(_ time.Time, id, by string) (decisions.Decision, error) {
	return decisions.Decision{ID: id}, f.took("end %s by %s", id, by)
}

func (f *fake) release(_ time.Time, r decisions.Release) (decisions.Released, error) {
	return decisions.Released{Buckets: 3, Blocked: []decisions.Decision{{Network: netip.MustParsePrefix("203.0.113.0/24")}}}, f.took("release %s by %s", r.Of, r.By)
}

func (f *fake) explain(t time.Time, about string) (explain.Explanation, error) {
	return explain.Explanation{
		Time: t, About: about, Subject: explain.Source, Summary: about + " is limited by the rule source. " + evil,
		Facts:  []explain.Fact{{Heading: "Buckets", Text: "source: 10 of 10 spent"}, {Heading: "Now", Text: "a stranger would be refused"}},
		Advice: []explain.Advice{{Text: "Block it.", Command: "postern block 203.0.113.7"}},
		Events: slices.Repeat([]recent.Event{{Time: now, Session: "7Qx2", Addr: netip.MustParseAddr("203.0.113.7"), Rule: "source", Result: "refused"}}, 50),
	}, f.took("explain %s", about)
}

// client returns a client of an operator.
func (f *fake) client(t *testing.T) *admin.Client {
	t.Helper()
	client, err := admin.NewOperatorClient(f.c, nil, testbed.Patience)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// options are those of an operator at a terminal that can show everything.
func (f *fake) options(t *testing.T, environ ...string) Options {
	return Options{Client: f.client(t), Act: true, By: "anna", Interval: time.Hour, Environ: append([]string{"LANG=C.UTF-8", "TERM=xterm-256color"}, environ...)}
}
