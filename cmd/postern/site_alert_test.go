//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/bench/client"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/limiter/watch"
)

// alertReceiver is a receiver of webhooks that keeps the alerts.
type alertReceiver struct {
	mu     sync.Mutex
	alerts []string // status and summary of each
}

// serveAlerts runs a receiver at an address that gateways of the site reach, and returns its
// URL.
func serveAlerts(t *testing.T, host string) (r *alertReceiver, url string) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	r = &alertReceiver{}
	go func() { _ = http.Serve(ln, r) }() // until ln is closed
	return r, "http://" + ln.Addr().String()
}

// ServeHTTP implements http.Handler.
func (r *alertReceiver) ServeHTTP(_ http.ResponseWriter, q *http.Request) {
	var m struct {
		Status            string
		CommonAnnotations map[string]string
	}
	if err := json.NewDecoder(q.Body).Decode(&m); err != nil {
		m.Status = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alerts = append(r.alerts, m.Status+": "+m.CommonAnnotations["summary"])
}

// all returns the alerts so far.
func (r *alertReceiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.alerts...)
}

// The traffic of TestSiteAlertsOnce: logins a second that are usual at the whole site, and
// those of an attack on it. Each gateway sees a third.
const (
	usualLogins   = 2
	attackLogins  = 10 * usualLogins
	afterTheAlert = 8 // seconds of attack
)

// alertPatience is how long the alert may take. It comes after 50 to 70 s, by the ticks of the
// detector.
const alertPatience = 5 * time.Minute

// TestSiteAlertsOnce: an attack that all gateways of a site see causes one alert and one
// incident, and one gateway publishes it.
func TestSiteAlertsOnce(t *testing.T) {
	t.Parallel()
	s := prepareSite(t, 3, siteAccounts())
	receiver, url := serveAlerts(t, s.network.addr(mailHost))
	for _, g := range s.gateways {
		g.set(t, "WEBHOOK_URL", url, "STATUS_DIR", filepath.Join(g.dir, "status"), "STATUS_HOLD", "1s", "STATUS_NAME", "Test Mail")
		g.assumeUsual(t)
		g.start(t)
	}
	s.awaitShared(t)
	attack := startLoad(t, attackLogins, 24, func(i int) string {
		source := netip.AddrFrom4([4]byte{127, byte(100 + i%100), byte(i / 100), 1})
		_ = logInAndOut(s.dialers[i%3][1], source, loginAccount(i), "wrong")
		return outcomeOK
	})
	testbed.Await(t, alertPatience, "the alert", func() bool { return len(receiver.all()) > 0 })
	t.Logf("alert %v after the attack began", time.Since(attack.begin).Round(time.Second))
	var published []int
	await(t, "the status page", func() bool {
		published = nil
		for i, g := range s.gateways {
			if text, err := os.ReadFile(filepath.Join(g.dir, "status", "summary.json")); err == nil && strings.Contains(string(text), "incident_updates") {
				published = append(published, i)
			}
		}
		return len(published) > 0
	})
	attack.awaitCount(t, attack.count()+afterTheAlert*attackLogins)
	for i, g := range s.gateways {
		await(t, fmt.Sprintf("the incident at gateway %d", i), func() bool {
			_, text := g.command(t, "incident", "list")
			return strings.Count(text, "attack") == 1
		})
	}
	if alerts := receiver.all(); len(alerts) != 1 || !strings.HasPrefix(alerts[0], "firing: Attack on logins") {
		t.Errorf("got %d alerts, want one: %q", len(alerts), alerts)
	}
	if len(published) != 1 {
		t.Errorf("gateways %v have published the incident, want one", published)
	}
}

// assumeUsual writes what the detector of a gateway would have learned in some weeks.
func (s *supervisor) assumeUsual(t *testing.T) {
	t.Helper()
	c, err := config.Load(s.environ)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	err = daemon.Seed(&c, eventlog.New(io.Discard, "text", c.Log.SlogLevel()), func(key limiter.Key, detectorKey [16]byte) (known, learned []byte, err error) {
		l, err := limiter.New(c.Limits.Policy(c.Tarpit.Max), key)
		if err != nil {
			return nil, nil, err
		}
		w := watch.New(watch.Config{Location: time.Local, Key: detectorKey})
		w.Assume(now, watch.Signals{Logins: 60 * usualLogins, Suspects: usualLogins, Networks: usualLogins})
		return l.Snapshot(now), w.Snapshot(now), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSiteBlocksEverywhere: a block at one gateway is enforced at all, and closes the
// connections that are open there at once.
func TestSiteBlocksEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, siteAccounts())
	source := netip.MustParseAddr("192.0.2.9")
	session, err := s.dialers[1][1].Dial(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if answer, err := session.Login(loginAccount(0), loginSecret, client.Login); err != nil || answer != client.Accepted {
		t.Fatalf("answer %d, %v", answer, err)
	}
	if code, text := s.gateways[0].command(t, "block", source.String(), "-force"); code != exitOK {
		t.Fatalf("block: exit %d\n%s", code, text)
	}
	decided := time.Now()
	await(t, "the end of the connection at the other gateway", func() bool { return session.Noop() != nil })
	took := time.Since(decided).Round(time.Millisecond)
	t.Logf("closed after %v", took)
	if took > time.Second {
		t.Errorf("closed after %v, want at most 1 s", took)
	}
	if _, err := s.dialers[1][1].Dial(t.Context(), source); err == nil {
		t.Error("the other gateway lets the blocked client in")
	}
	if code, text := s.gateways[1].command(t, "release", source.String()); code != exitOK {
		t.Fatalf("release: exit %d\n%s", code, text)
	}
	await(t, "the end of the block at the first gateway", func() bool {
		session, err := s.dialers[0][1].Dial(t.Context(), source)
		if err == nil {
			session.Close()
		}
		return err == nil
	})
}
