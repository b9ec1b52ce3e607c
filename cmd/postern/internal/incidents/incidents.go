// Package incidents connects the attack detector to the people who must know
// about it. It calls the detector's clock tick, saves what the detector has
// learned, writes every incident to disk before it notifies anybody, sends
// alerts to Alertmanager and to webhooks, writes the public status page, and
// creates reports.
//
// Slow receivers and a full disk never delay a login: the connection path only
// updates counters.
//
// At an upgrade the next process takes all of this over (Manager.Export,
// Config.Former), with the evidence of the last seconds and what was delivered to
// which receiver, so that no alert is lost or repeated. Processes that still have
// sessions forward what they observe to it (Manager.Forward, Manager.Observe). How
// the export and the observations get there is not decided here.
//
// The gateways of a site share the counts of each tick, the events of incidents and
// what was sent to people (Config.Share, Manager.Receive). One of them leads
// (Manager.Lead): it alone alerts and writes the status page. All keep the same
// incidents, execute commands, and can become the leader at any time without repeating
// an alert. Package sharing transports the records and chooses the leader.
//
// What an attack is and how an incident proceeds is decided in
// postern/limiter/watch and postern/limiter/watch/incident.
package incidents

import (
	"cmp"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"postern/limiter/share"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// Config configures a Manager. Only Location, Log and Components are required.
type Config struct {
	Dir      string         // state directory; if empty, nothing is kept after a restart
	Key      [16]byte       // secret of this installation, for the detector
	Location *time.Location // time zone of the users
	Host     string         // name of this gateway in alerts
	Log      *slog.Logger

	Alertmanager *url.URL
	Webhooks     []*url.URL

	StatusDir  string             // directory of the status page; if empty, none is written
	Name       string             // name of the service, as its users know it
	URL        string             // where StatusDir is served
	Hold       time.Duration      // delay from detection until an incident becomes public
	Components func() []Component // current state of the parts of the service

	// Former is what the process that hands over has exported; see Manager.Export.
	// Then the state that Dir holds is not read. Nil if there is no such process.
	Former []byte

	// Tighten is called after each tick with whether the limits for strangers
	// are to be tightened. It may be nil.
	Tighten func(bool)

	// Share publishes a record, which the other gateways of the site Receive. It must
	// not block and must not call the Manager. It is nil if there are no other gateways.
	Share func(kind share.RecordType, data []byte)
}

// Component is a part of the service as users know it, such as IMAP.
type Component struct {
	Name string
	Down bool // unavailable to all users
}

// Manager runs the detector and handles its incidents. Its methods are safe for
// concurrent use.
type Manager struct {
	config    Config
	store     store
	watch     *watch.Watch
	history   *report.History
	incidents *incident.Log
	receivers []*receiver
	changed   chan struct{} // wakes the goroutine that writes the status page

	forwarding sync.RWMutex      // held for reading while an observation is added
	forward    func(Observation) // nil: to the detector

	writing    sync.Mutex // held while files of the state directory are written
	running    bool       // Run has not returned
	handedOver bool       // Export was called, and Run not again

	mu            sync.Mutex
	state         watch.State
	follows       bool           // another gateway leads
	notifications []notification // oldest first
	stats         Stats
	failures      map[string]failure // operations that fail now, by name
	saved         time.Time          // when the detector's snapshot was last saved
}

// New returns a Manager with the state that Dir holds, or with that of
// Config.Former. Lines of Dir that cannot be read are skipped and logged. New fails
// only if the directory or Former cannot be used.
//
// With Former, New changes nothing outside of m: the process may still be refused,
// and the former one goes on.
func New(t time.Time, c Config) (*Manager, error) {
	m := &Manager{
		config: c, store: store{c.Dir}, history: report.NewHistory(), failures: map[string]failure{}, saved: t, changed: make(chan struct{}, 1),
		watch: watch.New(watch.Config{Location: c.Location, Key: c.Key}), receivers: newReceivers(c),
	}
	m.config.Former = nil
	if c.Former != nil {
		if err := m.store.check(); err != nil {
			return nil, err
		}
		return m, m.load(t, c.Former)
	}
	if err := m.store.open(); err != nil {
		return nil, err
	}
	for _, load := range []func(time.Time) error{m.loadIncidents, m.loadNotifications, m.loadHistory, m.loadSnapshot} {
		if err := load(t); err != nil {
			return nil, err
		}
	}
	m.state = m.watch.Tick(t).State
	return m, nil
}

// noAutoPublish is a hold that outlasts every incident.
const noAutoPublish = 100 * 365 * 24 * time.Hour

// hold is the delay until an incident becomes public. Without a status page no
// incident becomes public by itself, and no report states that it did.
func (m *Manager) hold() time.Duration {
	if m.config.StatusDir == "" {
		return noAutoPublish
	}
	return m.config.Hold
}

// loadIncidents replays the events of all incidents.
func (m *Manager) loadIncidents(time.Time) error {
	data, err := m.store.read(incidentsFile)
	if err != nil {
		return err
	}
	var found incident.Replayed
	m.incidents, found = incident.Replay(data, m.hold())
	m.logSkipped(incidentsFile, len(found.Bad))
	return nil
}

// loadNotifications reads what was sent and published before.
func (m *Manager) loadNotifications(time.Time) error {
	data, err := m.store.read(notificationsFile)
	if err != nil {
		return err
	}
	skipped := parseLines(data, func(n notification) { m.notifications = append(m.notifications, n) })
	m.logSkipped(notificationsFile, skipped)
	slices.SortStableFunc(m.notifications, func(a, b notification) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	return nil
}

// loadHistory reads the counts of past minutes and hours.
func (m *Manager) loadHistory(t time.Time) error {
	skipped, err := m.store.loadHistory(t, m.history)
	m.logSkipped(historyDir, skipped)
	return err
}

// loadSnapshot restores what the detector had learned. A snapshot that cannot be
// used does not prevent the start: the detector then learns from scratch, which
// takes a week.
func (m *Manager) loadSnapshot(t time.Time) error {
	data, err := m.store.read(SnapshotFile)
	if err != nil || len(data) == 0 {
		return err
	}
	if err := m.watch.Restore(t, data); err != nil {
		m.config.Log.Error("detector snapshot unusable: learning from scratch",
			slog.String("event", "watch"), slog.String("file", SnapshotFile), slog.String("error", err.Error()))
	}
	return nil
}

// Merge merges what was learned elsewhere, a snapshot of a watch, with what the detector has learned, and saves it. It
// returns the share of the week that is learned then.
func (m *Manager) Merge(t time.Time, snapshot []byte) (week float64, err error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.handedOver {
		return 0, errHandedOver
	}
	if err := m.watch.Merge(t, snapshot); err != nil {
		return 0, err
	}
	m.saveSnapshot(t)
	return m.watch.Learned(t), nil
}

// logSkipped logs that lines of a file were skipped.
func (m *Manager) logSkipped(file string, n int) {
	if n > 0 {
		m.config.Log.Warn("unreadable lines skipped", slog.String("event", "watch"), slog.String("file", file), slog.Int("lines", n))
	}
}

// Attempt reports an attempt that was settled at time t to the detector.
func (m *Manager) Attempt(t time.Time, a watch.Attempt) {
	m.Observe(t, Observation{kind: observedAttempt, attempt: a})
}

// Opened reports a session that began at time t to the detector.
func (m *Manager) Opened(t time.Time) { m.Observe(t, Observation{kind: observedOpened}) }

// Held reports a connection that held a place without an attempt to the detector; see
// [watch.Watch.Held].
func (m *Manager) Held(t time.Time, source, network netip.Prefix) {
	m.Observe(t, Observation{kind: observedHeld, attempt: watch.Attempt{Source: source, Network: network}})
}

// Closed reports a session that ended at time t to the detector.
func (m *Manager) Closed(t time.Time) { m.Observe(t, Observation{kind: observedClosed}) }
