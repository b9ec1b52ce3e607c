package watch

import (
	"net/netip"
	"sync"
	"time"
)

// tick is the time between two evaluations of the counts.
const tick = 10 * time.Second

// gap is the longest time without a call after which ticks are still evaluated. A longer one is taken for a suspended
// machine: then nothing is known about these ticks.
const gap = time.Minute

// Config configures a [Watch].
type Config struct {
	// Location is the time zone of the users; nil is UTC. People live by local time, so the baseline is kept by local time,
	// and daylight saving makes no difference.
	Location *time.Location

	// Key is a secret of this installation, the same after each restart. Without it attackers could choose addresses that
	// count as one.
	Key [16]byte
}

// A Watch counts attempts and sessions, learns the usual rates, and reports deviations. It is safe for concurrent use.
// Times should not run backwards; a time before the latest one counts as the latest.
type Watch struct {
	mu       sync.Mutex
	location *time.Location
	hash     hasher
	own      *gatewayTick // for TakeTick; nil if nobody calls it
	ended    bool         // own has a tick that is over
	content
}

// content is everything in a Watch that its configuration does not determine.
type content struct {
	latest   time.Time
	started  time.Time // start of the current tick; zero before the first
	counts   counts    // of this gateway
	before   counts    // of this gateway in the tick before, if there are other gateways
	others   counts    // of the other gateways, added in the current tick
	lagging  bool      // before has a tick
	site     site
	guesses  guesses
	detector *detector
	hours    *collector
	habits   habits
	spray    slowSpray
	minute   Minute  // the current one, without the current tick
	out      Reading // for the next call of Tick
}

// New returns a Watch that has learned nothing.
func New(c Config) *Watch {
	if c.Location == nil {
		c.Location = time.UTC
	}
	h := newHasher(c.Key)
	return &Watch{location: c.Location, hash: h, content: newContent(h)}
}

// newContent returns the content of a Watch that has learned nothing.
func newContent(h hasher) content {
	return content{
		counts: newCounts(), before: newCounts(), others: newCounts(), guesses: newGuesses(h), detector: newDetector(),
		hours: newCollector(h), habits: newHabits(), spray: newSlowSpray(), out: Reading{State: State{Class: ClassLearning}},
	}
}

// Attempt adds an attempt that was settled at time t.
func (w *Watch) Attempt(t time.Time, a Attempt) {
	t = w.lock(t)
	defer w.mu.Unlock()
	h := w.hash.attempt(&a)
	w.count(t, &h)
	w.hours.attempt(t, &h)
	w.countHourly(t, &h)
}

// count counts an attempt for the detector.
func (w *Watch) count(t time.Time, a *hashedAttempt) {
	w.counts.attempt(a.Attempt)
	switch {
	case a.proves():
		w.detector.proven.attempt(t, a)
		if w.own != nil {
			w.own.proven[a.provenKind()].add(a.accountHash)
		}
	case a.suspect() && w.guesses.attempt(t, a):
		w.counts.suspect(a.Network, suspects{guesses: 1})
	case a.unanswered() && w.guesses.attempt(t, a):
		w.counts.suspect(a.Network, suspects{unanswered: 1})
	}
}

// Held adds a connection that was closed at time t, because it had not made an attempt in time or because its place was
// needed. source and network are as in [Attempt]. Do not report connections that made an attempt, or those of exempt
// addresses.
func (w *Watch) Held(t time.Time, source, network netip.Prefix) {
	t = w.lock(t)
	defer w.mu.Unlock()
	if w.guesses.held(t, source) {
		w.counts.suspect(network, suspects{unanswered: 1})
	}
}

// Opened adds a session that began at time t: a client logged in.
func (w *Watch) Opened(t time.Time) {
	w.lock(t)
	defer w.mu.Unlock()
	w.counts.opened++
}

// Closed adds a session that ended at time t.
func (w *Watch) Closed(t time.Time) {
	w.lock(t)
	defer w.mu.Unlock()
	w.counts.closed++
}

