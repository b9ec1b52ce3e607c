package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/limiter/traffic"
)

// attackScenario measures the logins of a site's users during an attack.
var attackScenario = Scenario{
	Name:  "attack",
	About: "users log in while their site is attacked: which logins are accepted, and how fast",
	works: attackWorks, gateway: gatewayAttackWorks,
}

// incidentScenario replays the attack of 29 March 2022 at a faster pace.
var incidentScenario = Scenario{
	Name:  "incident",
	About: "the attack of 29 March 2022, in which logins rose to 4.27 times normal, in a few minutes",
	works: incidentWorks, gateway: gatewayIncidentWorks,
}

// The capacity of the mail server behind the targets at a site with
// [traffic.Normal] logins a second: checked passwords a second, and the
// duration of one check. A smaller site has a smaller server.
const (
	checkRate = 200.0
	checkTime = 100 * time.Millisecond
)

// attackOnset is the time in which a wave of attackers at
// [AttackOptions.MaxRate] makes the queue of a mail server with checkRate
// longer than anybody waits.
const attackOnset = 3 * time.Second

// attackPlan is one attack on one site.
type attackPlan struct {
	about    string
	normal   float64 // logins a second of the site's users
	attack   traffic.Attack
	baseline time.Duration // before the attack
	onset    time.Duration // beginning of the attack, not counted
	duration time.Duration // rest of the attack, counted

	informed bool                  // a row of the scenario informed
	added    []addedUsers          // beside the usual users
	tries    map[traffic.Class]int // how often clients try, where that differs from package traffic
	retries  time.Duration         // for how long after the attack clients may try again
	empty    bool                  // postern knows no user
}

// addedUsers are users of one class, and how often they log in each second.
type addedUsers struct {
	class traffic.Class
	rate  float64
}

// generator returns a generator of the logins of p from start on.
func (p attackPlan) generator(start time.Time) *traffic.Generator {
	g := traffic.New(1, p.normal, start, p.attack)
	for _, u := range p.added {
		g.Add(u.class, u.rate)
	}
	return g
}

// attackWorks lists every kind of attack at every strength, weaker ones first.
func attackWorks(o *Options) (works []Work, err error) {
	failed := map[traffic.Kind]*failedTargets{}
	kinds, err := o.Attack.kinds()
	if err != nil {
		return nil, err
	}
	for _, times := range slices.Sorted(slices.Values(o.Attack.Times)) {
		if times <= 1 {
			return nil, fmt.Errorf("-times: got %g, want more than 1", times)
		}
		for _, kind := range kinds {
			if failed[kind] == nil {
				failed[kind] = newFailedTargets(knownAccepted)
			}
			p := o.Attack.plan(kind, times)
			works = append(works, failed[kind].skip(p.work(o, fmt.Sprintf("attack, %s, %g×", kind, times))))
		}
	}
	return works, nil
}

