package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// tarpit is the scenario: attackers who are made to wait.
var tarpit = Scenario{
	Name:  "tarpit",
	About: "attackers who are made to wait: memory and descriptors for each, and whether others still get in",
	Works: tarpitWorks,
}

const (
	guesses     = 9   // of one attacker, on one connection
	callAtOnce  = 32  // attackers who connect at the same time
	passersRate = 50. // a second, of the known, and as many newcomers
)

func tarpitWorks(o *Options) ([]Work, error) {
	return []Work{{
		Name: "tarpit, TLS",
		About: fmt.Sprintf("%d attackers, each with an address in a network of its own, guess wrong passwords as fast as they are answered, up to %d times, and stay connected. "+
			"Memory is the proportional set size (PSS) of all the target's processes, read %v after the last has come, less what it was before, per connection that is still there. "+
			"Then others log in from clean addresses: %g a second who are known, since they have logged in before the attackers came, and as many newcomers.", o.Held, guesses, o.Settle, passersRate),
		Rounds:   o.Rounds,
		Fresh:    true,
		Announce: true,
		// More tries on a connection, so that attackers are there to be weighed; all limits are the default ones.
		Settings: []string{fmt.Sprintf("TRIES=%d", guesses+1)},
		Measure:  func(ctx context.Context, t *Target, s *Sample) error { return holdAttackers(ctx, t, s, o) },
	}}, nil
}

// stuck is the attackers at one target.
type stuck struct {
	sessions  []*client.Session
	connected atomic.Int64 // of them, those who still are
	waiting   atomic.Int64 // of those, the ones who have no answer yet
	wg        sync.WaitGroup
}

// holdAttackers does one round at a target that has just been started.
func holdAttackers(ctx context.Context, t *Target, s *Sample, o *Options) error {
	caller, err := t.Caller(client.IMAP, client.TLS)
	if err != nil {
		return err
	}
	h := &held{t: t, o: o}
	if err := h.warm(ctx, caller); err != nil {
		return err
	}
	if err := h.baseline(ctx); err != nil {
		return err
	}
	k := &stuck{sessions: make([]*client.Session, o.Held)}
	defer k.release()
	if err := k.come(ctx, t, caller); err != nil {
		return err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return err
	}
	if err := k.weigh(t, s, h); err != nil {
		return err
	}
	return passBy(ctx, t, s, caller)
}

// come connects every attacker and lets it guess.
func (k *stuck) come(ctx context.Context, t *Target, c *client.Caller) error {
	wide := traffic.New(1, traffic.Normal, time.Time{}, traffic.Steady(traffic.Wide, 0, 100))
	var who []traffic.Login
	for len(who) < len(k.sessions) {
		if l := wide.Next(); l.Class == traffic.Attacker {
			who = append(who, l)
		}
	}
	return each(ctx, len(who), callAtOnce, func(i int) error {
		source, err := t.From(who[i].Addr)
		if err != nil {
			return err
		}
		s, err := c.Call(ctx, source)
		if err != nil {
			return err
		}
		s.Patience(holdPatience)
		k.sessions[i] = s
		k.connected.Add(1)
		k.wg.Go(func() { k.guess(s, who[i]) })
		return nil
	})
}

// guess tries one wrong password after the other and stays, unless the connection ends.
func (k *stuck) guess(s *client.Session, l traffic.Login) {
	for i := range guesses {
		k.waiting.Add(1)
		answer, err := s.Login(l.Account, fmt.Sprint(l.Secret, i), client.Login)
		k.waiting.Add(-1)
		if err != nil || answer != client.Denied {
			k.connected.Add(-1)
			return
		}
	}
}

// weigh reads what an attacker costs who is still there.
func (k *stuck) weigh(t *Target, s *Sample, h *held) error {
	n := k.connected.Load()
	s.Figure("attackers still connected", "", Neither, float64(n))
	s.Figure("of them, made to wait", "", Neither, float64(k.waiting.Load()))
	if t.pid == 0 || n < int64(len(k.sessions)/10) {
		return nil // too few to be weighed
	}
	memory, err := t.Memory()
	if err != nil {
		return err
	}
	descriptors, err := t.Descriptors()
	s.Figure("memory per attacker", "KB", Lower, float64(memory-h.memory)/1024/float64(n))
	s.Figure("descriptors per attacker", "", Lower, float64(descriptors-h.descriptors)/float64(n))
	return err
}

// passBy lets those who belong log in past the attackers: in turn one who is known, since he has logged in before they
// came, and one who has not.
func passBy(ctx context.Context, t *Target, s *Sample, c *client.Caller) error {
	known, newcomers := NewTally(time.Now()), NewTally(time.Now())
	openLoop(ctx, 2*passersRate, wakeDuration, func(i int, due time.Time) {
		tally, who := known, i/2%warmingLogins
		if i%2 == 1 {
			tally, who = newcomers, warmingLogins+i/2
		}
		e := loginOnce(ctx, t, c, who, client.Login)
		tally.Add(due, e.answered.Sub(due), e.answer, e.err)
	})
	for _, p := range []struct {
		name string
		*Tally
	}{{"known", known}, {"newcomers", newcomers}} {
		s.Figure(p.name+", accepted", "%", Higher, p.Share())
		s.Figure(p.name+", 99 %", "ms", Lower, p.Millis(99))
		s.Latency("login past attackers, "+p.name, p.Tally)
		if what := p.Failures(); what != "" {
			s.Problem("of %d logins of the %s past the attackers: %s", p.All(), p.name, what)
		}
	}
	return ctx.Err()
}

// release lets all attackers go.
func (k *stuck) release() {
	for _, s := range k.sessions {
		if s != nil {
			s.Conn.Close() // Close is for its own goroutine, once the guess has failed
		}
	}
	k.wg.Wait()
	for _, s := range k.sessions {
		if s != nil {
			s.Close()
		}
	}
}
