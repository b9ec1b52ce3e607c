//go:build !race

package limiter

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A golden run makes random calls of one limiter and hashes all that it returns.
type goldenRun struct {
	*Limiter
	rnd     *rand.Rand
	now     time.Time
	out     io.Writer
	tickets []*Ticket
	conns   []*Connection
	rules   map[Rule]bool // that have decided
}

// runGolden makes 20,000 random calls of l, in which every rule decides sometimes.
func runGolden(t *testing.T, l *Limiter, seed uint64) uint64 {
	t.Helper()
	sum := fnv.New64a()
	g := goldenRun{Limiter: l, rnd: rand.New(rand.NewPCG(seed, 16)), now: start, out: sum, rules: map[Rule]bool{}}
	l.SetLists(twinLists())
	l.epoch.ticks(start)
	for i := range 20_000 {
		if g.rnd.IntN(3) == 0 {
			g.now = g.now.Add(time.Duration(g.rnd.Int64N(int64(2 * time.Second))))
		}
		if i%500 == 499 {
			p := l.rules.Load().Policy
			p.Attack = !p.Attack
			if err := l.SetPolicy(g.now, p); err != nil {
				t.Fatal(err)
			}
			g.now = g.now.Add(time.Duration(g.rnd.Int64N(int64(time.Hour))))
		}
		g.call()
	}
	for _, k := range g.tickets {
		k.Settle(g.now, Void)
	}
	for _, c := range g.conns {
		c.Close(g.now)
	}
	fmt.Fprintf(sum, "%+v", l.Stats(g.now))
	for _, rule := range []Rule{RuleNone, RuleBlocked, RuleRepeat, RuleSource, RuleNetwork, RulePair, RuleAccount, RulePrefix} {
		if !g.rules[rule] {
			t.Errorf("seed %d: %s has never decided", seed, rule)
		}
	}
	return sum.Sum64()
}

func (g *goldenRun) attempt() Attempt {
	a := Attempt{Addr: randomHost(g.rnd), Account: fmt.Sprint("u", g.rnd.IntN(6))}
	switch secret := g.rnd.IntN(8); {
	case secret > 1:
		a.Credential = g.Credential(a.Account, []byte{byte(secret)})
	case secret == 1:
		a.Token = true
	}
	if g.rnd.IntN(4) == 0 {
		a.Device, a.Resumed = Device(1+g.rnd.IntN(8)), g.rnd.IntN(2) == 0
	}
	return a
}

// randomHost returns one of few addresses in few networks.
func randomHost(rnd *rand.Rand) netip.Addr {
	if rnd.IntN(50) == 0 {
		return netip.MustParseAddr("10.0.0.81") // which is blocked
	}
	return host(rnd.IntN(4)*256 + rnd.IntN(20))
}

// call makes one call, and writes what it returns.
func (g *goldenRun) call() {
	if len(g.tickets) > 0 && g.rnd.IntN(2) == 0 {
		i := g.rnd.IntN(len(g.tickets))
		g.use(g.tickets[i])
		if g.tickets[i].settled {
			g.tickets = append(g.tickets[:i], g.tickets[i+1:]...)
		}
		return
	}
	switch n := g.rnd.IntN(12); {
	case n == 0:
		c, v := g.Connect(g.now, randomHost(g.rnd))
		if fmt.Fprint(g.out, v); c != nil {
			g.conns = append(g.conns, c)
		}
	case n == 1 && len(g.conns) > 0:
		c := g.conns[0]
		g.conns = g.conns[1:]
		if g.rnd.IntN(2) == 0 {
			c.LoggedIn(g.now)
		}
		c.Close(g.now)
	case n == 2:
		fmt.Fprint(g.out, g.Peek(g.now, g.attempt()))
	case n == 3:
		text := fmt.Sprintf("%+v", g.Inspect(g.now, g.attempt()))
		fmt.Fprint(g.out, strings.Replace(text, " AttackJA4:false", "", 1)) // the former version had no such field
	case n == 4:
		decided, next := g.Dispatch(g.now)
		fmt.Fprint(g.out, decided, next.Sub(start))
	case n == 5 && g.rnd.IntN(20) == 0:
		fmt.Fprint(g.out, g.Release(g.now, g.attempt()), g.ForgetAccount(g.now, "u5"))
	default:
		k := new(Ticket)
		*k = g.Ask(g.now, g.attempt())
		fmt.Fprint(g.out, k.Verdict(), k.Priority(), k.Traits())
		g.rules[k.Verdict().Rule] = true
		g.tickets = append(g.tickets, k)
	}
}

// use goes on with an attempt, in one of the ways that it may end.
func (g *goldenRun) use(k *Ticket) {
	switch n := g.rnd.IntN(10); {
	case k.Verdict().Again && n < 7:
		fmt.Fprint(g.out, k.Again(g.now))
	case n < 2 && k.waiter == nil:
		fmt.Fprint(g.out, k.Enter(g.now, len(g.tickets)))
	case n == 2:
		k.Abandon(g.now, time.Duration(g.rnd.IntN(9))*time.Second)
	case n < 7:
		k.Settle(g.now, Denied)
	case n < 9:
		k.Settle(g.now, Void)
	default:
		k.Settle(g.now, Accepted)
	}
}

// goldens are the hashes of runs of the version before there were several gateways.
var goldens = [...]uint64{0x62b2971a7d112c18, 0xd92bd65565965f99, 0xc0d67c18011ca68c, 0x9bd57a222f36dd60}

func goldenPolicy(seed int) Policy {
	p := defaultPolicy()
	p.Global, p.Network = Rate{4, 2 * time.Second}, Rate{8, 10 * time.Minute}
	if seed%2 == 1 {
		p.TableMax = 30
	}
	return p
}

// With one gateway all verdicts are those of the version before there were several: for a limiter without sharing,
// and for one that is the only gateway while its feeds for gateways are open.
func TestSimulationOneGatewayGivesFormerVerdicts(t *testing.T) {
	for seed, want := range goldens {
		if got := runGolden(t, newLimiter(t, goldenPolicy(seed)), uint64(seed)); got != want {
			t.Errorf("seed %d: got %#x, want %#x", seed, got, want)
		}
		one := newLimiter(t, goldenPolicy(seed))
		one.SetSharing(start, Sharing{Gateways: 1, Alone: true, Global: 1})
		denials, known := one.ShareFeeds()
		if got := runGolden(t, one, uint64(seed)); got != want {
			t.Errorf("seed %d, with feeds: got %#x, want %#x", seed, got, want)
		}
		if len(denials.Take(1000)) == 0 || len(known.Take(1000)) == 0 {
			t.Errorf("seed %d: no events", seed)
		}
	}
}
