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

// gathering is a crowd at the doors of one target, counted class by class.
type gathering struct {
	target              *Target
	people, attackers   *client.Caller
	begun, from         time.Time // peace from begun, the attack from from
	counted, until      time.Time // under attack, those are counted who were due between these
	peace, onset, siege census
	late                *Tally       // of the bench itself, which should begin what is due
	open                atomic.Int64 // people who are counted and have no answer yet
}

// census is what became of each class.
type census map[traffic.Class]*Tally

func newCensus(begun time.Time) census {
	c := census{}
	for _, k := range traffic.Classes() {
		c[k] = NewTally(begun)
	}
	c[traffic.Office] = c[traffic.Phone] // both are who they always were, where they always are
	return c
}

// peoplePatience is how long one of the people waits for an answer. Mail programs differ; few wait longer than twice that.
const peoplePatience = 10 * time.Second

// waitingMost is how many attackers may be left waiting at once, so that descriptors last.
const waitingMost = 8000

// attackersPatience is how long an attacker waits for an answer, if not too many come.
const attackersPatience = 12 * time.Second

// newGathering prepares for a crowd with so many attackers a second.
func newGathering(t *Target, begun, from, counted, until time.Time, attackers float64) (*gathering, error) {
	g := &gathering{target: t, begun: begun, from: from, counted: counted, until: until,
		peace: newCensus(begun), onset: newCensus(begun), siege: newCensus(begun), late: NewTally(begun)}
	var err error
	if g.people, err = t.Caller(client.IMAP, security); err != nil {
		return nil, err
	}
	if g.attackers, err = t.Caller(client.IMAP, security); err != nil {
		return nil, err
	}
	g.people.Patience = peoplePatience
	g.attackers.Patience = min(attackersPatience, time.Duration(waitingMost/max(1, attackers)*float64(time.Second)))
	return g, nil
}

// play lets everybody come when they are due. It goes on, with nobody counted any more, until all who were counted know
// what became of them.
func (g *gathering) play(ctx context.Context, c *traffic.Generator) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // attackers who still wait
	for {
		l := c.Next()
		if pause(ctx, time.Until(l.At)) != nil || l.At.After(g.until) && g.open.Load() == 0 {
			return
		}
		if g.counts(l) {
			g.open.Add(1)
		}
		wg.Go(func() { g.visit(ctx, l) })
	}
}

// counts reports whether l is one of the people and counted.
func (g *gathering) counts(l traffic.Login) bool {
	return l.Class != traffic.Attacker && l.At.Before(g.until)
}

// visit is one login from its beginning to its end. Newcomers who are turned away come again, while anybody is counted.
func (g *gathering) visit(ctx context.Context, l traffic.Login) {
	caller := g.people
	if l.Class == traffic.Attacker {
		caller = g.attackers
	} else {
		g.late.Add(l.At, time.Since(l.At), client.Accepted, nil)
	}
	answer, err := g.login(ctx, caller, l)
	now := time.Now()
	if l.At.Before(g.until) {
		g.of(l).Add(l.At, now.Sub(l.At), answer, err)
	}
	if g.counts(l) {
		defer g.open.Add(-1)
	}
	if again, ok := l.Again(now); ok && (err != nil || answer == client.Busy) && again.At.Before(g.until) {
		g.open.Add(1)
		if pause(ctx, time.Until(again.At)) == nil {
			g.visit(ctx, again)
		}
	}
}

// of returns where l is counted.
func (g *gathering) of(l traffic.Login) *Tally {
	switch {
	case l.At.Before(g.from):
		return g.peace[l.Class]
	case l.At.Before(g.counted):
		return g.onset[l.Class]
	}
	return g.siege[l.Class]
}

