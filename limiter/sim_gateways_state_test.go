package limiter_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// A population logs in at random gateways of a site, rightly and wrongly, from few addresses at few accounts.
type population struct {
	*site
	addrs    []netip.Addr
	accounts []string
	clears   bool // they log in rightly as well, which clears pairs
	guesses  int
}

func newPopulation(s *site, clears bool) *population {
	p := &population{site: s, clears: clears}
	for i := range 12 {
		p.addrs = append(p.addrs, netip.AddrFrom4([4]byte{198, 51, byte(i % 4), byte(i)}))
		p.accounts = append(p.accounts, fmt.Sprint("account-", i))
	}
	return p
}

// attempt returns an attempt at an account that shows a secret.
func (s *site) attempt(addr netip.Addr, account, secret string) limiter.Attempt {
	return limiter.Attempt{Addr: addr, Account: account, Credential: s.gateways[0].Credential(account, []byte(secret))}
}

// login logs in at g, and settles the attempt with o after a time.
func (s *site) login(g *gateway, a limiter.Attempt, o limiter.Outcome, after time.Duration) limiter.Verdict {
	k := new(limiter.Ticket)
	*k = g.Ask(s.now, a)
	v := k.Verdict()
	if v.Action >= limiter.Repeat || v.Again {
		o = limiter.Void
	}
	s.at(s.now.Add(after), func() { k.Settle(s.now, o) })
	return v
}

// once logs in at g with outcome o at once, and publishes that.
func (s *site) once(g *gateway, a limiter.Attempt, o limiter.Outcome) limiter.Verdict {
	k := g.Ask(s.now, a)
	v := k.Verdict()
	if v.Action >= limiter.Repeat || v.Again {
		o = limiter.Void
	}
	k.Settle(s.now, o)
	s.publish()
	return v
}

// live advances the time by d, in which an attempt begins twice a second on average.
func (p *population) live(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.run(p.now.Add(100 * time.Millisecond)) {
		if p.rnd.IntN(5) == 0 {
			p.one()
		}
		p.publish()
	}
}

// one begins one attempt.
func (p *population) one() {
	i := p.rnd.IntN(len(p.accounts))
	addr, account := p.addrs[p.rnd.IntN(len(p.addrs))], p.accounts[i]
	p.guesses++
	secret, outcome := fmt.Sprint("guess-", p.guesses), limiter.Denied
	if p.clears && p.rnd.IntN(3) == 0 {
		addr, secret, outcome = p.addrs[i], traffic.Secret(account), limiter.Accepted
	}
	g := p.gateways[p.rnd.IntN(len(p.gateways))]
	p.login(g, p.attempt(addr, account, secret), outcome, time.Duration(p.rnd.IntN(3000))*time.Millisecond)
}

// compare fails if gateways differ in what they know, or in a bucket by more than a token, or in the verdicts on
// attempts for which no bucket differs. It returns how many buckets it compared that are not full.
func (p *population) compare(t *testing.T, pairs bool) (spent int) {
	t.Helper()
	first := p.gateways[0]
	for _, addr := range p.addrs {
		for _, account := range p.accounts {
			a := limiter.Attempt{Addr: addr, Account: account}
			want := first.Inspect(p.now, a)
			for _, g := range p.gateways[1:] {
				got := g.Inspect(p.now, a)
				if got.Account != want.Account || got.Growth != want.Growth || got.KnownSource != want.KnownSource ||
					got.NearSource != want.NearSource || got.NearNetwork != want.NearNetwork {
					t.Errorf("%v on %s: gateway %d knows %+v, gateway 0 %+v", addr, account, g.number, got, want)
				}
				same := true
				for i, b := range got.Buckets {
					w := want.Buckets[i]
					same = same && b.Spent == w.Spent && b.LooksSpent == w.LooksSpent
					if b.Rule == limiter.RulePair && !pairs {
						same = false
						continue
					}
					if w.Spent > 0 {
						spent++
					}
					token := sizeOf(b)
					if d := (b.Full - w.Full).Abs(); d > token || max(b.LooksSpent-w.LooksSpent, w.LooksSpent-b.LooksSpent) > 1 {
						t.Errorf("%v on %s: gateway %d has %+v, gateway 0 %+v", addr, account, g.number, b, w)
					}
				}
				if same && (got.Stranger != want.Stranger || got.Known != want.Known) {
					t.Errorf("%v on %s: gateway %d answers %+v and %+v, gateway 0 %+v and %+v", addr, account, g.number, got.Stranger, got.Known, want.Stranger, want.Known)
				}
			}
		}
	}
	return spent
}

