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

// trafficRun sends the traffic of a site, users and attackers, to one target
// and counts the results by class.
type trafficRun struct {
	target                  *target
	users, attackers        *client.Dialer
	start, attackFrom       time.Time // baseline from start, onset of the attack from attackFrom
	countFrom, until        time.Time // logins due between these are counted as under attack
	baseline, onset, attack resultsByClass
	clients                 resultsByClass // those whose first try counts as under attack, by the result of their last
	late                    *results       // how late users started, which is the fault of the bench
	pending                 atomic.Int64   // users that are counted and are not finished

	tries      map[traffic.Class]int     // how often clients try, where that differs from the generator
	retryUntil time.Time                 // no client tries again from then on
	devices    map[uint64]*client.Dialer // by [traffic.Login.Device]
	notResumed atomic.Int64              // logins with a device whose TLS session was not resumed
	gateway    *gatewayUsers             // who log in, at a running gateway; else nil
}

// resultsByClass holds the results of each class of logins.
type resultsByClass map[traffic.Class]*results

func newResultsByClass(start time.Time) resultsByClass {
	c := resultsByClass{}
	for _, k := range traffic.Classes() {
		c[k] = newResults(start)
	}
	c[traffic.Office] = c[traffic.Phone] // both are known and come from their usual addresses
	return c
}

const (
	// userTimeout is how long a user waits for an answer. Mail programs differ;
	// few wait longer than twice this.
	userTimeout = 10 * time.Second
	// attackerTimeout is the same for an attacker, less at high rates.
	attackerTimeout = 12 * time.Second
	// maxWaitingAttackers bounds the attackers that wait for an answer at the
	// same time, and thereby the file descriptors.
	maxWaitingAttackers = 8000
)

// newTrafficRun prepares a run with a rate of attackers in logins a second.
func newTrafficRun(t *target, start, attackFrom, countFrom, until time.Time, attackers float64) (*trafficRun, error) {
	r := &trafficRun{target: t, start: start, attackFrom: attackFrom, countFrom: countFrom, until: until,
		baseline: newResultsByClass(start), onset: newResultsByClass(start), attack: newResultsByClass(start), clients: newResultsByClass(start),
		late: newResults(start), retryUntil: until}
	var err error
	if r.users, err = t.trafficDialer(); err != nil {
		return nil, err
	}
	if r.attackers, err = t.trafficDialer(); err != nil {
		return nil, err
	}
	r.users.Timeout = userTimeout
	r.attackers.Timeout = min(attackerTimeout, time.Duration(maxWaitingAttackers/max(1, attackers)*float64(time.Second)))
	return r, nil
}

// run starts every login when it is due. After the end it continues, without
// counting, until all users that count have their result.
func (r *trafficRun) run(ctx context.Context, g *traffic.Generator) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // ends attackers that still wait
	for {
		l := g.Next()
		if pause(ctx, time.Until(l.At)) != nil || l.At.After(r.until) && r.pending.Load() == 0 {
			return
		}
		if r.gateway != nil {
			var takesPlace bool
			if l, takesPlace = r.gateway.login(l); !takesPlace {
				continue
			}
		}
		if r.counts(l) {
			r.pending.Add(1)
		}
		wg.Go(func() { r.client(ctx, l) })
	}
}

// counts reports whether l is a user's login that counts.
func (r *trafficRun) counts(l traffic.Login) bool {
	return l.Class != traffic.Attacker && l.At.Before(r.until)
}

// client is one client, from its first try to its last. Those that are refused,
// or leave on purpose, try again until retryUntil.
func (r *trafficRun) client(ctx context.Context, l traffic.Login) {
	if n := r.tries[l.Class]; n > 0 {
		l.Tries = n
	}
	first := l
	for {
		answer, err := r.try(ctx, l)
		now := time.Now()
		again, ok := l.Again(now)
		if !ok || err == nil && answer != client.Busy || !again.At.Before(r.retryUntil) || pause(ctx, time.Until(again.At)) != nil {
			r.finished(first, now, answer, err)
			return
		}
		l = again
	}
}

// try is one login, from connect to logout.
func (r *trafficRun) try(ctx context.Context, l traffic.Login) (client.Answer, error) {
	if l.Class != traffic.Attacker {
		r.late.add(l.At, time.Since(l.At), client.Accepted, nil)
	}
	answer, line, err := r.loginLine(ctx, l)
	if !l.At.Before(r.until) {
		return answer, err
	}
	if r.gateway != nil {
		err = r.explain(ctx, l, answer, line, err)
	}
	r.resultsFor(l).add(l.At, time.Since(l.At), answer, err)
	return answer, err
}

// finished counts a client by the result of its last try.
func (r *trafficRun) finished(first traffic.Login, now time.Time, answer client.Answer, err error) {
	if !first.At.Before(r.countFrom) && first.At.Before(r.until) {
		r.clients[first.Class].add(first.At, now.Sub(first.At), answer, err)
	}
	if r.counts(first) {
		r.pending.Add(-1)
	}
}

// resultsFor returns where l is counted.
func (r *trafficRun) resultsFor(l traffic.Login) *results {
	switch {
	case l.At.Before(r.attackFrom):
		return r.baseline[l.Class]
	case l.At.Before(r.countFrom):
		return r.onset[l.Class]
	}
	return r.attack[l.Class]
}

// login connects, logs in and logs out, or does what else l says.
func (r *trafficRun) login(ctx context.Context, l traffic.Login) (client.Answer, error) {
	answer, _, err := r.loginLine(ctx, l)
	return answer, err
}

