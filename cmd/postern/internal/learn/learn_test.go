package learn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/cmd/postern/internal/loginlog"
	"postern/limiter"
	"postern/limiter/watch"
)

// now is when the logs of these tests are read, on a Friday.
var now = time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)

// site generates the log of a site whose users log in rate times a second at the peak, from start to end. From attack on,
// for two hours, strangers with wrong passwords make it ten times as many.
type site struct {
	at, end time.Time
	attack  time.Time
	rate    float64
	random  *rand.Rand
}

// newSite returns a log of the days before now.
func newSite(days int, rate float64) *site {
	return &site{at: now.AddDate(0, 0, -days), end: now, rate: rate, random: rand.New(rand.NewPCG(1, 2))}
}

// users is how many users a site has.
const users = 400

// userEvent is a login of user i.
func userEvent(at time.Time, i int) loginlog.Event {
	return loginlog.Event{At: at, Addr: netip.AddrFrom4([4]byte{10, byte(i / 100), byte(i % 100), 1}), Account: fmt.Sprint("user", i), Attempts: 1}
}

// denied is a try at the account of a user from one of very many networks.
func denied(at time.Time, random *rand.Rand) loginlog.Event {
	n := random.IntN(1 << 22)
	return loginlog.Event{
		At: at, Addr: netip.AddrFrom4([4]byte{128 + byte(n>>16), byte(n >> 8), byte(n), 9}), Account: fmt.Sprint("user", random.IntN(users)),
		Outcome: loginlog.Denied, Attempts: 1,
	}
}

// Next returns the next event.
func (s *site) Next() (loginlog.Event, error) {
	rate, bots := s.rate*(.4+.6*float64((s.at.Hour()+6)%24)/24), .03*s.rate
	if !s.attack.IsZero() && !s.at.Before(s.attack) && s.at.Before(s.attack.Add(2*time.Hour)) {
		bots = 9 * s.rate
	}
	s.at = s.at.Add(time.Duration(s.random.ExpFloat64() / (rate + bots) * float64(time.Second)))
	switch {
	case s.at.After(s.end):
		return loginlog.Event{}, io.EOF
	case s.random.Float64() < bots/(rate+bots):
		return denied(s.at, s.random), nil
	}
	return userEvent(s.at, s.random.IntN(users)), nil
}

// options are those of a gateway with the usual limits.
func options() Options {
	return Options{Now: now, Location: time.UTC, Key: limiter.Key{1}, WatchKey: [16]byte{2}, Policy: limiter.Policy{
		KnownTTL: 720 * time.Hour, KnownShare: 80, Global: limiter.Rate{Tokens: 20, Per: time.Second}, TableMax: 10_000,
	}}
}

