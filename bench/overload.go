package bench

import (
	"context"
	"fmt"
	"time"

	"postern/bench/client"
)

// overloadScenario measures twice the TLS handshakes that the machine can do.
var overloadScenario = Scenario{
	Name:  "overload",
	About: "twice the TLS handshakes the machine can do: wake-up latency of open sessions, logins still accepted",
	works: overloadWorks,
}

const (
	maxWatched      = 200             // sessions that are woken
	maxFloodClients = 15000           // concurrent clients of a flood, because of file descriptors
	quietDuration   = 2 * time.Second // of wake-ups before the flood

	firstUser     = 1000  // number of the first account and address that log in before a flood and are known afterwards
	firstNewcomer = 10000 // number of the first account and address that do not
)

// overloadWorks lists two floods. Both are relative to the full rate of the
// machine, which clients, target and mail server reach together in a closed
// loop.
//
// The first flood is twice as many logins. It overloads the clients as much as
// the target, because they share the machine: clients start seconds too late,
// and the accepted logins say as much about them as about the target. So the
// second flood is logins at the full rate and, beside them, as many handshakes
// that cost the clients next to nothing and the target a full computation. Its
// logins are of known users, and its accepted logins have a goal.
func overloadWorks(o *Options) ([]Work, error) {
	about := fmt.Sprintf("%d sessions are logged in, and the mail server sends a line to one of them %g times a second: a wake-up lasts until the client has the line. "+
		"%d clients log in again and again for %v: that is the full rate of the whole machine, clients and mail server included. ",
		o.watchedSessions(), wakeRate, o.Workers, o.Flood/2)
	work := func(name, then string, flood func(o *Options, full float64) floodConfig) Work {
		return Work{
			Name: "overload, " + name, about: about + then +
				fmt.Sprintf(" Only logins accepted in the last %v of that count as accepted; the time before fills the queues.", o.Flood-o.floodOnset()),
			rounds: (o.Rounds + 2) / 3, fresh: true, // each is long
			measure: func(ctx context.Context, t *target, s *sample) error {
				r := &overloadRound{o: o, wakeups: &wakeups{heldSessions: &heldSessions{t: t, o: o, sessions: make([]*client.Session, o.watchedSessions())}}}
				defer r.close()
				return r.measure(ctx, s, flood)
			},
		}
	}
	return []Work{
		work("logins", fmt.Sprintf("Then for %v twice as many log in, from new addresses. "+
			"The CPU time of the clients is taken from the same machine.", o.Flood), doubleLogins),
		work("unfinished handshakes", fmt.Sprintf("Then for %v the same clients log in at that rate. At the same rate, others connect from new addresses, "+
			"send a ClientHello, and close once the target has sent its part of the handshake.", o.Flood), withUnfinished),
	}, nil
}

// doubleLogins is newcomers' logins at twice the full rate.
func doubleLogins(_ *Options, full float64) floodConfig {
	return floodConfig{Rate: 2 * full, FirstAccount: firstNewcomer}
}

// withUnfinished is known users' logins at the full rate, and as many
// unfinished handshakes.
func withUnfinished(o *Options, full float64) floodConfig {
	return floodConfig{Rate: full, FirstAccount: firstUser, Accounts: o.floodUsers(), Unfinished: full, FirstStranger: firstNewcomer}
}

// watchedSessions is how many sessions are woken.
func (o *Options) watchedSessions() int { return min(maxWatched, o.Sessions) }

// floodOnset is the beginning of a flood that does not count.
func (o *Options) floodOnset() time.Duration { return o.Flood / 3 }

// floodUsers is how many users log in before a flood, each more than once.
func (o *Options) floodUsers() int { return min(2*o.Workers, firstNewcomer-firstUser) }

// overloadRound is one round at a freshly started target.
type overloadRound struct {
	*wakeups
	o               *Options
	before, flooded *results // wake-ups before and during the flood
	fullRate        float64  // logins a second
}

