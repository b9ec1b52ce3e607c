package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/limiter"
)

// The answers to a client that is refused (design section 6).
const (
	busyText = "Account is temporarily unavailable, please wait and try again later. (…"
	imapBusy = "NO [UNAVAILABLE] " + busyText
	pop3Busy = "-ERR [SYS/TEMP] " + busyText
)

// sourceTokens is the size of the bucket of a source in sourceRule. It hardly refills
// during a test.
const sourceTokens = 10

// sourceRule is a policy under which denials are charged to sources.
func sourceRule() limiter.Policy {
	return limiter.Policy{Source: limiter.Rate{Tokens: sourceTokens, Per: 1000 * time.Hour}}
}

// allRules is a policy with every rule about denials, in buckets that hardly refill
// during a test.
func allRules() limiter.Policy {
	p := sourceRule()
	p.Network = limiter.Rate{Tokens: 100, Per: 1000 * time.Hour}
	p.Pair = limiter.Rate{Tokens: 5, Per: 1000 * time.Hour}
	p.Account = limiter.Rate{Tokens: 8, Per: 1000 * time.Hour}
	p.RepeatTTL, p.KnownTTL = time.Minute, 720*time.Hour
	return p
}

// oneLoginPerSecond is a policy under which one login a second reaches a backend.
func oneLoginPerSecond() limiter.Policy {
	return limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: time.Second}, KnownTTL: time.Hour}
}

// oneLoginPerFiveSeconds is a policy under which one login every 5 s reaches a backend.
func oneLoginPerFiveSeconds() limiter.Policy {
	p := sourceRule()
	p.Global = limiter.Rate{Tokens: 1, Per: 5 * time.Second}
	return p
}

// setPolicy gives the proxy a limiter with policy p.
func (proxy *testProxy) setPolicy(p limiter.Policy) {
	proxy.t.Helper()
	p.WaitMax, p.TableMax = proxy.TarpitMax, 10_000
	l, err := limiter.New(p, limiter.Key{})
	if err != nil {
		proxy.t.Fatal(err)
	}
	proxy.Limiter, proxy.policy = l, p
}

// pairRule is sourceRule with a bucket of the same size for each pair: those that are
// known from their source are charged there alone, and nothing else shows what an OAuth
// token was charged.
func pairRule() limiter.Policy {
	p := sourceRule()
	p.Pair = p.Source
	return p
}

// charged is how many tokens of denials of a source are spent or held.
func (proxy *testProxy) charged(addr netip.Addr) int {
	proxy.t.Helper()
	return proxy.explained(addr, "", "source: %d of %d denials spent, %d held")
}

// chargedPair is how many tokens of denials of a source at an account are spent or held.
func (proxy *testProxy) chargedPair(addr netip.Addr, account string) int {
	proxy.t.Helper()
	return proxy.explained(addr, account, "pair: %d of %d denials spent, %d held")
}

// explained returns the tokens spent and held according to a line of the limiter's
// explanation.
func (proxy *testProxy) explained(addr netip.Addr, account, format string) int {
	proxy.t.Helper()
	for line := range strings.Lines(proxy.Limiter.Explain(time.Now(), addr, account)) {
		var spent, of, held int
		if n, _ := fmt.Sscanf(line, format, &spent, &of, &held); n == 3 {
			return spent + held
		}
	}
	proxy.t.Fatalf("got no line %q: the rule is off", format)
	return 0
}

// looks is how many looks of a source are spent.
func (proxy *testProxy) looks(addr netip.Addr) int {
	proxy.t.Helper()
	for line := range strings.Lines(proxy.Limiter.Explain(time.Now(), addr, "")) {
		if looks, ok := strings.CutPrefix(line, "source: "); ok {
			for part := range strings.SplitSeq(looks, ", ") {
				var spent, of int
				if n, _ := fmt.Sscanf(part, "%d of %d looks spent", &spent, &of); n == 2 {
					return spent
				}
			}
		}
	}
	proxy.t.Fatal("got no looks of the source: the rule is off")
	return 0
}

// chargedToken is how many tokens of denials of OAuth tokens are spent or held at a source
// and an account, under a policy like pairRule. A source only delays OAuth tokens; how
// long tells how many denials are spent, up to three.
func (proxy *testProxy) chargedToken(addr netip.Addr, account string) (source, pair int) {
	proxy.t.Helper()
	now, a := time.Now(), limiter.Attempt{Addr: addr, Account: account, Token: true}
	alone := limiter.Policy{Source: proxy.policy.Source, WaitMax: proxy.policy.WaitMax, TableMax: proxy.policy.TableMax}
	proxy.must(proxy.Limiter.SetPolicy(now, alone))
	defer func() { proxy.must(proxy.Limiter.SetPolicy(now, proxy.policy)) }()
	k := proxy.Limiter.Ask(now, a)
	k.Settle(now, limiter.Void)
	for _, least := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if k.Verdict().Wait >= least {
			source++
		}
	}
	alone.Source, alone.Pair = limiter.Rate{}, proxy.policy.Pair
	proxy.must(proxy.Limiter.SetPolicy(now, alone))
	for range alone.Pair.Tokens {
		k := proxy.Limiter.Ask(now, a)
		defer k.Settle(now, limiter.Void)
		if k.Verdict().Action == limiter.Refuse {
			pair++
		}
	}
	return source, pair
}

func (proxy *testProxy) must(err error) {
	proxy.t.Helper()
	if err != nil {
		proxy.t.Fatal(err)
	}
}

// makeKnown makes an account known with a password, from an address.
func makeKnown(proxy *testProxy, addr, account, password string) {
	k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: mustAddrPort(addr).Addr(), Account: account, Credential: proxy.Limiter.Credential(account, []byte(password))})
	k.Settle(time.Now(), limiter.Accepted)
}

// exhaustAccount empties the account's bucket for strangers, from many sources.
func exhaustAccount(proxy *testProxy, account string) {
	proxy.t.Helper()
	for i := range 50 {
		k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{
			Addr: mustAddrPort(fmt.Sprintf("198.51.%d.1:1", i)).Addr(), Account: account,
			Credential: proxy.Limiter.Credential(account, fmt.Appendf(nil, "guess %d", i)),
		})
		if k.Verdict().Action == limiter.Refuse {
			return
		}
		k.Settle(time.Now(), limiter.Denied)
	}
	proxy.t.Fatal("the account's bucket is not empty")
}

// takeGlobalToken takes a token of the global bucket, as a login from elsewhere does.
func takeGlobalToken(proxy *testProxy) {
	k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: mustAddrPort("198.51.100.1:1").Addr()})
	k.Enter(time.Now(), nil)
	k.Settle(time.Now(), limiter.Void)
}

// spendSourceTokens takes n tokens of the client's source.
func spendSourceTokens(proxy *testProxy, n int) {
	for i := range n {
		k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP, Account: fmt.Sprint(i)})
		k.Settle(time.Now(), limiter.Denied)
	}
}