// replayed returns what a replay learns.
func replayed(t *testing.T, next func() (loginlog.Event, error), o Options) *Result {
	t.Helper()
	r, err := Replay(next, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newGateway returns the limiter and the watch of a new gateway that has merged r.
func newGateway(t *testing.T, r *Result, o Options) (*limiter.Limiter, *watch.Watch) {
	t.Helper()
	l, err := limiter.New(o.Policy, o.Key)
	if err != nil {
		t.Fatal(err)
	}
	w := watch.New(watch.Config{Location: o.Location, Key: o.WatchKey})
	if err := errors.Join(l.Merge(o.Now, r.Known), w.Merge(o.Now, r.Watch)); err != nil {
		t.Fatal(err)
	}
	return l, w
}

func maxTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// report reports an event to w as a gateway does.
func report(w *watch.Watch, e loginlog.Event) {
	accepted := e.Outcome == loginlog.Accepted
	w.Attempt(e.At, watch.Attempt{
		Source: limiter.Source(e.Addr), Network: limiter.Network(e.Addr), Account: e.Account, Known: accepted, Usual: accepted, Outcome: outcome(e.Outcome),
	})
}

// TestLearnsHabits: an account that logs in often by the log is not abused when it does so after learning.
func TestLearnsHabits(t *testing.T) {
	o := options()
	log := list{err: io.EOF}
	for at := now.AddDate(0, 0, -2); at.Before(now); at = at.Add(time.Minute) {
		log.events = append(log.events, userEvent(at, 1))
	}
	_, w := newGateway(t, replayed(t, log.Next, o), o)
	for i := range 100 {
		e := userEvent(now.Add(time.Duration(i)*30*time.Second), 1)
		w.Attempt(e.At, watch.Attempt{Source: limiter.Source(e.Addr), Network: limiter.Network(e.Addr), Account: e.Account, Known: true, Outcome: watch.Accepted})
	}
	if s := w.Tick(now.Add(51 * time.Minute)).State; s.Abused != 0 {
		t.Errorf("got %d abused accounts for twice as many logins as the log has, want none", s.Abused)
	}
}

// TestShortLogDoesNotReserve: from a log of less than a day accounts are learned, and nothing is reserved.
func TestShortLogDoesNotReserve(t *testing.T) {
	o := options()
	s := newSite(10, 1)
	s.end = s.at.Add(20 * time.Hour)
	r := replayed(t, s.Next, o)
	if l, _ := newGateway(t, r, o); r.Summary.Reserve || l.Stats(now).Learned || l.Stats(now).Known != users {
		t.Errorf("got %+v, %+v", r.Summary, l.Stats(now))
	}
}

// list has events, and an error after the last.
type list struct {
	events []loginlog.Event
	err    error
}

func (l *list) Next() (loginlog.Event, error) {
	if len(l.events) == 0 {
		return loginlog.Event{}, l.err
	}
	e := l.events[0]
	l.events = l.events[1:]
	return e, nil
}

// TestLeavesOut what is too old, exempt, or out of order.
func TestLeavesOut(t *testing.T) {
	o := options()
	o.Since = 100 * time.Hour
	o.Exempt = func(a netip.Addr) bool { return a == userEvent(now, 7).Addr }
	hour := func(h int) time.Time { return now.Add(time.Duration(h) * time.Hour) }
	r := replayed(t, (&list{[]loginlog.Event{
		userEvent(hour(-101), 1), userEvent(hour(-99), 2), userEvent(hour(-50), 3), userEvent(hour(-60), 4), userEvent(hour(-49), 7),
		{At: hour(-48), Addr: userEvent(now, 8).Addr, Outcome: loginlog.Accepted, Attempts: 1}, // a name that was cut
		{At: hour(-48), Addr: userEvent(now, 3).Addr, Account: "user3", Outcome: loginlog.Denied, Attempts: 3},
		{At: hour(-48), Addr: userEvent(now, 3).Addr, Account: "user3", Outcome: loginlog.Fault, Attempts: 1},
		userEvent(now.Add(time.Minute), 9), // by another clock
	}, io.EOF}).Next, o)
	s := r.Summary
	if s.Old != 1 || s.Exempt != 1 || s.Late != 1 || s.Accepted != 5 || s.Denied != 3 || s.Faults != 1 || s.Accounts != 4 || s.Networks != 5 {
		t.Errorf("got %+v", s)
	}
	if !s.First.Equal(hour(-99)) || !s.Last.Equal(now) {
		t.Errorf("got %v to %v", s.First, s.Last)
	}
}

// TestErrors are passed on.
func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Replay((&list{err: broken}).Next, options(), nil); err != broken {
		t.Errorf("got %v", err)
	}
	o := options()
	o.Policy.TableMax = 0
	if _, err := Replay((&list{err: io.EOF}).Next, o, nil); err == nil {
		t.Error("a wrong policy is accepted")
	}
	r := replayed(t, (&list{err: io.EOF}).Next, options())
	if s := r.Summary; s != (Summary{}) {
		t.Errorf("of nothing: got %+v", s)
	}
}

// BenchmarkLearn learns from a week of a log in which every line is a login or a denial, from the file to the snapshots.
func BenchmarkLearn(b *testing.B) {
	var log bytes.Buffer
	lines := 0
	for events := newSite(7, 2); ; lines++ {
		e, err := events.Next()
		if err != nil {
			break
		}
		head := "Login: "
		if e.Outcome == loginlog.Denied {
			head = "Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): "
		}
		fmt.Fprintf(&log, "%s mail dovecot: imap-login: %suser=<%s>, method=PLAIN, rip=%v, lip=198.51.100.2, mpid=%d, TLS, session=<qdcdmUJhBrl/AAAB>\n",
			e.At.Format(time.Stamp), head, e.Account, e.Addr, lines)
	}
	path := filepath.Join(b.TempDir(), "log")
	if err := os.WriteFile(path, log.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	log = bytes.Buffer{}
	b.ReportAllocs()
	for b.Loop() {
		r, err := loginlog.Open([]string{path}, loginlog.Options{Now: now})
		if err != nil {
			b.Fatal(err)
		}
		result, err := Replay(r.Next, options(), nil)
		if err != nil {
			b.Fatal(err)
		}
		if got := result.Summary.Accepted + result.Summary.Denied; got != lines {
			b.Fatalf("got %d events of %d lines", got, lines)
		}
		r.Close()
	}
	b.ReportMetric(float64(lines*b.N)/b.Elapsed().Seconds(), "lines/s")
}
