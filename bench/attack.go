package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// attack is the scenario: a site's own people log in while it is attacked.
var attack = Scenario{
	Name:  "attack",
	About: "a site's own people log in while it is attacked: who gets in, and how fast",
	Works: attackWorks,
}

// incident is the scenario of 29 March 2022, with half minutes for hours.
var incident = Scenario{
	Name:  "incident",
	About: "the attack of 29 March 2022, when logins rose to 4.27 times normal, in a few minutes",
	Works: incidentWorks,
}

// What the mail server behind the targets is worth at a site of [traffic.Normal] logins a second: so many passwords a
// second, each of which takes so long. A smaller site has a smaller server.
const (
	checkRate = 200.0
	checkTime = 100 * time.Millisecond
)

// siege is one attack on one site.
type siege struct {
	about  string
	normal float64 // logins a second of the site's own people
	attack traffic.Attack
	peace  time.Duration // before the attack
	onset  time.Duration // then, while nobody is counted
	lasts  time.Duration // then, while people are counted
}

// attackWorks lists the attacks asked for, each at every strength asked for.
func attackWorks(o *Options) (works []Work, err error) {
	lost := map[traffic.Kind]*hopeless{}
	for _, times := range slices.Sorted(slices.Values(o.Times)) {
		if times <= 1 {
			return nil, fmt.Errorf("an attack makes logins more than once the normal ones, not %g times", times)
		}
		for _, k := range o.Attacks {
			kind, err := traffic.ParseKind(k)
			if err != nil {
				return nil, err
			}
			v := o.siege(kind, times)
			if lost[kind] == nil {
				lost[kind] = newHopeless(knownAccepted)
			}
			works = append(works, lost[kind].unless(v.work(o, fmt.Sprintf("attack, %s, %g×", kind, times))))
		}
	}
	return works, nil
}

// onset is long enough for a wave of the most logins a second there may be to make the line before a mail server of
// [checkRate] longer than anybody waits.
const onset = 3 * time.Second

// siege returns an attack that has lasted for long: it begins with a wave that makes the line as long as hours of the
// attack would, and people are counted from then on.
func (o *Options) siege(kind traffic.Kind, times float64) siege {
	v := siege{normal: o.normal(times), peace: o.Peace, onset: onset, lasts: o.Siege}
	wave := max(times, o.Most/v.normal)
	v.attack = traffic.Attack{Kind: kind, Curve: []traffic.Step{{From: o.Peace, Times: wave}, {From: o.Peace + onset, Times: times}}}
	v.about = fmt.Sprintf("After %v of peace the attack, %s, begins: for %v it makes logins %.3g times as many, "+
		"so that the line before the mail server is as long as after hours of it, and nobody is counted; then %g times.", o.Peace, kind, onset, wave, times)
	return v
}

// incidentWorks lists one work.
func incidentWorks(o *Options) ([]Work, error) {
	const hours, most = 5, 4.27
	v := siege{normal: o.normal(most), attack: traffic.Incident(o.Peace, o.Hour), peace: o.Peace, lasts: hours * o.Hour}
	v.about = fmt.Sprintf("Then, from 20,000 addresses with at most a try a minute each, logins rise as they did on 29 March 2022: "+
		"to 2.35, 3.09, 4.08, %g and 3.46 times normal, hour by hour, with %v for an hour.", most, o.Hour)
	return []Work{v.work(o, "incident")}, nil
}

// normal returns how many logins a second the site's own people make, so that all together are no more than Most.
func (o *Options) normal(times float64) float64 {
	return min(traffic.Normal, o.Most/times)
}

// work describes v for the table and the report.
func (v siege) work(o *Options, name string) Work {
	checks := checkRate * v.normal / traffic.Normal
	return Work{
		Name: name,
		About: fmt.Sprintf("The people of a site log in %.3g times a second, before a mail server that can check %.3g passwords a second, first come, first served. "+
			"%s Latency counts from the moment a client was due to come, and includes logging out again. postern has its default limits, the mail server's capacity, and has known these people for a day.", v.normal, checks, v.about),
		Rounds:   (o.Rounds + 2) / 3, // for each is long
		Fresh:    true,
		Announce: true,
		Settings: []string{
			fmt.Sprintf("LIMIT_GLOBAL=%.0f/1s", checks),
			fmt.Sprintf("BACKEND_LOGINS=%.0f", max(1, checks*checkTime.Seconds())),
		},
		Known:   traffic.New(1, v.normal, time.Time{}).KnownLogins(),
		Measure: func(ctx context.Context, t *Target, s *Sample) error { return v.measure(ctx, t, s) },
	}
}

// measure plays v at a target that has just been started.
func (v siege) measure(ctx context.Context, t *Target, s *Sample) error {
	if t.Backend == nil {
		return fmt.Errorf("%w: it takes the bench's own mail server, which knows everybody's password", ErrNotOffered)
	}
	if err := t.Backend.Limit(ctx, checkRate*v.normal/traffic.Normal, checkTime, 0); err != nil {
		return err
	}
	defer func() { _ = t.Backend.Limit(context.WithoutCancel(ctx), 0, 0, 0) }() // if it is still there
	begun := time.Now().Add(100 * time.Millisecond)
	from := begun.Add(v.peace)
	g, err := newGathering(t, begun, from, from.Add(v.onset), from.Add(v.onset+v.lasts), (v.attack.Peak()-1)*v.normal)
	if err != nil {
		return err
	}
	meter, err := t.Meter(ctx)
	if err != nil {
		return err
	}
	g.play(ctx, traffic.New(1, v.normal, begun, v.attack))
	if cpu, known := meter.CPU(); known {
		s.Figure("CPU per attempt", "µs", Lower, float64(cpu.Microseconds())/float64(g.attempts()))
	}
	if asked, known := meter.Asked(ctx); known {
		s.Figure("wrong passwords at the mail server", "/s", Lower, float64(asked.Denied)/time.Since(begun).Seconds())
	}
	g.report(s)
	return believe(ctx, s, meter, g.accepted())
}

// security is how the crowd connects: in clear text, so that one machine can play attackers by the thousand.
const security = client.Plain
