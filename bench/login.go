package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"postern/bench/client"
)

// loginScenario measures connect, TLS, login and logout, again and again.
var loginScenario = Scenario{
	Name:  "login",
	About: "repeated logins: CPU per login, logins a second, latency",
	works: loginWorks,
}

// loginKind is one way to log in.
type loginKind struct {
	client.Protocol
	client.Security
	client.Method
}

// String names the kind as the report does.
func (k loginKind) String() string {
	s := map[client.Security]string{client.Plain: "plain", client.StartTLS: "STARTTLS", client.TLS: "TLS", client.Resumed: "TLS resumed"}[k.Security]
	if k.Protocol == client.POP3 {
		s = "POP3 " + s
	}
	if k.Method == client.Authenticate {
		s += ", AUTHENTICATE"
	}
	return s
}

// loginWorks lists all kinds of login. Those that add little to the others are
// extra.
func loginWorks(o *Options) (works []Work, err error) {
	for _, p := range []client.Protocol{client.IMAP, client.POP3} {
		for _, s := range []client.Security{client.Plain, client.TLS, client.Resumed, client.StartTLS} {
			for _, m := range []client.Method{client.Login, client.Authenticate} {
				w := saturation(o, loginKind{p, s, m})
				w.Extra = m == client.Authenticate || p == client.POP3 && s != client.TLS
				works = append(works, w)
			}
		}
	}
	return append(works,
		steady(o, loginKind{client.IMAP, client.Plain, client.Login}, 4*o.Rate),
		steady(o, loginKind{client.IMAP, client.TLS, client.Login}, o.Rate),
	), nil
}

// saturation is a closed loop: each client logs in again as soon as it has
// logged out.
func saturation(o *Options, k loginKind) Work {
	return Work{
		Name: fmt.Sprintf("login, %s, saturation", k),
		about: fmt.Sprintf("%d clients log in and out as fast as they are served. Clients, target and mail server share the machine, "+
			"so compare the CPU time of the target per login; rates vary.", o.Workers),
		rounds: o.Rounds,
		measure: func(ctx context.Context, t *target, s *sample) error {
			return measureLogins(ctx, t, s, k, func(do func(i int, due time.Time)) time.Duration {
				return closedLoop(ctx, o.Workers, o.Duration, func(i int) { do(i, time.Now()) })
			})
		},
	}
}

// steady is an open loop: logins start at a fixed rate, even if earlier ones
// have not ended.
func steady(o *Options, k loginKind, rate float64) Work {
	return Work{
		Name: fmt.Sprintf("login, %s, %g/s", k, rate),
		about: fmt.Sprintf("%g clients a second log in, even if earlier ones have not been served. "+
			"Latency counts from when a client was due.", rate),
		rounds: o.Rounds,
		measure: func(ctx context.Context, t *target, s *sample) error {
			return measureLogins(ctx, t, s, k, func(do func(i int, due time.Time)) time.Duration {
				openLoop(ctx, rate, o.Duration, do)
				return o.Duration
			})
		},
	}
}

// acceptedFigure is the figure of the logins that were accepted.
const acceptedFigure = "accepted"

// measureLogins does one round. loop decides when a login starts.
func measureLogins(ctx context.Context, t *target, s *sample, k loginKind, loop func(func(i int, due time.Time)) time.Duration) error {
	dialer, err := t.dialer(k.Protocol, k.Security)
	if err != nil {
		return err
	}
	if k.Security == client.Resumed {
		if l := loginOnce(ctx, t, dialer, 0, k.Method); l.err != nil {
			return fmt.Errorf("get a session ticket: %w", l.err)
		}
	}
	meter, err := t.meter(ctx)
	if err != nil {
		return err
	}
	res := newResults(time.Now())
	var resumed atomic.Int64
	took := loop(func(i int, due time.Time) {
		l := loginOnce(ctx, t, dialer, i, k.Method)
		res.add(due, l.answered.Sub(due), l.answer, l.err)
		if l.resumed {
			resumed.Add(1)
		}
	})
	cpu, known := meter.cpu()
	n := res.accepted()
	if known && n > 0 {
		s.figure("CPU per login", "µs", lower, float64(cpu.Microseconds())/float64(n))
	}
	s.figure("logins a second", "/s", higher, float64(n)/took.Seconds())
	s.figure(acceptedFigure, "%", higher, res.acceptedShare())
	if k.Security == client.Resumed {
		s.figure("resumed", "%", higher, 100*float64(resumed.Load())/float64(max(1, res.all())))
	}
	s.figure("login, median", "ms", lower, res.millis(50))
	s.figure("login, 99 %", "ms", lower, res.millis(99))
	s.latency("login", res)
	if what := res.failures(); what != "" {
		s.problem("of %d logins: %s", res.all(), what)
	}
	return checkReported(ctx, s, meter, res.accepted())
}

// loginResult is the outcome of one login.
type loginResult struct {
	answered time.Time
	answer   client.Answer
	resumed  bool
	err      error // no answer, or no proper logout
}

// loginOnce connects, logs in and logs out.
func loginOnce(ctx context.Context, t *target, d *client.Dialer, i int, how client.Method) (l loginResult) {
	session, err := d.Dial(ctx, t.source(i))
	if err != nil {
		return loginResult{answered: time.Now(), err: err}
	}
	account, secret := t.account(i)
	l.answer, l.err = session.Login(account, secret, how)
	l.answered, l.resumed = time.Now(), session.Resumed
	if l.err != nil || l.answer != client.Accepted {
		session.Close()
		return l
	}
	l.err = session.Logout()
	return l
}

// checkReported notes a problem if clients saw more accepted logins than the
// mail server: then the target answers logins itself.
func checkReported(ctx context.Context, s *sample, m meter, accepted int) error {
	counts, known := m.counts(ctx)
	if known && int64(accepted) > counts.Accepted {
		s.problem("clients counted %d accepted logins, the mail server %d", accepted, counts.Accepted)
	}
	return ctx.Err()
}
