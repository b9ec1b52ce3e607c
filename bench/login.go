package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"postern/bench/client"
)

// login is the scenario: connect, greeting, TLS, login, logout, over and over.
var login = Scenario{
	Name:  "login",
	About: "logins over and over: CPU per login, logins a second, latency",
	Works: loginWorks,
}

// loginKind is one way to log in.
type loginKind struct {
	client.Protocol
	client.Security
	client.Method
}

// names puts a kind of login into words.
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

// loginWorks lists every kind of login; those that tell little that the others
// do not are extra.
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

// saturation is a closed loop: so many clients, each of whom logs in again as
// soon as it is out.
func saturation(o *Options, k loginKind) Work {
	return Work{
		Name: fmt.Sprintf("login, %s, saturation", k),
		About: fmt.Sprintf("%d clients log in and out as fast as they are served. Client, target and mail server share the machine, "+
			"so the CPU time of the target per login is what to compare; rates wander.", o.Workers),
		Rounds: o.Rounds,
		Measure: func(ctx context.Context, t *Target, s *Sample) error {
			return measureLogins(ctx, t, s, k, func(do func(i int, due time.Time)) time.Duration {
				return closedLoop(ctx, o.Workers, o.Duration, func(i int) { do(i, time.Now()) })
			})
		},
	}
}

// steady is an open loop: logins come at a fixed rate, however the last ones
// fare.
func steady(o *Options, k loginKind, rate float64) Work {
	return Work{
		Name: fmt.Sprintf("login, %s, %g/s", k, rate),
		About: fmt.Sprintf("%g clients a second log in, whether or not the earlier ones have been served. "+
			"Latency counts from the moment a client was due to come.", rate),
		Rounds: o.Rounds,
		Measure: func(ctx context.Context, t *Target, s *Sample) error {
			return measureLogins(ctx, t, s, k, func(do func(i int, due time.Time)) time.Duration {
				openLoop(ctx, rate, o.Duration, do)
				return o.Duration
			})
		},
	}
}

// acceptedShare is the figure that says how many of the logins were accepted.
const acceptedShare = "accepted"

// measureLogins does one round: loop decides when a login begins.
func measureLogins(ctx context.Context, t *Target, s *Sample, k loginKind, loop func(func(i int, due time.Time)) time.Duration) error {
	caller, err := t.Caller(k.Protocol, k.Security)
	if err != nil {
		return err
	}
	if k.Security == client.Resumed {
		if e := loginOnce(ctx, t, caller, 0, k.Method); e.err != nil {
			return fmt.Errorf("fetch a ticket: %w", e.err)
		}
	}
	meter, err := t.Meter(ctx)
	if err != nil {
		return err
	}
	tally := NewTally(time.Now())
	var resumed atomic.Int64
	took := loop(func(i int, due time.Time) {
		e := loginOnce(ctx, t, caller, i, k.Method)
		tally.Add(due, e.answered.Sub(due), e.answer, e.err)
		if e.resumed {
			resumed.Add(1)
		}
	})
	cpu, known := meter.CPU()
	n := tally.Accepted()
	if known && n > 0 {
		s.Figure("CPU per login", "µs", Lower, float64(cpu.Microseconds())/float64(n))
	}
	s.Figure("logins a second", "/s", Higher, float64(n)/took.Seconds())
	s.Figure(acceptedShare, "%", Higher, tally.Share())
	if k.Security == client.Resumed {
		s.Figure("resumed", "%", Higher, 100*float64(resumed.Load())/float64(max(1, tally.All())))
	}
	s.Figure("login, median", "ms", Lower, tally.Millis(50))
	s.Figure("login, 99 %", "ms", Lower, tally.Millis(99))
	s.Latency("login", tally)
	if what := tally.Failures(); what != "" {
		s.Problem("of %d logins: %s", tally.All(), what)
	}
	return believe(ctx, s, meter, tally.Accepted())
}

// errand is what became of one login.
type errand struct {
	answered time.Time
	answer   client.Answer
	resumed  bool
	err      error // there was no answer, or no proper goodbye
}

// loginOnce connects, logs in and leaves.
func loginOnce(ctx context.Context, t *Target, c *client.Caller, i int, how client.Method) (e errand) {
	session, err := c.Call(ctx, t.Source(i))
	if err != nil {
		return errand{answered: time.Now(), err: err}
	}
	account, secret := t.Account(i)
	e.answer, e.err = session.Login(account, secret, how)
	e.answered, e.resumed = time.Now(), session.Resumed
	if e.err != nil || e.answer != client.Accepted {
		session.Close()
		return e
	}
	e.err = session.Leave()
	return e
}

// believe compares what clients were told with what the mail server knows of: a
// target that answers by itself is found out.
func believe(ctx context.Context, s *Sample, m meter, told int) error {
	asked, known := m.Asked(ctx)
	if known && int64(told) > asked.Accepted {
		s.Problem("clients were told %d times that they are logged in, the mail server knows of %d", told, asked.Accepted)
	}
	return ctx.Err()
}