// measure does the round.
func (r *overloadRound) measure(ctx context.Context, s *sample, flood func(o *Options, full float64) floodConfig) error {
	if r.t.backend == nil {
		return fmt.Errorf("%w: it needs the stand-in mail server, which wakes sessions", errNotOffered)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	f := flood(r.o, r.fullRate)
	f.Onset, f.Duration = r.o.floodOnset(), r.o.Flood
	f.Timeout = min(userTimeout, time.Duration(maxFloodClients/(f.Rate+f.Unfinished)*float64(time.Second)))
	meter, err := r.t.meter(ctx)
	if err != nil {
		return err
	}
	probe := startMemoryProbe(ctx, r.t)
	defer probe.stop()
	var result *floodResult
	r.flooded, err = r.during(ctx, func() (err error) {
		result, err = r.t.flood(ctx, f)
		return err
	})
	if err != nil {
		return err
	}
	probe.stop()
	if cpu, known := meter.cpu(); known && result.Logins.accepted() > 0 {
		s.figure("CPU per login", "µs", lower, float64(cpu.Microseconds())/float64(result.Logins.accepted()))
	}
	r.report(s, f, result)
	probe.report(s)
	return checkReported(ctx, s, meter, result.Logins.accepted())
}

// prepare opens the watched sessions, wakes them without a flood, and measures
// the full rate.
func (r *overloadRound) prepare(ctx context.Context) error {
	dialer, err := r.t.dialer(client.IMAP, client.TLS)
	if err != nil {
		return err
	}
	if err := r.logIn(ctx, dialer); err != nil {
		return err
	}
	if err := r.listen(); err != nil {
		return err
	}
	if r.before, err = r.during(ctx, func() error { return pause(ctx, min(quietDuration, r.o.Flood)) }); err != nil {
		return err
	}
	result, err := r.t.flood(ctx, floodConfig{Workers: r.o.Workers, Duration: r.o.Flood / 2, Timeout: r.t.timeout, FirstAccount: firstUser, Accounts: r.o.floodUsers()})
	if err != nil {
		return err
	}
	if result.Logins.accepted() == 0 {
		return fmt.Errorf("no login was accepted before the flood: %s", result.Logins.failures())
	}
	r.fullRate = float64(result.Logins.accepted()) / result.Took.Seconds()
	return nil
}

// report adds the figures of a flood to s.
func (r *overloadRound) report(s *sample, f floodConfig, result *floodResult) {
	logins := result.Logins
	share := func(n int) float64 { return 100 * float64(n) / float64(max(1, logins.all())) }
	s.figure("full rate, logins", "/s", higher, r.fullRate)
	s.figure("offered, of the full rate", "×", neither, float64(logins.all()+result.Started)/f.Duration.Seconds()/r.fullRate)
	s.figure("logins accepted, of the full rate", "%", higher, 100*float64(result.InTime)/(f.Duration-f.Onset).Seconds()/r.fullRate)
	s.figure("logins refused or cut off", "%", neither, share(logins.all()-logins.accepted()-logins.unanswered()))
	s.figure("logins without an answer", "%", neither, share(logins.unanswered()))
	if f.Unfinished > 0 {
		s.figure("unfinished handshakes responded to", "%", neither, 100*float64(result.Responded)/float64(max(1, result.Started)))
	}
	s.figure("login, median", "ms", lower, logins.millis(50))
	s.figure("login, 99 %", "ms", lower, logins.millis(99))
	s.figure("wake-up, median, before", "ms", lower, r.before.millis(50))
	s.figure("wake-up, 99 %, before", "ms", lower, r.before.millis(99))
	s.figure("wake-up, median", "ms", lower, r.flooded.millis(50))
	s.figure("wake-up, 99 %", "ms", lower, r.flooded.millis(99))
	s.figure("clients were late, 99 %", "ms", neither, result.Late.millis(99))
	s.latency("login", logins)
	s.latency("wake-up, before", r.before)
	s.latency("wake-up", r.flooded)
	if n := r.lost.Load(); n > 0 {
		s.problem("%d of %d sessions were lost", n, len(r.sessions))
	}
	for when, wakes := range map[string]*results{"before": r.before, "during the flood": r.flooded} {
		if what := wakes.failures(); what != "" {
			s.problem("of %d wake-ups %s: %s", wakes.all(), when, what)
		}
	}
	if what := logins.failures(); what != "" {
		s.problem("of %d logins: %s", logins.all(), what)
	}
}
