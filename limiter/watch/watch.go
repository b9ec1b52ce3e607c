package watch

import (
	"sync"
	"time"
)

// tick is how often the watch evaluates what it counted.
const tick = 10 * time.Second

// gap is the longest time without a call after which ticks are still evaluated. After a longer one, as when the machine was
// suspended, nothing is known about them.
const gap = time.Minute

// Config configures a [Watch].
type Config struct {
	// Location is the time zone of the users; nil is UTC. People work by local time, so what is learned is kept by local
	// time, and daylight saving makes no difference.
	Location *time.Location

	// Key is a secret of this installation, the same after each restart. Without it attackers could choose addresses that
	// all count as one.
	Key [16]byte
}

// A Watch counts attempts and sessions, learns what is usual, and reports what is not. It is safe for concurrent use. Times
// should not run backwards; a time before the latest seen counts as the latest.
type Watch struct {
	mu       sync.Mutex
	location *time.Location
	latest   time.Time
	begun    time.Time // when the current tick began; zero before the first
	counts   counts
	detector *detector
	hours    *collector
	minute   Minute  // the current one, without the current tick
	out      Reading // not handed out yet
}

// New returns a Watch that has learned nothing.
func New(c Config) *Watch {
	if c.Location == nil {
		c.Location = time.UTC
	}
	return &Watch{
		location: c.Location, counts: newCounts(), detector: newDetector(), hours: newCollector(c.Key),
		out: Reading{State: State{Class: ClassLearning}},
	}
}

// Attempt reports to w an attempt that was settled at time t.
func (w *Watch) Attempt(t time.Time, a Attempt) {
	t = w.lock(t)
	defer w.mu.Unlock()
	w.counts.attempt(&a)
	w.hours.attempt(t, &a)
}

// Opened reports to w that a session began at time t: a client logged in.
func (w *Watch) Opened(t time.Time) {
	w.lock(t)
	defer w.mu.Unlock()
	w.counts.opened++
}

// Closed reports to w that a session ended at time t.
func (w *Watch) Closed(t time.Time) {
	w.lock(t)
	defer w.mu.Unlock()
	w.counts.closed++
}

// A Reading is what [Watch.Tick] returns.
type Reading struct {
	State   State
	Ticked  bool     // State is new
	Minutes []Minute // that are over, each once, for the history
	Hours   []Hour   // likewise
}

// Tick evaluates what happened up to time t. Call it about once a second; there is a new state every 10 s.
func (w *Watch) Tick(t time.Time) Reading {
	w.lock(t)
	defer w.mu.Unlock()
	r := w.out
	w.out = Reading{State: r.State}
	return r
}

// Partial returns the minute and the hour that are not over at time t, for a report that cannot wait for them. At shutdown
// the caller adds them to the history too.
func (w *Watch) Partial(t time.Time) (Minute, Hour) {
	w.lock(t)
	defer w.mu.Unlock()
	m := w.minute
	m.Add(w.counts.minute())
	return m, w.hours.end()
}

// Relearn raises what is expected to what came in the last 5 min. It is for when a person has said that an alarm was
// false.
func (w *Watch) Relearn(t time.Time) {
	w.lock(t)
	defer w.mu.Unlock()
	w.detector.relearn()
}

// Assume sets what is expected at every hour of the week to usual, as if that had been learned. It is for demonstrations
// and tests, which cannot wait for a week.
func (w *Watch) Assume(t time.Time, usual Signals) {
	w.lock(t)
	defer w.mu.Unlock()
	w.detector.assume(rates{
		ofLogins: usual.Logins / 6, ofSuspects: usual.Suspects / 6, ofNetworks: usual.Networks / 6,
		ofKnown: max(0, usual.Logins-usual.Suspects) / 6,
	})
}

// lock locks w.mu, closes the ticks that are over at t, and returns t, or the latest time seen if that is later.
func (w *Watch) lock(t time.Time) time.Time {
	w.mu.Lock()
	if t.Before(w.latest) {
		return w.latest
	}
	w.latest = t
	if w.begun.IsZero() || t.Sub(w.begun) > gap {
		w.skip(t)
	}
	for end := w.begun.Add(tick); !t.Before(end); end = w.begun.Add(tick) {
		w.close(end)
		w.begun = end
	}
	return t
}

// skip begins a tick at t without evaluating the one before: this is the first, or there was no call for longer than gap.
func (w *Watch) skip(t time.Time) {
	w.begun = t.Truncate(tick)
	w.minute.Add(w.counts.minute())
	w.counts.reset()
	w.turn(w.begun)
}

// close evaluates the tick that ends at end.
func (w *Watch) close(end time.Time) {
	d := w.detector
	d.tick(end.In(w.location), w.counts.observation(d.networkCap()), w.counts.users)
	w.out.State, w.out.Ticked = d.state(end), true
	w.minute.Add(w.counts.minute())
	w.minute.Class = Graver(w.minute.Class, w.out.State.Class)
	w.minute.Expected.add(d.expected)
	w.counts.reset()
	w.turn(end)
}

// turn hands out the minute and the hour that are over at t.
func (w *Watch) turn(t time.Time) {
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
