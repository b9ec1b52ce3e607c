package daemon

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/authpolicy"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/proxy"
)

// attempts reports attempts of a client for three minutes, of which the last ends now, and updates
// the list.
func attempts(l *firewall.List, change func(*proxy.Attempt)) {
	now := time.Now()
	for i := range 90 {
		a := proxy.Attempt{Client: testClient, Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}}
		if change != nil {
			change(&a)
		}
		countAttempt(now.Add(time.Duration(i-90)*2*time.Second), l, &a)
	}
	l.Update(now)
}

// records is attempts for connections.
func records(l *firewall.List, change func(*proxy.Record)) {
	now := time.Now()
	for i := range 90 {
		r := proxy.Record{Client: testClient, Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleConnect}}
		if change != nil {
			change(&r)
		}
		countRecord(now.Add(time.Duration(i-90)*2*time.Second), l, &r)
	}
	l.Update(now)
}

// TestWhatCountsForFirewalls of attempts and connections.
func TestWhatCountsForFirewalls(t *testing.T) {
	for name, tt := range map[string]struct {
		attempt func(*proxy.Attempt)
		record  func(*proxy.Record)
		want    bool
	}{
		"refused attempts":         {func(*proxy.Attempt) {}, nil, true},
		"observed attempts":        {func(a *proxy.Attempt) { a.Observed, a.Backend, a.Outcome = true, "b", limiter.Denied }, nil, true},
		"behind a balancer":        {func(a *proxy.Attempt) { a.Proxied = true }, nil, false},
		"behind webmail":           {func(a *proxy.Attempt) { a.Forwarder = netip.MustParseAddrPort("198.51.100.80:40000") }, nil, false},
		"asked about by Dovecot":   {func(a *proxy.Attempt) { a.Listener = authpolicy.Listener }, nil, false},
		"delayed attempts":         {func(a *proxy.Attempt) { a.Verdict.Action, a.Backend = limiter.Wait, "b" }, nil, false},
		"known users":              {func(a *proxy.Attempt) { a.Verdict.Known = true }, nil, false},
		"neighbours of users":      {func(a *proxy.Attempt) { a.Verdict.Known, a.Traits.NetworkOnly = true, true }, nil, true},
		"stolen accounts":          {func(a *proxy.Attempt) { a.Verdict.Known, a.Traits.Overused = true, true }, nil, true},
		"blocked by an operator":   {func(a *proxy.Attempt) { a.Verdict.Rule = limiter.RuleBlocked }, nil, true},
		"another rule":             {func(a *proxy.Attempt) { a.Verdict.Rule = limiter.RuleGlobal }, nil, false},
		"refused connections":      {nil, func(*proxy.Record) {}, true},
		"connections, balancer":    {nil, func(r *proxy.Record) { r.Proxied = true }, false},
		"connections, webmail":     {nil, func(r *proxy.Record) { r.Forwarder = netip.MustParseAddrPort("198.51.100.80:40000") }, false},
		"connections with logins":  {nil, func(r *proxy.Record) { r.Verdict.Rule, r.Attempts = limiter.RuleSource, 1 }, false},
		"observed connections":     {nil, func(r *proxy.Record) { r.Observed, r.Attempts = true, 1 }, true},
		"delayed connections":      {nil, func(r *proxy.Record) { r.Verdict.Action = limiter.Wait }, false},
		"too many open":            {nil, func(r *proxy.Record) { r.Verdict.Rule = limiter.RuleOpen }, false},
		"accepted between refused": {func(a *proxy.Attempt) { a.Outcome, a.Verdict = limiter.Accepted, limiter.Verdict{} }, func(*proxy.Record) {}, true},
	} {
		l := firewall.New(firewall.Guard{
			Known: func(time.Time, netip.Addr) bool { return false }, Blocked: func(netip.Addr) bool { return true },
			Networks: func() map[firewall.Reason][]netip.Prefix { return nil }, Pause: func(time.Time) firewall.Reason { return "" },
		})
		if tt.attempt != nil {
			attempts(l, tt.attempt)
		}
		if tt.record != nil {
			records(l, tt.record)
		}
		if _, got := l.Find(time.Now(), testClient.Addr()); got != tt.want {
			t.Errorf("%s: listed %v, want %v", name, got, tt.want)
		}
		if tt.want && name != "accepted between refused" {
			accepted := proxy.Attempt{Client: testClient, Outcome: limiter.Accepted}
			countAttempt(time.Now(), l, &accepted)
			if _, got := l.Find(time.Now(), testClient.Addr()); got {
				t.Errorf("%s: still listed after an accepted login", name)
			}
		}
	}
}

// TestRefusalsOfClientsCount: one of a real client is the last that is missing.
func TestRefusalsOfClientsCount(t *testing.T) {
	for name, tt := range map[string]struct {
		setting string
		refuse  func(g *gateway)
	}{
		"connect": {"LIMIT_CONNECT=1/1h", func(g *gateway) {
			g.connect(t, "imap").Until("OK")
			g.connect(t, "imap").Until("BYE")
		}},
		"source": {"LIMIT_SOURCE=1/1h", func(g *gateway) {
			for i, answer := range []string{"AUTHENTICATIONFAILED", "UNAVAILABLE"} {
				c := g.dial(t, "imaps")
				c.PrintfLine("a LOGIN user%d wrong%d", i, i)
				c.Until(answer)
			}
		}},
	} {
		g := start(t, prefix+tt.setting)
		l, now := g.firewall.list, time.Now()
		g.firewall.refresh(t.Context())
		for i := range 29 {
			l.Refused(now.Add(time.Duration(i/15-2)*time.Minute), netip.MustParseAddr("127.0.0.1"), limiter.RuleSource, firewall.LoginCost)
		}
		l.Update(now)
		if n := l.Stats().Withheld[firewall.ReasonGateway]; n != 0 {
			t.Fatalf("%s: got %d withheld before the refusal", name, n)
		}
		tt.refuse(g)
		for end := now.Add(testbed.Patience); l.Stats().Withheld[firewall.ReasonGateway] != 1; l.Update(time.Now()) {
			if time.Now().After(end) {
				t.Fatalf("%s: the refusal was not counted\n%s", name, g.log)
			}
			<-time.After(time.Millisecond)
		}
	}
}

