package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// gatewayAttackWorks lists every kind of attack at every strength, at a running
// gateway.
func gatewayAttackWorks(c *Config) (works []Work, err error) {
	if err := c.Remote.checkUsers(); err != nil {
		return nil, err
	}
	kinds, err := c.Options.Attack.kinds()
	if err != nil {
		return nil, err
	}
	if err := checkKinds(kinds); err != nil {
		return nil, err
	}
	a := &c.Options.Attack
	for _, times := range slices.Sorted(slices.Values(a.Times)) {
		if times <= 1 {
			return nil, fmt.Errorf("-times: got %g, want more than 1", times)
		}
		for _, kind := range kinds {
			p := attackPlan{normal: a.normalRate(times), baseline: a.Baseline, duration: a.Duration, attack: traffic.Steady(kind, a.Baseline, times)}
			p.about = fmt.Sprintf("After %v without attackers, an attack, %s, raises all logins to %g times normal for %v.", p.baseline, kind, times, p.duration)
			works = append(works, p.gatewayWork(&c.Options, fmt.Sprintf("attack, %s, %g×", kind, times)))
		}
	}
	return works, nil
}

// gatewayIncidentWorks lists the incident at a running gateway.
func gatewayIncidentWorks(c *Config) ([]Work, error) {
	if err := c.Remote.checkUsers(); err != nil {
		return nil, err
	}
	p := incidentPlan(&c.Options.Attack)
	return []Work{p.gatewayWork(&c.Options, "incident")}, nil
}

// gatewayWork describes p at a running gateway.
func (p attackPlan) gatewayWork(o *Options, name string) Work {
	return Work{
		Name: name,
		about: fmt.Sprintf("The site has %.3g logins a second. Users of the file make them, each from an address of its own, but 7 %% from new addresses; "+
			"each user logs in at most once in %v, so few users are a sample of that site. All logged in once before. %s "+
			"Attackers guess at accounts of the file and at made-up ones. Latency counts from when a client was due and includes the logout. %s",
			p.normal, userPause, p.about, notMeasured),
		rounds:  (o.Rounds + 2) / 3, // each is long
		measure: func(ctx context.Context, t *target, s *sample) error { return p.measureGateway(ctx, t, s, o) },
	}
}

// measureGateway runs p at a running gateway.
func (p attackPlan) measureGateway(ctx context.Context, t *target, s *sample, o *Options) error {
	if err := p.checkSources(t); err != nil {
		return err
	}
	g, err := openGateway(ctx, t, s, loginsIn(p.normal, p.baseline+p.duration))
	if err != nil {
		return err
	}
	g.limitRate(p.normal)
	g.oneAccount = p.attack.Kind == traffic.Target
	start := time.Now().Add(100 * time.Millisecond)
	attackFrom := start.Add(p.baseline)
	attackers := (p.attack.Peak() - 1) * p.normal
	r, err := newTrafficRun(t, start, attackFrom, attackFrom, attackFrom.Add(p.duration), attackers)
	if err != nil {
		return err
	}
	r.gateway = g
	r.attackers.Timeout = min(r.attackers.Timeout, time.Duration(float64(o.Files-filesReserved)/attackers*float64(time.Second)))
	r.run(ctx, p.generator(start))
	r.reportGateway(s)
	return ctx.Err()
}

// checkSources returns an error if clients of p cannot have their addresses at t.
func (p attackPlan) checkSources(t *target) error {
	g := traffic.New(1, traffic.Normal, time.Time{}, traffic.Steady(p.attack.Kind, 0, 2))
	for l := g.Next(); ; l = g.Next() {
		if _, err := t.sourceFor(l.Addr); err != nil || l.Class == traffic.Attacker {
			return err
		}
	}
}

// reportGateway adds the figures of a running gateway to s.
func (r *trafficRun) reportGateway(s *sample) {
	known, attackers := r.attack[traffic.Phone], r.attack[traffic.Attacker]
	s.figure(knownAccepted, "%", higher, known.acceptedShare())
	if away := r.attack[traffic.Traveller]; away.all() > 0 {
		s.figure("travellers, accepted", "%", higher, away.acceptedShare())
	}
	s.figure("known, median", "ms", lower, known.millis(50))
	s.figure(knownSlowest, "ms", lower, known.millis(99))
	s.figure("known, 99 %, before the attack", "ms", neither, r.baseline[traffic.Phone].millis(99))
	seconds := r.until.Sub(r.attackFrom).Seconds()
	s.figure("logins of attackers", "/s", neither, float64(attackers.all())/seconds)
	s.figure("of them, denied", "%", neither, share(attackers, denied))
	s.figure("of them, without an answer in time", "%", neither, share(attackers, unanswered))
	s.figure("of them, waiting at the end", "%", neither, share(attackers, client.Interrupted))
	s.figure("the bench itself was late, 99 %", "ms", neither, r.late.millis(99))
	s.latency("known, before the attack", r.baseline[traffic.Phone])
	s.latency("known, under attack", known)
	s.timeline("logins", "a second", r.timeline("attackers", traffic.Attacker, startedIn), r.timeline("known", traffic.Phone, startedIn),
		r.timeline("known, accepted", traffic.Phone, acceptedIn))
	s.timeline("slowest login of the known", "s", r.timeline("known", traffic.Phone, slowestIn))
	s.explanations = r.gateway.explained.all()
	result := attackResult{attackers: attackers.all(), before: r.baseline[traffic.Phone], during: known, late: r.late, guessed: attackers.accepted()}
	for _, k := range []traffic.Class{traffic.Phone, traffic.Traveller} {
		result.beforeServed.add(r.baseline[k])
		result.served.add(r.attack[k])
	}
	s.conclusion = result.String()
}

// explain counts a login that was not accepted. It returns err, or the cause if
// the end of the run has ended the login.
func (r *trafficRun) explain(ctx context.Context, l traffic.Login, answer client.Answer, line string, err error) error {
	a := attempt{who: whoUsers, account: l.Account, answer: answer, line: line, err: err}
	switch {
	case a.accepted():
		return nil
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if l.Class == traffic.Attacker {
		a.who = whoAttackers
	}
	a.source, _ = r.target.sourceFor(l.Addr) // without an address, err says so
	r.gateway.explained.add(a)
	return err
}

// share returns the share of one outcome in per cent.
func share(r *results, outcome string) float64 {
	return 100 * float64(r.count(outcome)) / float64(max(1, r.all()))
}
