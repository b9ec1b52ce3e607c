package bench

import (
	"context"
	"fmt"
	"time"

	"postern/bench/client"
)

// overload is the scenario: twice the TLS handshakes that the machine can do.
var overload = Scenario{
	Name:  "overload",
	About: "twice the TLS handshakes the machine can do: wake-up latency of the logged-in, logins still accepted",
	Works: overloadWorks,
}

const (
	watchedMost = 200             // sessions that are woken
	floodMost   = 15000           // clients that may wait at once, so that descriptors last
	floodBefore = 2 * time.Second // of wake-ups before anybody comes

	peopleFrom    = 1000  // the first of the accounts and addresses that log in before a flood, and are known for it
	newcomersFrom = 10000 // the first of those that do not
)

// overloadWorks lists two floods. Both are measured against the machine's full
// rate, which clients, target and mail server reach together in a closed loop.
//
// The first is what it says: twice as many logins. It overloads the clients as
// much as the target, with whom they share the machine: they are late by seconds,
// and how many logins are accepted says as much about them. So the second flood is
// logins at the full rate, and besides as many handshakes that cost clients next to
// nothing and the target all there is to compute. Those who log in are known there,
// as people are, and it is there that accepted logins are held to a goal.
func overloadWorks(o *Options) ([]Work, error) {
	about := fmt.Sprintf("%d sessions are logged in, and the mail server says a line on one of them %g times a second: a wake-up lasts until the client has it. "+
		"%d clients log in over and over for %v: that is the full rate of the whole machine, clients and mail server included. ",
		o.watched(), wakeRate, o.Workers, o.Flood/2)
	work := func(name, then string, flood func(o *Options, full float64) Flood) Work {
		return Work{
			Name: "overload, " + name, About: about + then +
				fmt.Sprintf(" Logins count as accepted that are accepted in the last %v of that; the time before fills the lines.", o.Flood-o.onset()),
			Rounds: (o.Rounds + 2) / 3, Fresh: true, // for each is long
			Measure: func(ctx context.Context, t *Target, s *Sample) error {
				m := &overwhelmed{o: o, wakeups: &wakeups{held: &held{t: t, o: o, sessions: make([]*client.Session, o.watched())}}}
				defer m.release()
				return m.measure(ctx, s, flood)
			},
		}
	}
	return []Work{
		work("logins", fmt.Sprintf("Then for %v twice as many log in, from addresses that were never seen. "+
			"What clients compute is taken from the same machine.", o.Flood), newcomersTwice),
		work("unfinished handshakes", fmt.Sprintf("Then for %v the same clients log in as often as that. Besides, as many come from addresses that were never seen, "+
			"say a ClientHello, and are gone once the target has said its part of the handshake.", o.Flood), besideUnfinished),
	}, nil
}

// newcomersTwice is logins at twice the full rate, of people who are new here.
func newcomersTwice(_ *Options, full float64) Flood {
	return Flood{Rate: 2 * full, From: newcomersFrom}
}

// besideUnfinished is logins at the full rate, of people who are known, and as
// many handshakes of others.
func besideUnfinished(o *Options, full float64) Flood {
	return Flood{Rate: full, From: peopleFrom, Of: o.people(), Unfinished: full, Strangers: newcomersFrom}
}

// watched is how many sessions are woken.
func (o *Options) watched() int { return min(watchedMost, o.Sessions) }

// onset is how long the beginning of a flood is.
func (o *Options) onset() time.Duration { return o.Flood / 3 }

// people is how many log in before a flood, each of them more than once.
func (o *Options) people() int { return min(2*o.Workers, newcomersFrom-peopleFrom) }

// overwhelmed is one round at a target that has just been started.
type overwhelmed struct {
	*wakeups
	o         *Options
	calm, hot *Tally  // wake-ups before the flood and during it
	full      float64 // logins a second
}

