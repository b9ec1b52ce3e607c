// Package lookout keeps a watch over the gate's logins and speaks for it. It
// gives the watch its clock and its memory, writes down every incident before
// anybody is told, tells people through Alertmanager and webhooks, tells the
// public through a folder of files, and draws up reports.
//
// Whatever happens on the way out, slow receivers or a full disk, never holds
// up a login: the connection path only counts.
package incidents

import (
	"cmp"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"postern/cmd/postern/internal/statuspage"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// Config is what a Lookout must know. Only Location, Log and Parts are
// required.
type Config struct {
	Dir      string         // where state is kept; empty forgets it at the end
	Key      [16]byte       // of this installation, for the watch
	Location *time.Location // of the users
	Host     string         // of this gate, to tell it from others in alerts
	Log      *slog.Logger

	Alertmanager *url.URL
	Webhooks     []*url.URL

	StatusDir string        // where the public's page is written; empty writes none
	Name      string        // of the service, as users know it
	URL       string        // where StatusDir is served
	Hold      time.Duration // from when an incident is detected until it is published
	Parts     func() []Part // how the parts of the service are now

	// Tighten is told at each tick whether strangers are to be held more
	// tightly; it may be nil.
	Tighten func(bool)
}

// Part is a part of the service that users can tell apart.
type Part struct {
	Name string
	Down bool // nobody can use it
}

// Lookout is a watch that is kept. Its methods may be called from several
// goroutines.
type Lookout struct {
	config    Config
	keep      keeper
	watch     *watch.Watch
	history   *report.History
	incidents *incident.Log
	targets   []*target
	news      chan struct{} // for the page

	writing sync.Mutex // orders what goes into the files

	mu     sync.Mutex
	state  watch.State
	ledger []told // all that was told, the oldest first
	stats  Stats
	wrong  map[string]fault // what does not work now, by what it is
	minute time.Time        // when state was last kept
}

// fault is something that has not worked since a time.
type fault struct {
	since time.Time
	err   error
}

// New reads what Dir holds. A file with lines that cannot be read is used
// without them; only a folder that cannot be used is an error.
func New(t time.Time, c Config) (*Lookout, error) {
	l := &Lookout{
		config: c, keep: keeper{c.Dir}, history: report.NewHistory(), wrong: map[string]fault{}, minute: t, news: make(chan struct{}, 1),
		watch: watch.New(watch.Config{Location: c.Location, Key: c.Key}),
	}
	if err := l.keep.open(); err != nil {
		return nil, err
	}
	for _, step := range []func(time.Time) error{l.recallIncidents, l.recallTold, l.recallHistory, l.recallLearned} {
		if err := step(t); err != nil {
			return nil, err
		}
	}
	l.targets = targets(c)
	l.state = l.watch.Tick(t).State
	return l, nil
}

// never is longer than any incident.
const never = 100 * 365 * 24 * time.Hour

// recallIncidents makes the incidents what their events say.
func (l *Lookout) recallIncidents(time.Time) error {
	data, err := l.keep.read(incidentsFile)
	if err != nil {
		return err
	}
	var found incident.Replayed
	hold := l.config.Hold
	if l.config.StatusDir == "" {
		hold = never // nobody would read it, and the report must not say so
	}
	l.incidents, found = incident.Replay(data, hold)
	l.complain(incidentsFile, len(found.Bad))
	return nil
}

// recallTold reads what was told.
func (l *Lookout) recallTold(time.Time) error {
	data, err := l.keep.read(toldFile)
	if err != nil {
		return err
	}
	l.complain(toldFile, lines(data, func(entry told) { l.ledger = append(l.ledger, entry) }))
	slices.SortStableFunc(l.ledger, func(a, b told) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	return nil
}

// recallHistory reads the minutes and hours.
func (l *Lookout) recallHistory(t time.Time) error {
	bad, err := l.keep.history(t, l.history)
	l.complain(historyDir, bad)
	return err
}

// recallLearned gives the watch what it had learned. A snapshot that cannot be
// used costs a week of learning and not the start.
func (l *Lookout) recallLearned(t time.Time) error {
	data, err := l.keep.read(LearnedFile)
	if err != nil || len(data) == 0 {
		return err
	}
	if err := l.watch.Restore(t, data); err != nil {
		l.config.Log.Error("what was learned cannot be used, learning anew", slog.String("event", "watch"), slog.String("error", err.Error()))
	}
	return nil
}

// complain logs that lines of a file were left out.
func (l *Lookout) complain(file string, bad int) {
	if bad > 0 {
		l.config.Log.Warn("lines that cannot be read left out", slog.String("event", "watch"), slog.String("file", file), slog.Int("lines", bad))
	}
}

// Attempt tells of an attempt that was settled at time t.
func (l *Lookout) Attempt(t time.Time, a watch.Attempt) { l.watch.Attempt(t, a) }

// Opened tells that a session began at time t.
func (l *Lookout) Opened(t time.Time) { l.watch.Opened(t) }

// Closed tells that a session ended at time t.
func (l *Lookout) Closed(t time.Time) { l.watch.Closed(t) }

// State is what the watch saw at its last tick.
func (l *Lookout) State() watch.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Open returns the incident that goes on, if one does.
func (l *Lookout) Open() (incident.Incident, bool) { return l.incidents.Open() }

// All returns the incidents that are remembered, the latest first.
func (l *Lookout) All() []incident.Incident { return l.incidents.All() }

// Find returns the incident with this ID; the latest one if id is empty.
func (l *Lookout) Find(id string) (incident.Incident, bool) { return l.incidents.Find(id) }

// Recent counts attempts of late.
type Recent struct {
	Accepted, Denied, Refused, Void int
	Expected                        float64 // attempts that are usual in such a time
}

// Lately counts the attempts of the whole minutes within d before t.
func (l *Lookout) Lately(t time.Time, d time.Duration) (r Recent) {
	end := t.Truncate(time.Minute)
	for _, m := range l.history.Minutes(end.Add(-d), end) {
		for _, tally := range []watch.Tally{m.Known, m.Stranger} {
			r.Accepted += tally.Accepted
			r.Denied += tally.Denied + tally.Repeat
			r.Refused += tally.Refused()
			r.Void += tally.Gone + tally.Fault
		}
		r.Expected += m.Expected.Logins
	}
	return r
}

// Stats counts what a Lookout did since its start.
type Stats struct {
	Sent      map[string]Deliveries // by channel
	Published Deliveries            // of the status page
	Written   time.Time             // when the status page was last good
	Incidents map[watch.Class]uint64
}

// Deliveries counts what arrived and what did not.
type Deliveries struct{ OK, Failed uint64 }

// Channels are the kinds of targets, the keys of Stats.Sent.
var Channels = []string{"alertmanager", "webhook"}

// Stats returns what was done so far.
func (l *Lookout) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Sent, s.Incidents = map[string]Deliveries{}, map[watch.Class]uint64{}
	for _, channel := range Channels {
		s.Sent[channel] = l.stats.Sent[channel]
	}
	for class, n := range l.stats.Incidents {
		s.Incidents[class] = n
	}
	return s
}

// patience is how long something may not work until it is worth a word.
const patience = 2 * time.Minute

// Untold names what could not be told or kept for a while, at time t, and why.
func (l *Lookout) Untold(t time.Time) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, f := range l.wrong {
		if t.Sub(f.since) >= patience {
			all = append(all, what+": "+f.err.Error())
		}
	}
	slices.Sort(all)
	return all
}