// loginLine does what login does. line is the answer to a login that was not
// accepted.
func (r *trafficRun) loginLine(ctx context.Context, l traffic.Login) (a client.Answer, line string, err error) {
	source, err := r.target.sourceFor(l.Addr)
	if err != nil {
		return 0, "", err
	}
	s, err := r.dialerFor(l).Dial(ctx, source)
	if err != nil {
		return 0, "", err
	}
	if l.Hold > 0 || l.Idle > 0 {
		return 0, "", leave(ctx, s, l)
	}
	if l.Device != 0 && !s.Resumed {
		r.notResumed.Add(1)
	}
	if l.Patience > 0 {
		s.SetTimeout(l.Patience)
	}
	how := client.Login
	if l.Token {
		how = client.XOAuth2
	}
	a, err = s.Login(l.Account, l.Secret, how)
	if err != nil || a != client.Accepted {
		s.Close()
		return a, s.Refusal, err
	}
	return a, "", s.Logout()
}

// dialerFor returns the dialer of the client that makes l.
func (r *trafficRun) dialerFor(l traffic.Login) *client.Dialer {
	switch {
	case l.Class == traffic.Attacker:
		return r.attackers
	case l.Device != 0:
		return r.devices[l.Device]
	}
	return r.users
}

// leave leaves a challenge unanswered or sends nothing, and hangs up after the
// time that l says. It returns errLeft, or another error if the target did not
// let it.
func leave(ctx context.Context, s *client.Session, l traffic.Login) error {
	defer s.Close()
	if l.Hold > 0 {
		if err := s.Challenge(); err != nil {
			return err
		}
	}
	if err := s.SendNothing(ctx, l.Hold+l.Idle); err != nil {
		return err
	}
	return errLeft
}

// useDevices makes the devices of known logins known to a target: each logs in
// from home, over TLS, and keeps the ticket of its session. It returns the
// dialers that resume these sessions.
func useDevices(ctx context.Context, t *target, known []traffic.Login) (map[uint64]*client.Dialer, error) {
	devices := map[uint64]*client.Dialer{}
	for _, l := range known {
		if l.Device == 0 {
			continue
		}
		d, err := t.dialer(client.IMAP, client.Resumed)
		if err != nil {
			return nil, err
		}
		d.Timeout, devices[l.Device] = userTimeout, d
		r := &trafficRun{target: t, devices: devices}
		if answer, err := r.login(ctx, l); err != nil || answer != client.Accepted {
			return nil, fmt.Errorf("log in with a device before the attack: %s", outcome(answer, err))
		}
	}
	return devices, nil
}

// attempts returns how many logins were counted, at least 1.
func (r *trafficRun) attempts() int {
	return max(1, r.sum((*results).all))
}

// accepted returns how many of them were accepted.
func (r *trafficRun) accepted() int {
	return r.sum((*results).accepted)
}

func (r *trafficRun) sum(count func(*results) int) (n int) {
	for _, c := range []resultsByClass{r.baseline, r.onset, r.attack} {
		for k, res := range c {
			if k != traffic.Office { // counted with the phones
				n += count(res)
			}
		}
	}
	return n
}

// knownAccepted is the figure of the logins of known users that were accepted.
const knownAccepted = "known, accepted"

// knownSlowest is the figure of their latency.
const knownSlowest = "known, 99 %"

// report adds the figures to s.
func (r *trafficRun) report(s *sample) {
	known := r.attack[traffic.Phone]
	s.figure(knownAccepted, "%", higher, known.acceptedShare())
	s.figure("travellers, accepted", "%", higher, r.attack[traffic.Traveller].acceptedShare())
	s.figure("newcomers' tries, accepted", "%", higher, r.attack[traffic.Newcomer].acceptedShare())
	s.figure("known, median", "ms", lower, known.millis(50))
	s.figure(knownSlowest, "ms", lower, known.millis(99))
	s.figure("known, 99 %, before the attack", "ms", neither, r.baseline[traffic.Phone].millis(99))
	if before := r.baseline[traffic.Phone].millis(99); before > 0 {
		s.figure("known, 99 %, against before", "×", lower, known.millis(99)/before)
	}
	s.figure("the bench itself was late, 99 %", "ms", neither, r.late.millis(99))
	s.latency("known, before the attack", r.baseline[traffic.Phone])
	s.latency("known, under attack", known)
	s.timeline("logins", "a second", r.timeline("attackers", traffic.Attacker, startedIn), r.timeline("known", traffic.Phone, startedIn),
		r.timeline("known, accepted", traffic.Phone, acceptedIn))
	s.timeline("slowest login of the known", "s", r.timeline("known", traffic.Phone, slowestIn))
	for k, name := range map[traffic.Class]string{traffic.Phone: "known", traffic.Traveller: "travellers"} {
		if what := r.attack[k].failures(); what != "" {
			s.problem("of %d logins of the %s: %s", r.attack[k].all(), name, what)
		}
	}
}

func startedIn(s second) float64  { return float64(s.Started) }
func acceptedIn(s second) float64 { return float64(s.Accepted) }
func slowestIn(s second) float64  { return s.Slowest.Seconds() }

// timeline returns a value of one class, second by second, over the whole run.
func (r *trafficRun) timeline(name string, k traffic.Class, value func(second) float64) Line {
	line := Line{Name: name, Values: make([]float64, int(r.until.Sub(r.start)/time.Second))}
	for _, c := range []resultsByClass{r.baseline, r.onset, r.attack} {
		for i, s := range c[k].perSecond() {
			if i < len(line.Values) {
				line.Values[i] += value(s)
			}
		}
	}
	return line
}
