//go:build !race

package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A siteSim is a simulation whose logins come to several gateways, which exchange their ticks.
type siteSim struct {
	*simulation
	one     *Watch // gets all of it
	watches []*Watch
	shares  []float64 // of each gateway in the logins
	open    []float64 // sessions of each
	queue   []sentTick
	apart   bool // the gateways do not reach each other
	octets  int  // of the largest tick
	stray   bool // some ticks are 10 s late
	alerts  []time.Time
	first   time.Time // alert of one
	notice  bool
}

// A sentTick is a tick on its way.
type sentTick struct {
	at   time.Time
	from int
	data []byte
}

// newSiteSim returns a site of so many gateways that have learned for three weeks: all of them together, or each alone.
func newSiteSim(seed uint64, rate float64, whole bool, shares ...float64) *siteSim {
	s := &siteSim{simulation: learned(rate, seed), shares: shares, open: make([]float64, len(shares)), alerts: make([]time.Time, len(shares))}
	s.one = s.Watch
	for _, share := range shares {
		w := New(Config{Location: s.location})
		if err := w.Restore(s.now, s.one.Snapshot(s.now)); err != nil {
			panic(err)
		}
		if !whole {
			w.widen(share)
		}
		w.detector.view.whole = whole
		w.TakeTick()
		s.watches = append(s.watches, w)
	}
	return s
}

// equally returns the shares of n gateways that have the same.
func equally(n int) []float64 { return slices.Repeat([]float64{1 / float64(n)}, n) }

// tick simulates 10 s.
func (s *siteSim) tick() {
	all, rate := s.nextLoad(), s.rate
	s.one.lock(s.now)
	s.one.mu.Unlock()
	for i, w := range s.watches {
		l, share := all, s.shares[i]
		for _, n := range []*float64{&l.known, &l.newcomers, &l.bots, &l.attack, &l.single, &l.gone, &l.held, &l.repeated} {
			*n *= share
		}
		s.Watch, s.rate, s.simulation.open = w, rate*share, s.open[i]
		s.generate(l)
		s.open[i] = s.simulation.open
		s.one.counts.add(&w.counts)
	}
	s.Watch, s.rate = s.one, rate
	s.now = s.now.Add(tick)
	s.evaluate()
	s.deliver()
}

// evaluate ends the tick at all gateways.
func (s *siteSim) evaluate() {
	if state := s.one.Tick(s.now).State; state.Attacked() && s.first.IsZero() {
		s.first = s.now
	}
	for i, w := range s.watches {
		state := w.Tick(s.now).State
		if state.Attacked() && s.alerts[i].IsZero() {
			s.alerts[i] = s.now
		}
		s.notice = s.notice || state.Tighten
		data := w.TakeTick()
		s.octets = max(s.octets, len(data))
		late := time.Duration(s.rand.IntN(2000)) * time.Millisecond
		if s.stray && s.rand.IntN(20) == 0 {
			late += tick
		}
		s.queue = append(s.queue, sentTick{s.now.Add(late), i, data})
	}
}