// login connects, shows the password, and leaves.
func (g *gathering) login(ctx context.Context, c *client.Caller, l traffic.Login) (client.Answer, error) {
	source, err := g.target.From(l.Addr)
	if err != nil {
		return 0, err
	}
	s, err := c.Call(ctx, source)
	if err != nil {
		return 0, err
	}
	a, err := s.Login(l.Account, l.Secret, client.Login)
	if err != nil || a != client.Accepted {
		s.Close()
		return a, err
	}
	return a, s.Leave()
}

// attempts returns how many logins were counted, of whomever.
func (g *gathering) attempts() int {
	return max(1, g.sum((*Tally).All))
}

// accepted returns how many of them were accepted.
func (g *gathering) accepted() int {
	return g.sum((*Tally).Accepted)
}

func (g *gathering) sum(of func(*Tally) int) (n int) {
	for _, c := range []census{g.peace, g.onset, g.siege} {
		for k, t := range c {
			if k != traffic.Office { // it is among the phones
				n += of(t)
			}
		}
	}
	return n
}

// knownAccepted is the share of the logins of the known that were accepted.
const knownAccepted = "known, accepted"

// report puts what became of everybody into s.
func (g *gathering) report(s *Sample) {
	known := g.siege[traffic.Phone]
	s.Figure(knownAccepted, "%", Higher, known.Share())
	s.Figure("travellers, accepted", "%", Higher, g.siege[traffic.Traveller].Share())
	s.Figure("newcomers' tries, accepted", "%", Higher, g.siege[traffic.Newcomer].Share())
	s.Figure("known, median", "ms", Lower, known.Millis(50))
	s.Figure("known, 99 %", "ms", Lower, known.Millis(99))
	s.Figure("known, 99 %, before the attack", "ms", Neither, g.peace[traffic.Phone].Millis(99))
	if before := g.peace[traffic.Phone].Millis(99); before > 0 {
		s.Figure("known, 99 %, against before", "×", Lower, known.Millis(99)/before)
	}
	s.Figure("the bench itself was late, 99 %", "ms", Neither, g.late.Millis(99))
	s.Latency("known, before the attack", g.peace[traffic.Phone])
	s.Latency("known, under attack", known)
	s.Timeline("logins", "a second", g.line("attackers come", traffic.Attacker, begins), g.line("known come", traffic.Phone, begins),
		g.line("known accepted", traffic.Phone, accepts))
	s.Timeline("slowest login of the known", "s", g.line("known", traffic.Phone, slowest))
	for k, name := range map[traffic.Class]string{traffic.Phone: "known", traffic.Traveller: "travellers"} {
		if what := g.siege[k].Failures(); what != "" {
			s.Problem("of %d logins of the %s: %s", g.siege[k].All(), name, what)
		}
	}
}

func begins(s Second) float64  { return float64(s.Begun) }
func accepts(s Second) float64 { return float64(s.Accepted) }
func slowest(s Second) float64 { return s.Slowest.Seconds() }

// line is one class, second by second, in peace and under attack.
func (g *gathering) line(name string, k traffic.Class, value func(Second) float64) Line {
	line := Line{Name: name, Values: make([]float64, int(g.until.Sub(g.begun)/time.Second))}
	for _, c := range []census{g.peace, g.onset, g.siege} {
		for i, s := range c[k].Seconds() {
			if i < len(line.Values) {
				line.Values[i] += value(s)
			}
		}
	}
	return line
}

// From returns the address a client connects from to be taken for addr: addr itself where it may be announced, else an
// address of the loopback network that stands for it.
func (t *Target) From(addr netip.Addr) (netip.Addr, error) {
	switch {
	case t.announce:
		return addr, nil
	case !t.loopback:
		return addr, fmt.Errorf("%w: from elsewhere than this machine, addresses must be announced", ErrNotOffered)
	}
	if addr, ok := traffic.Loopback(addr); ok {
		return addr, nil
	}
	return addr, fmt.Errorf("%w: IPv6 prefixes have no like on the loopback network; they must be announced", ErrNotOffered)
}