// kinds returns the kinds of attack.
func (o *AttackOptions) kinds() (kinds []traffic.Kind, err error) {
	for _, name := range o.Kinds {
		kind, err := traffic.ParseKind(name)
		if err != nil {
			return nil, fmt.Errorf("-kinds: %w", err)
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

// plan returns an attack that has lasted for hours: it begins with a wave that
// makes the queue of the mail server as long as that, and users are counted
// afterwards.
func (o *AttackOptions) plan(kind traffic.Kind, times float64) attackPlan {
	p := attackPlan{normal: o.normalRate(times), baseline: o.Baseline, onset: attackOnset, duration: o.Duration}
	wave := max(times, o.MaxRate/p.normal)
	p.attack = traffic.Attack{Kind: kind, Curve: []traffic.Phase{{From: o.Baseline, Times: wave}, {From: o.Baseline + attackOnset, Times: times}}}
	p.about = fmt.Sprintf("After %v of normal traffic the attack, %s, begins. For %v it raises logins to %.3g times normal, "+
		"so that the queue of the mail server is as long as after hours of attack; these logins are not counted. Then it is %g times normal.", o.Baseline, kind, attackOnset, wave, times)
	return p
}

// incidentWorks lists one work.
func incidentWorks(o *Options) ([]Work, error) {
	return []Work{incidentPlan(&o.Attack).work(o, "incident")}, nil
}

// incidentPlan is the attack of 29 March 2022.
func incidentPlan(a *AttackOptions) attackPlan {
	const hours, peak = 5, 4.27
	p := attackPlan{normal: a.normalRate(peak), attack: traffic.Incident(a.Baseline, a.Hour), baseline: a.Baseline, duration: hours * a.Hour}
	p.about = fmt.Sprintf("Then, from 20,000 addresses with at most one try a minute each, logins rise as they did on 29 March 2022: "+
		"to 2.35, 3.09, 4.08, %g and 3.46 times normal, hour by hour. An hour lasts %v.", peak, a.Hour)
	return p
}

// normalRate returns the logins a second of a site's users such that an attack
// of times normal is no more than MaxRate.
func (o *AttackOptions) normalRate(times float64) float64 {
	return min(traffic.Normal, o.MaxRate/times)
}

// checks returns how many passwords a second the mail server of p checks.
func (p attackPlan) checks() float64 { return checkRate * p.normal / traffic.Normal }

// work describes p for the table and the report.
func (p attackPlan) work(o *Options, name string) Work {
	known, knows := p.generator(time.Time{}).KnownLogins(), "has known the users for a day"
	if p.empty {
		known, knows = nil, "knows no user"
	}
	return Work{
		Name: name,
		about: fmt.Sprintf("Users log in %.3g times a second. The mail server can check %.3g passwords a second, first come, first served. "+
			"%s Latency counts from when a client was due and includes the logout. postern has its default limits, knows the capacity of the mail server, and %s.", p.normal, p.checks(), p.about, knows),
		rounds:      (o.Rounds + 2) / 3, // each is long
		fresh:       true,
		proxyHeader: true,
		settings: []string{
			fmt.Sprintf("LIMIT_GLOBAL=%.0f/1s", p.checks()),
			fmt.Sprintf("BACKEND_LOGINS=%.0f", max(1, p.checks()*checkTime.Seconds())),
		},
		known:   known,
		measure: func(ctx context.Context, t *target, s *sample) error { return p.measure(ctx, t, s) },
	}
}

// measure runs p at a freshly started target.
func (p attackPlan) measure(ctx context.Context, t *target, s *sample) error {
	if t.backend == nil {
		return fmt.Errorf("%w: it needs the stand-in mail server, which has every account", errNotOffered)
	}
	if err := t.backend.Limit(ctx, p.checks(), checkTime, 0); err != nil {
		return err
	}
	defer func() { _ = t.backend.Limit(context.WithoutCancel(ctx), 0, 0, 0) }() // it may have ended
	devices, err := useDevices(ctx, t, p.generator(time.Time{}).KnownLogins())
	if err != nil {
		return err
	}
	start := time.Now().Add(100 * time.Millisecond)
	attackFrom := start.Add(p.baseline)
	r, err := newTrafficRun(t, start, attackFrom, attackFrom.Add(p.onset), attackFrom.Add(p.onset+p.duration), (p.attack.Peak()-1)*p.normal)
	if err != nil {
		return err
	}
	r.devices, r.tries, r.retryUntil = devices, p.tries, r.until.Add(p.retries)
	meter, err := t.meter(ctx)
	if err != nil {
		return err
	}
	attacked := r.meterAttack(ctx)
	r.run(ctx, p.generator(start))
	if cpu, known := meter.cpu(); known {
		s.figure("CPU per attempt", "µs", lower, float64(cpu.Microseconds())/float64(r.attempts()))
	}
	if counts, known := meter.counts(ctx); known {
		s.figure("wrong passwords at the mail server", "/s", lower, float64(counts.Denied)/time.Since(start).Seconds())
	}
	if p.informed {
		r.reportInformed(ctx, s, attacked)
	} else {
		r.report(s)
	}
	return checkReported(ctx, s, meter, r.accepted())
}

// failedTargets remembers at which targets an attack left hardly any login
// accepted. Stronger attacks of the same kind are skipped there.
type failedTargets struct {
	figure   string            // share of the accepted logins, in per cent
	failedIn map[string]string // work, by target
}

// failedBelow is the share, in per cent, below which a target has failed.
const failedBelow = 10

func newFailedTargets(figure string) *failedTargets {
	return &failedTargets{figure, map[string]string{}}
}

// skip returns w such that targets are skipped that failed in an earlier work.
// Works must be given in the order of their strength.
func (f *failedTargets) skip(w Work) Work {
	measure := w.measure
	w.measure = func(ctx context.Context, t *target, s *sample) error {
		if earlier, found := f.failedIn[t.name]; found && earlier != w.Name {
			return fmt.Errorf("%s: accepted less than %d %% in %q already: %w", t.name, failedBelow, earlier, errLeftOut)
		}
		err := measure(ctx, t, s)
		for _, fig := range s.figures {
			if err == nil && fig.name == f.figure && fig.value < failedBelow {
				f.failedIn[t.name] = w.Name
			}
		}
		return err
	}
	return w
}
