package proxy

import (
	"fmt"
	"net/netip"
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

// charged is how many tokens of a source are spent or held, under a policy like
// sourceRule.
func (proxy *testProxy) charged(addr netip.Addr) int {
	proxy.t.Helper()
	now, alone := time.Now(), sourceRule()
	alone.WaitMax, alone.TableMax = proxy.policy.WaitMax, proxy.policy.TableMax
	proxy.must(proxy.Limiter.SetPolicy(now, alone))
	defer func() { proxy.must(proxy.Limiter.SetPolicy(now, proxy.policy)) }()
	free := 0
	for range sourceTokens + 1 {
		k := proxy.Limiter.Ask(now, limiter.Attempt{Addr: addr})
		defer k.Settle(now, limiter.Void)
		if k.Verdict().Action != limiter.Refuse {
			free++
		}
	}
	return sourceTokens - free
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