// deliver delivers the ticks that arrive within 10 s.
func (s *siteSim) deliver() {
	slices.SortStableFunc(s.queue, func(a, b sentTick) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	for len(s.queue) > 0 && s.queue[0].at.Before(s.now.Add(tick)) {
		sent := s.queue[0]
		s.queue = s.queue[1:]
		for i, w := range s.watches {
			if i == sent.from || s.apart {
				continue
			}
			if err := w.AddTick(sent.at, sent.data); err != nil {
				panic(err)
			}
		}
	}
}

// run simulates some time.
func (s *siteSim) run(lasts time.Duration) {
	for end := s.now.Add(lasts); s.now.Before(end); {
		s.tick()
	}
}

// latest returns the latest of the first alerts of the gateways, or the zero time if one has none.
func (s *siteSim) latest() (last time.Time) {
	for _, at := range s.alerts {
		if at.IsZero() {
			return at
		}
		last = later(last, at)
	}
	return last
}

// later returns the later of a and b.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TestSimulationGatewaysAttack: the incident of 2022 over several gateways is an alert at each of them within 20 s of when
// one gateway with all logins has it. Gateways that have learned each for themselves before are hardly later.
func TestSimulationGatewaysAttack(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	for _, c := range []struct {
		name   string
		whole  bool
		shares []float64
	}{
		{"3 gateways", true, equally(3)},
		{"8 gateways", true, equally(8)},
		{"3 gateways, one has most", true, []float64{.8, .15, .05}},
		{"3 gateways that meet for the first time", false, []float64{.5, .3, .2}},
	} {
		for run := range uint64(2) {
			s := newSiteSim(run, 20, c.whole, c.shares...)
			s.run(30 * time.Minute)
			s.events = []event{{s.now, incident(moreThanDouble)}}
			start := s.now
			s.run(12 * time.Minute)
			one, all := s.first.Sub(start), s.latest().Sub(start)
			fmt.Fprintf(&log, "%-42s alert after %v, with one gateway after %v; largest tick %d octets\n", c.name, all, one, s.octets)
			within := 20 * time.Second
			if !c.whole { // what each had learned varies
				within = 2 * time.Minute
			}
			if s.latest().IsZero() || s.first.IsZero() || (all-one).Abs() > within || s.octets > 2<<10 {
				t.Errorf("%s: got alerts after %v, want %v +- %v, and ticks of at most 2 KB: %d octets", c.name, all, one, within, s.octets)
			}
		}
	}
	t.Log(log.String())
}

// TestSimulationGatewaysAlone: gateways that lose the others, at any share, raise no alert by that, nor when they meet
// again; and they notice the incident of 2022 although each sees a part of it.
func TestSimulationGatewaysAlone(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	for _, shares := range [][]float64{equally(3), equally(8), {.8, .15, .05}} {
		s := newSiteSim(7, 20, true, shares...)
		s.run(30 * time.Minute)
		s.stray = true
		s.alone(true)
		s.run(2 * time.Hour)
		s.alone(false)
		s.run(30 * time.Minute)
		if slices.ContainsFunc(s.alerts, func(at time.Time) bool { return !at.IsZero() }) {
			t.Errorf("%v: alerts at %v without an attack", shares, s.alerts)
		}
		s.alone(true)
		s.run(10 * time.Minute)
		s.events = []event{{s.now, incident(moreThanDouble)}}
		start := s.now
		s.run(25 * time.Minute)
		one := s.first.Sub(start)
		fmt.Fprintf(&log, "shares %v, alone: with all logins the alert is after %v; here", shares, one)
		for i, at := range s.alerts {
			if at.IsZero() {
				fmt.Fprint(&log, " never")
				continue
			}
			after := at.Sub(start)
			fmt.Fprintf(&log, " %v", after)
			if i == 0 && after > one+10*time.Minute {
				t.Errorf("%v: alert after %v", shares, after)
			}
		}
		fmt.Fprintln(&log)
	}
	t.Log(log.String())
}

// alone makes the gateways lose each other, or meet again.
func (s *siteSim) alone(apart bool) {
	s.apart = apart
	for _, w := range s.watches {
		w.SetAlone(s.now, apart)
	}
}

// TestSimulationGatewaysFaults: events that look like an attack are none over three gateways, although some ticks come late;
// and what they are is found as soon as with one gateway.
func TestSimulationGatewaysFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		apply func(*simulation, time.Duration, *load)
		lasts time.Duration
		want  Class
	}{
		{"nothing", step(0), 3 * time.Hour, ClassNormal},
		{"outage", outage(1, 10*time.Minute), 40 * time.Minute, ClassBackendFault},
		{"restart", restart, 20 * time.Minute, ClassStorm},
		{"password database", database(20 * time.Minute), 40 * time.Minute, ClassAuthFault},
		{"single source", singleSource, 40 * time.Minute, ClassSingleSource},
	} {
		s := newSiteSim(5, 20, true, .5, .3, .2)
		s.stray = true
		s.run(10 * time.Minute)
		s.events = []event{{s.now, c.apply}}
		found, start := make([]time.Duration, 1+len(s.watches)), s.now
		for s.now.Before(start.Add(c.lasts)) {
			s.tick()
			for i, w := range append([]*Watch{s.one}, s.watches...) {
				if class := w.out.State.Class; class == c.want && found[i] == 0 {
					found[i] = s.now.Sub(start)
				}
			}
		}
		if !s.first.IsZero() || slices.ContainsFunc(s.alerts, func(at time.Time) bool { return !at.IsZero() }) {
			t.Errorf("%s: alerts at %v, with one gateway at %v", c.name, s.alerts, s.first)
		}
		for _, after := range found[1:] {
			if after == 0 || after > found[0]+time.Minute {
				t.Errorf("%s: %s after %v, with one gateway after %v", c.name, c.want, found[1:], found[0])
			}
		}
	}
}