// learned has the limiter of g know a user from another place since two days ago.
func (g *gateway) learned(t *testing.T) {
	t.Helper()
	l, now := g.policy.limiter, time.Now().Add(-48*time.Hour)
	other, err := limiter.New(g.config.Limits.Policy(g.config.Tarpit.Max), g.keeper.key)
	if err != nil {
		t.Fatal(err)
	}
	k := other.Ask(now, limiter.Attempt{Addr: netip.MustParseAddr("203.0.113.5"), Account: "anna"})
	k.Settle(now, limiter.Accepted)
	if err := l.Merge(time.Now(), other.Snapshot(now.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	if !l.Stats(time.Now()).Learned {
		t.Fatal("the limiter has not learned for a day")
	}
}

// fetch asks g for the list, as a bouncer does.
func (g *gateway) fetch(t *testing.T, header, token, parameters string) (status int, s firewall.Stream) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.AdminAddr().String()+firewall.StreamPath+"?"+parameters, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set(header, token)
	q.Header.Set("User-Agent", "bouncer")
	status, text := fetchAnswer(t, q)
	if status == http.StatusOK {
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
	}
	return status, s
}

// TestGatewayPublishesTheList to who has a token, except for users, exempt networks, backends, operators
// and all on the first day; explains it; keeps it over an upgrade; and an operator can release from it.
func TestGatewayPublishesTheList(t *testing.T) {
	const token = "0123456789abcdef"
	g := start(t, prefix+"ADMIN_READ_TOKEN_FILE="+testbed.WriteFile(t, token), prefix+"EXEMPT=198.51.100.0/24")
	f := g.firewall
	f.refresh(t.Context())
	client := func(addr string) func(*proxy.Attempt) {
		return func(a *proxy.Attempt) { a.Client = netip.AddrPortFrom(netip.MustParseAddr(addr), 50000) }
	}
	attempts(f.list, nil)
	if s := f.list.Stats(); s.Listed != 0 || s.Withheld[firewall.ReasonLearning] != 1 {
		t.Errorf("on the first day: got %+v", s)
	}
	g.learned(t)
	f.operators.saw(time.Now(), netip.MustParseAddr("2001:db8::5"))
	for _, addr := range []string{"203.0.113.5", "198.51.100.7", "127.0.0.1", "2001:db8::ff"} {
		attempts(f.list, client(addr))
	}
	if s := f.list.Stats(); s.Listed != 1 || s.Withheld[firewall.ReasonKnown] != 1 || s.Withheld[firewall.ReasonExempt] != 1 ||
		s.Withheld[firewall.ReasonGateway] != 1 || s.Withheld[firewall.ReasonOperator] != 1 {
		t.Errorf("got %+v", s)
	}
	if own := f.protected(); len(own[firewall.ReasonBackend]) == 0 || len(own[firewall.ReasonGateway]) == 0 {
		t.Errorf("got %v protected", own)
	}
	for header, shown := range map[string]string{"X-Api-Key": token, "Authorization": "Bearer " + token} {
		if status, s := g.fetch(t, header, shown, "startup=true"); status != http.StatusOK || len(s.New) != 1 || s.New[0].Value != testClient.Addr().String() {
			t.Errorf("%s: got %d %+v", header, status, s)
		}
	}
	if status, _ := g.fetch(t, "X-Api-Key", "wrong", "startup=true"); status != http.StatusUnauthorized {
		t.Errorf("with a wrong token: got %d", status)
	}
	e, err := g.explain(time.Now(), testClient.Addr().String())
	if err != nil || !slices.ContainsFunc(e.Facts, func(x explain.Fact) bool { return strings.Contains(x.Text, "listed for firewalls") }) {
		t.Errorf("explain: got %+v, %v", e, err)
	}

	u := g.upgradeTo(t)
	if entries := u.next.firewall.list.Entries(time.Now()); len(entries) != 1 || entries[0].Source.Addr() != testClient.Addr() {
		t.Errorf("after an upgrade: got %+v", entries)
	}
	if all := u.next.firewall.protected()[firewall.ReasonOperator]; !slices.Contains(all, netip.MustParsePrefix("2001:db8::/64")) {
		t.Errorf("after an upgrade: got operators at %v", all)
	}
	g.firewall.logChanges(firewall.Stats{})
	g.log.Await(t, "event=firewall", "added=1", "removed=0", "listed=1")
	if _, err := u.next.deciding.release(time.Now(), decisions.Release{Of: testClient.Addr().String(), By: "anna"}); err != nil {
		t.Fatal(err)
	}
	if _, s := u.next.fetch(t, "X-Api-Key", token, ""); len(s.New) != 0 || len(s.Deleted) != 1 {
		t.Errorf("after a release: got %+v", s)
	}
}