// sizeOf returns the time in which one token of b refills under the limits of the daemon.
func sizeOf(b limiter.Bucket) time.Duration {
	p := policy()
	r := map[limiter.Rule]limiter.Rate{limiter.RuleSource: p.Source, limiter.RuleNetwork: p.Network, limiter.RulePair: p.Pair, limiter.RuleAccount: p.Account}[b.Rule]
	return r.Per / time.Duration(max(r.Tokens, 1))
}

// Gateways that have got all that there was to get agree: after batches that came late, twice and in any order, after
// batches that were lost, after a time without the engine, and after one with two engines.
func TestGatewaysAgreeAfterHealing(t *testing.T) {
	uneventful := link{delay: random(2 * time.Second), unordered: true}
	for _, tc := range []struct {
		name   string
		link   link
		clears bool
		pairs  bool // that of a lost clear stays: a snapshot tells what is spent, not what is cleared
		run    func(p *population)
	}{
		{"delays", uneventful, true, true, func(p *population) { p.live(3 * time.Minute) }},
		{"repeats", link{delay: random(2 * time.Second), unordered: true, repeats: .3}, true, true, func(p *population) { p.live(3 * time.Minute) }},
		{"drops", link{delay: random(500 * time.Millisecond), unordered: true, drops: .1, repeats: .1}, false, true, func(p *population) { p.live(3 * time.Minute) }},
		{"drops, clears", link{delay: random(500 * time.Millisecond), unordered: true, drops: .1, repeats: .1}, true, false, func(p *population) { p.live(3 * time.Minute) }},
		{"partition", uneventful, false, true, func(p *population) {
			p.live(time.Minute)
			p.divide()
			p.live(time.Minute)
			p.share((len(p.gateways)+1)/2, false)
			p.live(2 * time.Minute)
		}},
		{"no engine", uneventful, false, true, func(p *population) {
			p.live(time.Minute)
			p.loseEngine()
			p.live(3 * time.Minute)
		}},
		{"one cut off", uneventful, true, true, func(p *population) {
			p.gateways[1].cut = true
			p.gateways[1].SetSharing(p.now, limiter.Sharing{Gateways: len(p.gateways), Alone: true, Global: 1 / float64(len(p.gateways))})
			p.live(3 * time.Minute)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{2, 4} {
				p := newPopulation(newSite(t, attackStart, n, policy(), tc.link), tc.clears)
				tc.run(p)
				p.heal()
				if spent := p.compare(t, tc.pairs); spent < 10 {
					t.Errorf("only %d buckets are not full, so the test tests nothing", spent)
				}
				t.Logf("%d gateways: %d guesses, %d batches lost, %d repairs", n, p.guesses, p.lost, p.repairs)
			}
		})
	}
}

// loseEngine lets no gateway reach the engine, and all of them notice.
func (s *site) loseEngine() {
	for _, g := range s.gateways {
		g.cut = true
	}
	s.share(len(s.gateways), true)
}

// findEngine is the reverse of loseEngine. A gateway stays alone until all that it has done has come back.
func (s *site) findEngine() {
	for _, g := range s.gateways {
		g.cut = false
	}
	s.whenAcknowledged(func() { s.share(len(s.gateways), false) })
}

// whenAcknowledged calls do as soon as all batches have come back to their senders.
func (s *site) whenAcknowledged(do func()) {
	for _, g := range s.gateways {
		if len(g.waiting) > 0 || len(g.own[denialStream]) > 0 || len(g.own[knownStream]) > 0 {
			s.at(s.now.Add(100*time.Millisecond), func() { s.whenAcknowledged(do) })
			return
		}
	}
	do()
}

// divide divides the gateways into two halves.
func (s *site) divide() {
	for i, g := range s.gateways {
		g.side = i % 2
	}
}
