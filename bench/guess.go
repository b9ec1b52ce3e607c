package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

const (
	guessPairs = 100 // sources, each with an account that it guesses at
	guessRate  = 5.0 // guesses a second of each source
	guessTime  = 20 * time.Second
)

// guessWork measures how many passwords of an account one source can test. The
// accounts are known, so postern can tell their passwords from others without
// asking the mail server.
func guessWork(o *Options) Work {
	return Work{
		Name: "informed, guessing after refusals",
		about: fmt.Sprintf("%d sources, each in a network of its own, guess at one account each, %g times a second for %v, whether they are answered or not. "+
			"One of the guesses, earlier for some sources and later for others, is the right password, and a source that is let in stops. "+
			"The share of the sources that are let in is the share of their guesses that are tested. The mail server has no limit.", guessPairs, guessRate, guessTime),
		rounds:      (o.Rounds + 2) / 3,
		fresh:       true,
		proxyHeader: true,
		settings:    []string{"LIMIT_GLOBAL=1000/1s", "BACKEND_LOGINS=100"},
		known:       guessedAccounts(),
		measure:     measureGuesses,
	}.onlyAt("postern", "nginx")
}

// guessedAccounts returns a login of the owner of each account.
func guessedAccounts() []traffic.Login {
	return traffic.New(1, traffic.Normal, time.Time{}).KnownLogins()[:guessPairs]
}

// measureGuesses does one round at a freshly started target.
func measureGuesses(ctx context.Context, t *target, s *sample) error {
	d, err := t.trafficDialer()
	if err != nil {
		return err
	}
	d.Timeout = attackerTimeout
	meter, err := t.meter(ctx)
	if err != nil {
		return err
	}
	made, letIn, err := guessAll(ctx, t, d)
	if err != nil {
		return err
	}
	each := guessRate * guessTime.Seconds()
	s.figure("guesses of a source", "", neither, float64(made)/guessPairs)
	if counts, known := meter.counts(ctx); known {
		s.figure("of them, denied by the mail server", "", lower, float64(counts.Denied)/guessPairs)
	}
	s.figure("right passwords let in", "%", lower, 100*float64(letIn)/guessPairs)
	s.figure(testedFigure, "", lower, each*float64(letIn)/guessPairs)
	return checkReported(ctx, s, meter, letIn)
}

// testedFigure is the figure of the guesses whose answer says whether they are
// right, by the mail server or by what postern knows.
const testedFigure = "guesses that are tested, about"

// guessAll lets all sources guess for guessTime. It returns how many guesses they
// made and how many sources were let in, or an error if no guess was answered.
func guessAll(ctx context.Context, t *target, d *client.Dialer) (made, letIn int, err error) {
	if _, err := t.sourceFor(attackerLogins(1)[0].Addr); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, guessTime)
	defer cancel()
	owners, sources := guessedAccounts(), attackerLogins(guessPairs)
	var in [guessPairs]atomic.Bool
	r, res := trafficRun{target: t, attackers: d}, newResults(time.Now())
	each := int(guessRate * guessTime.Seconds())
	openLoop(ctx, guessRate*guessPairs, guessTime, func(i int, due time.Time) {
		pair, n := i%guessPairs, i/guessPairs
		if in[pair].Load() {
			return
		}
		l := traffic.Login{Class: traffic.Attacker, Addr: sources[pair].Addr, Account: owners[pair].Account, Secret: fmt.Sprint("guess-", n)}
		if n == each*pair/guessPairs {
			l.Secret = owners[pair].Secret
		}
		answer, err := r.login(ctx, l)
		if err == nil && answer == client.Accepted {
			in[pair].Store(true)
		}
		res.add(due, time.Since(due), answer, err)
	})
	if res.count(accepted, denied) == 0 {
		return 0, 0, fmt.Errorf("of %d guesses none was answered: %s", res.all(), res.failures())
	}
	for i := range in {
		if in[i].Load() {
			letIn++
		}
	}
	return res.all(), letIn, nil
}