// A Reading is what [Watch.Tick] returns.
type Reading struct {
	State   State
	Ticked  bool     // State is new
	Minutes []Minute // that ended, each once, for the history
	Hours   []Hour   // likewise
}

// Tick evaluates the time up to t. Call it about once a second; there is a new state every 10 s.
func (w *Watch) Tick(t time.Time) Reading {
	w.lock(t)
	defer w.mu.Unlock()
	r := w.out
	w.out = Reading{State: r.State}
	return r
}

// Partial returns the minute and the hour that have not ended at time t, for a report. At shutdown they belong into the
// history, too.
func (w *Watch) Partial(t time.Time) (Minute, Hour) {
	w.lock(t)
	defer w.mu.Unlock()
	m := w.minute
	for _, c := range []*counts{&w.counts, &w.before, &w.others} {
		m.Add(c.minute())
	}
	return m, w.hours.end()
}

// Relearn raises the expected rates to those of the last 5 min. It is for when a person says that an alarm was false.
func (w *Watch) Relearn(t time.Time) {
	w.lock(t)
	defer w.mu.Unlock()
	w.detector.relearn()
	w.habits.relearn()
	w.spray.relearn()
}

// Assume sets the expected rates of the whole week to usual, which are those of all gateways of the site, as if they had been
// learned. It is for demonstrations and tests.
func (w *Watch) Assume(t time.Time, usual Signals) {
	w.lock(t)
	defer w.mu.Unlock()
	w.detector.assume(rates{
		ofLogins: usual.Logins / 6, ofSuspects: usual.Suspects / 6, ofNetworks: usual.Networks / 6,
		ofKnown: max(0, usual.Logins-usual.Suspects) / 6,
	})
	w.detector.view.whole = true
	w.spray.assume(usual.Networks * 60)
}

// lock locks w.mu, evaluates the ticks that ended by t, and returns t, or the latest time so far if that is later.
func (w *Watch) lock(t time.Time) time.Time {
	w.mu.Lock()
	if t.Before(w.latest) {
		return w.latest
	}
	w.latest = t
	if w.started.IsZero() || t.Sub(w.started) > gap {
		w.skip(t)
	}
	for end := w.started.Add(tick); !t.Before(end); end = w.started.Add(tick) {
		w.detector.hourly = w.evaluateHourly(end)
		w.close(end)
		w.started = end
	}
	return t
}

// skip begins a tick at t without evaluating the one before: it is the first, or there was no call for longer than gap.
func (w *Watch) skip(t time.Time) {
	w.started = t.Truncate(tick)
	for _, c := range []*counts{&w.counts, &w.before, &w.others} {
		w.minute.Add(c.minute())
		c.reset()
	}
	w.lagging = false
	w.endPeriods(w.started)
}

// close evaluates the tick that ends at end.
func (w *Watch) close(end time.Time) {
	d := w.detector
	sum, own, ok := w.sum()
	if ok {
		w.updateSite(end, own, sum.known.all())
		d.tick(end.In(w.location), sum.observation(d.networkCap(), &d.pace, w.hash.block), sum.users)
		w.out.State, w.out.Ticked = d.state(end), true
	}
	w.minute.Add(sum.minute())
	w.minute.Class = Graver(w.minute.Class, w.out.State.Class)
	w.minute.Expected.add(d.expected)
	w.counts.reset()
	w.others.reset()
	w.endPeriods(end)
}

// endPeriods adds the minute and the hour that ended by t to the next reading.
func (w *Watch) endPeriods(t time.Time) {
	if start := t.Truncate(time.Minute); !start.Equal(w.minute.Start) {
		if w.minute.Logins()+w.minute.Opened+w.minute.Closed > 0 {
			w.out.Minutes = append(w.out.Minutes, w.minute)
		}
		w.minute = Minute{Start: start, Class: ClassNormal}
	}
	if start := t.Truncate(time.Hour); !start.Equal(w.hours.hour.Start) {
		if !w.hours.empty() {
			w.out.Hours = append(w.out.Hours, w.hours.end())
		}
		w.hours.begin(start)
	}
}
