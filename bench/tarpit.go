package bench

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// tarpitScenario measures attackers that the target makes wait.
var tarpitScenario = Scenario{
	Name:  "tarpit",
	About: "attackers that wait in the tarpit: memory and file descriptors of each, and the logins of users meanwhile",
	works: tarpitWorks, gateway: gatewayTarpitWorks,
}

const (
	guesses       = 9    // of one attacker, on one connection
	connectAtOnce = 32   // attackers that connect at the same time
	userRate      = 50.0 // logins a second of known users, and of newcomers
)

func tarpitWorks(o *Options) ([]Work, error) {
	return []Work{{
		Name: "tarpit, TLS",
		about: fmt.Sprintf("%d attackers, each with an address in a network of its own, guess wrong passwords as fast as they are answered, up to %d times, and remain connected. "+
			"Memory is the proportional set size (PSS) of all processes of the target, read %v after the last attacker has connected, minus what it was before, per connection that is still open. "+
			"Then users log in from other addresses: %g a second who are known, since they logged in before the attackers connected, and as many newcomers.", o.Held, guesses, o.Settle, userRate),
		rounds:      o.Rounds,
		fresh:       true,
		proxyHeader: true,
		// More tries on a connection, so that attackers remain connected; all limits have their defaults.
		settings: []string{fmt.Sprintf("TRIES=%d", guesses+1)},
		measure:  func(ctx context.Context, t *target, s *sample) error { return measureTarpit(ctx, t, s, o) },
	}}, nil
}

// measureTarpit does one round at a freshly started target.
func measureTarpit(ctx context.Context, t *target, s *sample, o *Options) error {
	dialer, err := t.dialer(client.IMAP, client.TLS)
	if err != nil {
		return err
	}
	h := &heldSessions{t: t, o: o}
	if err := h.warmUp(ctx, dialer); err != nil {
		return err
	}
	if err := h.measureEmpty(ctx); err != nil {
		return err
	}
	w := &waitingAttackers{sessions: make([]*client.Session, o.Held)}
	defer w.close()
	if err := w.connect(ctx, t, dialer, attackerLogins(o.Held)); err != nil {
		return err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return err
	}
	if err := w.measureMemory(t, s, h); err != nil {
		return err
	}
	return measureUsers(ctx, t, s, dialer)
}

// waitingAttackers is the attackers at one target.
type waitingAttackers struct {
	onGuess   func(l traffic.Login, a attempt) // at a running gateway: gets the end of every guess; else nil
	closing   atomic.Bool                      // the bench closes the sessions
	sessions  []*client.Session
	connected atomic.Int64 // sessions that are still open
	waiting   atomic.Int64 // of those, sessions that wait for an answer
	wg        sync.WaitGroup
}

// connect opens the sessions of all attackers and starts their guesses.
func (w *waitingAttackers) connect(ctx context.Context, t *target, d *client.Dialer, logins []traffic.Login) error {
	return forEach(ctx, len(logins), connectAtOnce, func(i int) error {
		source, err := t.sourceFor(logins[i].Addr)
		if err != nil {
			return err
		}
		s, err := d.Dial(ctx, source)
		if err != nil && w.onGuess != nil && ctx.Err() == nil {
			w.onGuess(logins[i], attempt{source: source, err: err})
			return nil
		}
		if err != nil {
			return err
		}
		s.SetTimeout(holdTimeout)
		w.sessions[i] = s
		w.connected.Add(1)
		w.wg.Go(func() { w.guess(s, logins[i], source) })
		return nil
	})
}

// attackerLogins returns n logins of attackers, each from a network of its own.
func attackerLogins(n int) (logins []traffic.Login) {
	wide := traffic.New(1, traffic.Normal, time.Time{}, traffic.Steady(traffic.Wide, 0, 100))
	for len(logins) < n {
		if l := wide.Next(); l.Class == traffic.Attacker {
			logins = append(logins, l)
		}
	}
	return logins
}

// guess tries wrong passwords, one after the other, and leaves the session open.
func (w *waitingAttackers) guess(s *client.Session, l traffic.Login, source netip.Addr) {
	for i := range guesses {
		w.waiting.Add(1)
		answer, err := s.Login(l.Account, fmt.Sprint(l.Secret, i), client.Login)
		w.waiting.Add(-1)
		if w.onGuess != nil && !w.closing.Load() {
			w.onGuess(l, attempt{source: source, answer: answer, line: s.Refusal, err: err})
		}
		if err != nil || answer != client.Denied {
			w.connected.Add(-1)
			return
		}
	}
}

// measureMemory adds what an attacker uses that is still connected.
func (w *waitingAttackers) measureMemory(t *target, s *sample, h *heldSessions) error {
	n := w.connected.Load()
	s.figure("attackers still connected", "", neither, float64(n))
	s.figure("of them, made to wait", "", neither, float64(w.waiting.Load()))
	if t.pid == 0 || n < int64(len(w.sessions)/10) {
		return nil // too few to measure
	}
	memory, err := t.memory()
	if err != nil {
		return err
	}
	descriptors, err := t.descriptors()
	s.figure("memory per attacker", "KB", lower, float64(memory-h.memoryBefore)/1024/float64(n))
	s.figure("descriptors per attacker", "", lower, float64(descriptors-h.descriptorsBefore)/float64(n))
	return err
}

// measureUsers logs users in while the attackers wait: alternately a known
// user, who has logged in before the attackers connected, and a newcomer.
func measureUsers(ctx context.Context, t *target, s *sample, d *client.Dialer) error {
	known, newcomers := newResults(time.Now()), newResults(time.Now())
	openLoop(ctx, 2*userRate, wakeDuration, func(i int, due time.Time) {
		res, account := known, i/2%warmUpLogins
		if i%2 == 1 {
			res, account = newcomers, warmUpLogins+i/2
		}
		l := loginOnce(ctx, t, d, account, client.Login)
		res.add(due, l.answered.Sub(due), l.answer, l.err)
	})
	for _, u := range []struct {
		name string
		*results
	}{{"known", known}, {"newcomers", newcomers}} {
		s.figure(u.name+", accepted", "%", higher, u.acceptedShare())
		s.figure(u.name+", 99 %", "ms", lower, u.millis(99))
		s.latency("login past attackers, "+u.name, u.results)
		if what := u.failures(); what != "" {
			s.problem("of %d logins of the %s past the attackers: %s", u.all(), u.name, what)
		}
	}
	return ctx.Err()
}

// close closes all sessions.
func (w *waitingAttackers) close() {
	w.closing.Store(true)
	for _, s := range w.sessions {
		if s != nil {
			s.Conn.Close() // s itself belongs to its goroutine until that has ended
		}
	}
	w.wg.Wait()
	for _, s := range w.sessions {
		if s != nil {
			s.Close()
		}
	}
}
