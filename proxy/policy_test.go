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
	return proxy.spentOrHeld(limiter.RuleSource, addr, "")
}

// chargedPair is how many tokens of denials of a source at an account are spent or held.
func (proxy *testProxy) chargedPair(addr netip.Addr, account string) int {
	proxy.t.Helper()
	return proxy.spentOrHeld(limiter.RulePair, addr, account)
}

// spentOrHeld returns the tokens of a rule that the limiter explains to be spent or held.
func (proxy *testProxy) spentOrHeld(rule limiter.Rule, addr netip.Addr, account string) (tokens int) {
	proxy.t.Helper()
	for part := range strings.SplitSeq(proxy.explain(rule, addr, account), ", ") {
		var n, of int
		if _, err := fmt.Sscanf(part, "%d of %d denials", &n, &of); err == nil {
			tokens += n
		} else if _, err := fmt.Sscanf(part, "%d held", &n); err == nil {
			tokens += n
		}
	}
	return tokens
}

// looks is how many looks of a source are spent.
func (proxy *testProxy) looks(addr netip.Addr) (spent int) {
	proxy.t.Helper()
	for part := range strings.SplitSeq(proxy.explain(limiter.RuleSource, addr, ""), ", ") {
		var n, of int
		if _, err := fmt.Sscanf(part, "%d of %d looks spent", &n, &of); err == nil {
			spent += n
		}
	}
	return spent
}

// explain returns the figures of a rule, which are empty as long as the limiter has none.
func (proxy *testProxy) explain(rule limiter.Rule, addr netip.Addr, account string) string {
	return proxy.Limiter.Explain(time.Now(), limiter.Attempt{Addr: addr, Account: account}, rule)
}

// chargedToken is how many tokens of denials of OAuth tokens are spent at a source. A source
// only delays OAuth tokens; how long tells how many denials are spent, up to three.
func (proxy *testProxy) chargedToken(addr netip.Addr) (n int) {
	proxy.t.Helper()
	k := proxy.askUnder(limiter.Policy{Source: proxy.policy.Source}, 1, limiter.Attempt{Addr: addr, Token: true})[0]
	for _, least := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if k.Wait >= least {
			n++
		}
	}
	return n
}

// chargedTokenPair is how many of them are spent or held at a source and an account.
func (proxy *testProxy) chargedTokenPair(addr netip.Addr, account string) (n int) {
	proxy.t.Helper()
	pair := proxy.policy.Pair
	for _, v := range proxy.askUnder(limiter.Policy{Pair: pair}, pair.Tokens, limiter.Attempt{Addr: addr, Account: account, Token: true}) {
		if v.Action == limiter.Refuse {
			n++
		}
	}
	return n
}

// askUnder returns the verdicts on n attempts at a time, under a policy that is in use for
// that alone. The attempts are void.
func (proxy *testProxy) askUnder(p limiter.Policy, n int, a limiter.Attempt) (verdicts []limiter.Verdict) {
	proxy.t.Helper()
	now := time.Now()
	p.WaitMax, p.TableMax = proxy.policy.WaitMax, proxy.policy.TableMax
	proxy.must(proxy.Limiter.SetPolicy(now, p))
	defer func() { proxy.must(proxy.Limiter.SetPolicy(now, proxy.policy)) }()
	for range n {
		k := proxy.Limiter.Ask(now, a)
		defer k.Settle(now, limiter.Void)
		verdicts = append(verdicts, k.Verdict())
	}
	return verdicts
}

// checkCharged checks that want tokens are spent at the source of the client and at its
// account u, as for a password or for an OAuth token, and none as for the other.
func (proxy *testProxy) checkCharged(token bool, want int) {
	proxy.t.Helper()
	wantPassword, wantToken := want, 0
	if token {
		wantPassword, wantToken = 0, want
	}
	if source, pair := proxy.charged(clientIP), proxy.chargedPair(clientIP, "u"); source != wantPassword || pair != wantPassword {
		proxy.t.Errorf("got %d tokens charged to the source and %d to the pair, want %d", source, pair, wantPassword)
	}
	if source, pair := proxy.chargedToken(clientIP), proxy.chargedTokenPair(clientIP, "u"); source != wantToken || pair != wantToken {
		proxy.t.Errorf("for OAuth tokens: got %d tokens charged to the source and %d to the pair, want %d", source, pair, wantToken)
	}
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