// measure does the round.
func (m *overwhelmed) measure(ctx context.Context, s *Sample, flood func(o *Options, full float64) Flood) error {
	if m.t.Backend == nil {
		return fmt.Errorf("%w: it takes the bench's own mail server, which wakes sessions", ErrNotOffered)
	}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	f := flood(m.o, m.full)
	f.Onset, f.Duration = m.o.onset(), m.o.Flood
	f.Patience = min(peoplePatience, time.Duration(floodMost/(f.Rate+f.Unfinished)*float64(time.Second)))
	meter, err := m.t.Meter(ctx)
	if err != nil {
		return err
	}
	strain := watchStrain(ctx, m.t)
	defer strain.end()
	var r *Flooded
	m.hot, err = m.during(ctx, func() (err error) {
		r, err = m.t.flood(ctx, f)
		return err
	})
	if err != nil {
		return err
	}
	strain.end()
	if cpu, known := meter.CPU(); known && r.Logins.Accepted() > 0 {
		s.Figure("CPU per login", "µs", Lower, float64(cpu.Microseconds())/float64(r.Logins.Accepted()))
	}
	m.report(s, f, r)
	strain.report(s)
	return believe(ctx, s, meter, r.Logins.Accepted())
}

// prepare logs in those who are watched, wakes them in peace, and finds out the
// full rate.
func (m *overwhelmed) prepare(ctx context.Context) error {
	caller, err := m.t.Caller(client.IMAP, client.TLS)
	if err != nil {
		return err
	}
	if err := m.open(ctx, caller); err != nil {
		return err
	}
	if err := m.listen(); err != nil {
		return err
	}
	if m.calm, err = m.during(ctx, func() error { return pause(ctx, min(floodBefore, m.o.Flood)) }); err != nil {
		return err
	}
	r, err := m.t.flood(ctx, Flood{Workers: m.o.Workers, Duration: m.o.Flood / 2, Patience: m.t.patience, From: peopleFrom, Of: m.o.people()})
	if err != nil {
		return err
	}
	if r.Logins.Accepted() == 0 {
		return fmt.Errorf("before the flood, nobody could log in: %s", r.Logins.Failures())
	}
	m.full = float64(r.Logins.Accepted()) / r.Took.Seconds()
	return nil
}

// report puts what became of a flood into s.
func (m *overwhelmed) report(s *Sample, f Flood, r *Flooded) {
	share := func(n int) float64 { return 100 * float64(n) / float64(max(1, r.Logins.All())) }
	s.Figure("full rate, logins", "/s", Higher, m.full)
	s.Figure("offered, of the full rate", "×", Neither, float64(r.Logins.All()+r.Begun)/f.Duration.Seconds()/m.full)
	s.Figure("logins accepted, of the full rate", "%", Higher, 100*float64(r.InTime)/(f.Duration-f.Onset).Seconds()/m.full)
	s.Figure("logins refused or cut off", "%", Neither, share(r.Logins.All()-r.Logins.Accepted()-r.Logins.Unanswered()))
	s.Figure("logins without an answer", "%", Neither, share(r.Logins.Unanswered()))
	if f.Unfinished > 0 {
		s.Figure("unfinished handshakes responded to", "%", Neither, 100*float64(r.Responded)/float64(max(1, r.Begun)))
	}
	s.Figure("login, median", "ms", Lower, r.Logins.Millis(50))
	s.Figure("login, 99 %", "ms", Lower, r.Logins.Millis(99))
	s.Figure("wake-up, median, before", "ms", Lower, m.calm.Millis(50))
	s.Figure("wake-up, 99 %, before", "ms", Lower, m.calm.Millis(99))
	s.Figure("wake-up, median", "ms", Lower, m.hot.Millis(50))
	s.Figure("wake-up, 99 %", "ms", Lower, m.hot.Millis(99))
	s.Figure("callers were late, 99 %", "ms", Neither, r.Late.Millis(99))
	s.Latency("login", r.Logins)
	s.Latency("wake-up, before", m.calm)
	s.Latency("wake-up", m.hot)
	if n := m.lost.Load(); n > 0 {
		s.Problem("%d of %d sessions were lost", n, len(m.sessions))
	}
	for when, wakes := range map[string]*Tally{"before": m.calm, "during the flood": m.hot} {
		if what := wakes.Failures(); what != "" {
			s.Problem("of %d wake-ups %s: %s", wakes.All(), when, what)
		}
	}
	if what := r.Logins.Failures(); what != "" {
		s.Problem("of %d logins: %s", r.Logins.All(), what)
	}
}
