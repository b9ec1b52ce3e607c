package notices

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/notify"
	"postern/cmd/postern/internal/testbed"
)

// receiver is a webhook that answers with code and keeps what it gets.
type receiver struct {
	code int
	got  []notify.NoticeBatch
	ids  []string // of the requests
}

// newReceiver starts a receiver and returns its URL.
func newReceiver(t *testing.T) (*receiver, *url.URL) {
	t.Helper()
	r := &receiver{code: http.StatusNoContent}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var b notify.NoticeBatch
		if err := json.NewDecoder(req.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		r.got, r.ids = append(r.got, b), append(r.ids, req.Header.Get("webhook-id"))
		w.WriteHeader(r.code)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return r, u
}

// fill adds n notices at a time.
func fill(m *Manager, at time.Time, n int) {
	for i := range n {
		m.queue.add(m.newNotice(at, notify.NewCountry, Attempt{Addr: brazil, Account: fmt.Sprint("user", i)}))
	}
}

// TestDeliversInBatches: the first request at once, each has a hundred notices at most, and
// two are half a minute apart.
func TestDeliversInBatches(t *testing.T) {
	r, u := newReceiver(t)
	m, _ := newManager(t, func(c *Config) { c.URL = u })
	fill(m, noon, 250)
	for i := range 100 {
		m.work(t.Context(), noon.Add(time.Duration(i)*time.Second))
	}
	if len(r.got) != 3 || len(r.got[0].Notices) != 100 || len(r.got[2].Notices) != 50 || r.got[1].Notices[0].Account != "user100" {
		t.Errorf("got %d batches, want 100, 100 and 50 notices in order", len(r.got))
	}
	if s := m.Stats(); s.Delivered != 3 || s.Queued != 0 || s.Dropped != 0 || s.Made[notify.NewCountry] != 250 {
		t.Errorf("got %+v", s)
	}
}

// TestRetries: a request that fails is repeated with the same ID and content, later each
// time, and the log says so once.
func TestRetries(t *testing.T) {
	r, u := newReceiver(t)
	m, log := newManager(t, func(c *Config) { c.URL = u })
	r.code = http.StatusServiceUnavailable
	fill(m, noon, 1)
	m.work(t.Context(), noon)
	fill(m, noon, 1)
	for i := range 600 {
		m.work(t.Context(), noon.Add(time.Duration(i)*time.Second))
	}
	if len(r.got) != 6 { // at 0, 10, 30, 70, 150 and 310 s
		t.Errorf("got %d requests in ten minutes, want 6", len(r.got))
	}
	r.code = http.StatusOK
	m.work(t.Context(), noon.Add(time.Hour))
	m.work(t.Context(), noon.Add(2*time.Hour))
	last := len(r.got) - 1
	if r.ids[0] != r.ids[last-1] || r.ids[last] == r.ids[0] || len(r.got[last-1].Notices) != 1 || r.got[0].Notices[0].ID != r.got[last-1].Notices[0].ID {
		t.Errorf("got the IDs %q, want one for all tries and another for the next batch", r.ids)
	}
	if strings.Count(log.String(), "level=WARN") != 1 || strings.Count(log.String(), "works again") != 1 {
		t.Errorf("got\n%s\nwant one warning and its end", log)
	}
}

// TestQueueIsBounded: what does not fit, or waits for a day, is counted as lost, also to the
// receiver.
func TestQueueIsBounded(t *testing.T) {
	r, u := newReceiver(t)
	m, _ := newManager(t, func(c *Config) { c.URL = u })
	fill(m, noon, 10)
	fill(m, noon.Add(time.Hour), queueMax)
	m.work(t.Context(), noon.Add(24*time.Hour+time.Minute))
	if s := m.Stats(); s.Dropped != 20 || s.Queued != queueMax-10-batchMax || r.got[0].Dropped != 20 {
		t.Errorf("got %+v and %d dropped in the request, want 20", s, r.got[0].Dropped)
	}
	m.work(t.Context(), noon.Add(24*time.Hour+2*time.Minute))
	if r.got[1].Dropped != 0 {
		t.Errorf("got %d dropped in the next request, want none", r.got[1].Dropped)
	}
}

// TestStateSurvives a restart or an upgrade: what was learned of accounts and old passwords,
// and the notices that wait. What a process finds after that it delivers itself.
func TestStateSurvives(t *testing.T) {
	r, u := newReceiver(t)
	path := filepath.Join(t.TempDir(), "notices")
	change := func(c *Config) { c.URL, c.Path = u, path }
	m, _ := newManager(t, change)
	at := time.Now().Add(-25 * time.Hour)
	m.Attempt(at, accept(norway))
	for i := range 2 {
		m.Attempt(at.Add(time.Duration(i)*time.Hour), Attempt{Addr: brazil, Account: "bert", Denied: true, Former: true})
	}
	fill(m, time.Now(), 1)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	m.Run(stopped)
	if len(r.got) != 0 {
		t.Fatalf("got %d requests after the end", len(r.got))
	}
	fill(m, time.Now(), 150)
	m.Flush(t.Context())
	if len(r.got) != 2 || len(r.got[0].Notices) != 100 || len(r.got[1].Notices) != 50 {
		t.Errorf("got %d requests of a process that has handed over, want two with what it found since", len(r.got))
	}

	next, _ := newManager(t, change)
	now := time.Now()
	next.Attempt(now, accept(brazil))
	next.Attempt(now, Attempt{Addr: brazil, Account: "bert", Denied: true, Former: true})
	next.want(t, notify.NewCountry, notify.NewCountry, notify.OldPassword)
	if n := next.queue.all()[2]; n.Tries != 3 || n.First.Unix() != at.Unix() {
		t.Errorf("got %+v, want the third try since %v", n, at)
	}
}

// TestDamagedState is set aside, and says why.
func TestDamagedState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notices")
	m, _ := newManager(t, func(c *Config) { c.Path = path })
	m.Attempt(noon, accept(norway))
	fill(m, noon, 1)
	m.save(noon)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(good), "anna") {
		t.Error("the file has the name of an account without a notice")
	}
	files := map[string][]byte{"empty": {}, "another file": []byte("postern known 1\n and more"), "another octet": append(good[:len(good)-9:len(good)-9], "123456789"...)}
	for i := range good {
		files[fmt.Sprint("cut at ", i)] = good[:i]
	}
	for name, data := range files {
		if err := m.decode(data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(noon, Config{Path: path, Key: [32]byte{2}}); err == nil || !strings.Contains(err.Error(), "another install key") {
		t.Errorf("another key: got %v", err)
	}
	if left, err := os.ReadFile(path + ".damaged"); err != nil || string(left) != string(good) {
		t.Errorf("got %v, want the file set aside", err)
	}
}

// TestUnwritableState is logged, and a process that hands over then delivers by itself.
func TestUnwritableState(t *testing.T) {
	m, log := newManager(t, func(c *Config) { c.Path = filepath.Join(t.TempDir(), "none", "notices") })
	fill(m, noon, 3)
	if n := m.save(noon); n != 0 {
		t.Errorf("got %d notices that another process has, want 0", n)
	}
	log.Await(t, "event=notice", "cannot save login notices")
}

// BenchmarkAccepted measures what an accepted login costs.
func BenchmarkAccepted(b *testing.B) {
	m, err := New(noon, Config{Key: [32]byte{1}, Kinds: notify.NoticeKinds(), Max: 500_000, Log: eventlog.New(testbed.NewLog(), "text", 0).Logger})
	if err != nil {
		b.Fatal(err)
	}
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint("user", i, "@example.org")
	}
	addr := netip.MustParseAddr("192.0.2.7")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Attempt(noon, Attempt{Addr: addr, Account: names[i%len(names)], Accepted: true, Usual: true})
	}
}