// note remembers whether something works, and logs when that changes.
func (l *Lookout) note(t time.Time, what string, err error) {
	l.mu.Lock()
	_, was := l.wrong[what]
	switch {
	case err == nil:
		delete(l.wrong, what)
	case !was:
		l.wrong[what] = fault{t, err}
	default:
		l.wrong[what] = fault{l.wrong[what].since, err}
	}
	l.mu.Unlock()
	switch {
	case err != nil && !was:
		l.config.Log.Warn(what+" does not work", slog.String("event", "watch"), slog.String("error", err.Error()))
	case err == nil && was:
		l.config.Log.Info(what+" works again", slog.String("event", "watch"))
	}
}

// forget drops what is remembered to be wrong with a receiver that is to be
// told nothing any more.
func (l *Lookout) forget(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wrong, what)
}

// health is the state of a component for the public's page.
func (p Part) health(trouble statuspage.Impact) statuspage.Health {
	if p.Down {
		return statuspage.Major
	}
	return map[statuspage.Impact]statuspage.Health{
		statuspage.ImpactNone: statuspage.Operational, statuspage.ImpactMinor: statuspage.Degraded,
		statuspage.ImpactMajor: statuspage.Partial, statuspage.ImpactCritical: statuspage.Major,
	}[trouble]
}
