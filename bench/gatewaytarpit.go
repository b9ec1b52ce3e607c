package bench

import (
	"context"
	"fmt"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// gatewayTarpitWorks lists one work, at a running gateway.
func gatewayTarpitWorks(c *Config) ([]Work, error) {
	o := &c.Options
	if err := c.Remote.checkUsers(); err != nil {
		return nil, err
	}
	if most := o.Files - filesReserved; o.Held > most {
		return nil, fmt.Errorf("-held: got %d, want at most %d, because this process may have %d file descriptors (ulimit -n)", o.Held, most, o.Files)
	}
	return []Work{{
		Name: "tarpit",
		about: fmt.Sprintf("Users of the file log in, up to %g a second and each at most once in %v, for %v. Then %d attackers, each with an address in a network of its own, "+
			"guess at accounts of the file and at made-up ones, as fast as they are answered, up to %d times, and remain connected if they may. "+
			"%v later users log in for another %v. All users logged in once before. %s",
			userRate, userPause, o.Attack.Baseline, o.Held, guesses, o.Settle, o.Attack.Duration, notMeasured),
		rounds:  (o.Rounds + 2) / 3,
		measure: func(ctx context.Context, t *target, s *sample) error { return measureGatewayTarpit(ctx, t, s, o) },
	}}, nil
}

// measureGatewayTarpit does one round at a running gateway.
func measureGatewayTarpit(ctx context.Context, t *target, s *sample, o *Options) error {
	a := &o.Attack
	g, err := openGateway(ctx, t, s, loginsIn(userRate, a.Duration))
	if err != nil {
		return err
	}
	users, err := t.trafficDialer()
	if err != nil {
		return err
	}
	users.Timeout = userTimeout
	attackers, err := t.trafficDialer()
	if err != nil {
		return err
	}
	attackers.Timeout = attackerTimeout
	late := newResults(time.Now())
	before := g.logInFor(ctx, users, a.Baseline, late)
	w := &waitingAttackers{sessions: make([]*client.Session, o.Held)}
	defer w.close()
	guessed := newResults(time.Now())
	w.onGuess = func(l traffic.Login, at attempt) {
		guessed.add(time.Now(), 0, at.answer, at.err)
		if at.who, at.account = whoAttackers, l.Account; !at.accepted() {
			g.explained.add(at)
		}
	}
	logins := attackerLogins(o.Held)
	for i := range logins {
		logins[i] = g.guess(logins[i])
	}
	if err := w.connect(ctx, t, attackers, logins); err != nil {
		return err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return err
	}
	s.figure("attackers still connected", "", neither, float64(w.connected.Load()))
	s.figure("of them, made to wait", "", neither, float64(w.waiting.Load()))
	during := g.logInFor(ctx, users, a.Duration, late)
	g.reportTarpit(s, &attackResult{before: before, during: during, late: late, attackers: o.Held, guessed: guessed.accepted()})
	return ctx.Err()
}

// logInFor logs users in, one after the other, for a time, and counts in late by
// how much the bench was late.
func (g *gatewayUsers) logInFor(ctx context.Context, d *client.Dialer, duration time.Duration, late *results) *results {
	res := newResults(time.Now())
	rate := min(userRate, float64(len(g.users))/userPause.Seconds())
	openLoop(ctx, rate, duration, func(i int, due time.Time) {
		late.add(due, time.Since(due), client.Accepted, nil)
		n := i % len(g.users)
		a := attempt{who: whoUsers, account: g.users[n].Account, source: g.homes[n]}
		a.answer, a.line, a.err = logInOut(ctx, d, g.users[n], g.homes[n])
		if ctx.Err() != nil {
			return
		}
		res.add(due, time.Since(due), a.answer, a.err)
		if !a.accepted() {
			g.explained.add(a)
		}
	})
	return res
}

// reportTarpit adds the figures of users to s.
func (g *gatewayUsers) reportTarpit(s *sample, result *attackResult) {
	s.figure(knownAccepted, "%", higher, result.during.acceptedShare())
	s.figure("known, median", "ms", lower, result.during.millis(50))
	s.figure(knownSlowest, "ms", lower, result.during.millis(99))
	s.figure("known, 99 %, before the attack", "ms", neither, result.before.millis(99))
	s.figure("the bench itself was late, 99 %", "ms", neither, result.late.millis(99))
	s.latency("known, before the attack", result.before)
	s.latency("known, past attackers", result.during)
	s.explanations = g.explained.all()
	result.beforeServed.add(result.before)
	result.served.add(result.during)
	s.conclusion = result.String()
}
