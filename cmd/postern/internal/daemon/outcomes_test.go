package daemon

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
	"postern/proxy"
)

// outcomes is where g's attempts and records are reported.
func (g *gateway) outcomes() *outcomes {
	return &outcomes{g.Daemon.log, g.metrics, g.policy, g.backends, g.incidents, nil, g.recent, g.firewall.list, &g.rates}
}

// TestOutcomesForTheDetector: what the limiter calls void has several causes,
// which the detector must tell apart.
func TestOutcomesForTheDetector(t *testing.T) {
	o := start(t).outcomes()
	refused := func(rule limiter.Rule) limiter.Verdict {
		return limiter.Verdict{Action: limiter.Refuse, Rule: rule}
	}
	for name, tt := range map[string]struct {
		attempt proxy.Attempt
		want    watch.Outcome
		rule    string
	}{
		"accepted":             {proxy.Attempt{Outcome: limiter.Accepted, Backend: "b"}, watch.Accepted, ""},
		"denied":               {proxy.Attempt{Outcome: limiter.Denied, Backend: "b"}, watch.Denied, ""},
		"denied after a delay": {proxy.Attempt{Outcome: limiter.Denied, Verdict: limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource}}, watch.Denied, "source"},
		"repeat":               {proxy.Attempt{Outcome: limiter.Denied, Verdict: limiter.Verdict{Action: limiter.Repeat, Rule: limiter.RuleRepeat}}, watch.Repeat, "repeat"},
		"spray":                {proxy.Attempt{Outcome: limiter.Denied, Verdict: limiter.Verdict{Action: limiter.Repeat, Rule: limiter.RuleSpray}}, watch.Rejected, "spray"},
		"gone while delayed":   {proxy.Attempt{Gone: true, Err: errors.New("left")}, watch.Gone, ""},
		"gone in an exchange":  {proxy.Attempt{Backend: "b"}, watch.Gone, ""},
		"abandoned":            {proxy.Attempt{Backend: "b", Abandoned: true, Err: errors.New("unanswered")}, watch.Denied, ""},
		"abandoned, known":     {proxy.Attempt{Backend: "b", Abandoned: true, Verdict: limiter.Verdict{Known: true}}, watch.Gone, ""},
		"too many denied":      {proxy.Attempt{Verdict: refused(limiter.RuleSource), Err: errors.New("refused")}, watch.Rejected, "source"},
		"new in its prefix":    {proxy.Attempt{Verdict: refused(limiter.RulePrefix), Err: errors.New("refused")}, watch.Rejected, "prefix"},
		"no global token":      {proxy.Attempt{Verdict: refused(limiter.RuleGlobal), Err: errors.New("refused")}, watch.Shed, "global"},
		"no login slot":        {proxy.Attempt{Verdict: refused(limiter.RuleBackend), Err: errors.New("busy")}, watch.Shed, "backend"},
		"no answer":            {proxy.Attempt{Backend: "b", Err: errors.New("EOF")}, watch.Fault, ""},
	} {
		tt.attempt.Protocol = "imap"
		tt.attempt.Client = netip.MustParseAddrPort("[::ffff:192.0.2.7]:1")
		got := o.forDetector(tt.attempt)
		if got.Outcome != tt.want || got.Rule != tt.rule || got.Source.String() != "192.0.2.7/32" || got.Network.String() != "192.0.2.0/24" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// TestUsualNeedsAKnownPlace: a known password alone does not make a login usual.
func TestUsualNeedsAKnownPlace(t *testing.T) {
	o := start(t).outcomes()
	a := proxy.Attempt{Protocol: "imap", Outcome: limiter.Accepted, Client: netip.MustParseAddrPort("192.0.2.7:1")}
	for _, v := range []limiter.Verdict{{}, {Known: true}, {Known: true, Near: true}} {
		a.Verdict = v
		if got := o.forDetector(a); got.Known != v.Known || got.Usual != v.Near {
			t.Errorf("%+v: got %+v", v, got)
		}
	}
}

// TestWhoCountsAsUser: what attackers do to themselves must not look like trouble of users.
func TestWhoCountsAsUser(t *testing.T) {
	o := start(t).outcomes()
	for name, tt := range map[string]struct {
		known  bool
		traits limiter.Traits
		want   bool
	}{
		"stranger":                  {false, limiter.Traits{}, false},
		"at their own source":       {true, limiter.Traits{}, true},
		"with the right password":   {true, limiter.Traits{Worked: true}, true},
		"neighbour of a user":       {true, limiter.Traits{NetworkOnly: true}, false},
		"far more logins than due":  {true, limiter.Traits{Worked: true, Overused: true}, false},
		"stale client at its place": {true, limiter.Traits{Former: true, Compared: true}, true},
	} {
		a := proxy.Attempt{
			Protocol: "imap", Outcome: limiter.Denied, Client: netip.MustParseAddrPort("192.0.2.7:1"),
			Verdict: limiter.Verdict{Known: tt.known}, Traits: tt.traits,
		}
		got := o.forDetector(a)
		if got.Known != tt.want || got.Worked != tt.traits.Worked || got.Former != tt.traits.Former ||
			got.Compared != tt.traits.Compared {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// TestHeldPlace: a connection that ends without an attempt is reported, unless users have logged in from its source.
func TestHeldPlace(t *testing.T) {
	g := start(t)
	g.dial(t, "imaps").Login()
	for _, tt := range []struct {
		client   string
		attempts int
		end      proxy.End
		want     bool
	}{
		{"192.0.2.7:1", 0, proxy.EndTimeout, true},
		{"192.0.2.7:1", 0, proxy.EndEvicted, true},
		{"192.0.2.7:1", 1, proxy.EndTimeout, false},
		{"192.0.2.7:1", 0, proxy.EndClient, false},
		{"127.0.0.1:1", 0, proxy.EndTimeout, false},
	} {
		r := proxy.Record{Client: netip.MustParseAddrPort(tt.client), Attempts: tt.attempts, End: tt.end}
		if got := g.outcomes().heldPlace(time.Now(), r); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

// TestNoBackendIsAFault, and not a lack of capacity.
func TestNoBackendIsAFault(t *testing.T) {
	g := start(t, prefix+"IMAP_BACKENDS=127.0.0.1:1")
	g.log.Await(t, "backend down", "127.0.0.1:1")
	a := proxy.Attempt{Protocol: "imap", Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}, Err: errors.New("no backend is up")}
	if got := g.outcomes().forDetector(a).Outcome; got != watch.Fault {
		t.Errorf("got %v", got)
	}
	if parts := g.backends.components(); len(parts) != 2 || !parts[0].Down || parts[1].Down {
		t.Errorf("got %+v", parts)
	}
}

// TestExemptAttempts: logins of webmail and monitoring are counted apart and kept
// from the detector, from a reload on.
func TestExemptAttempts(t *testing.T) {
	g := start(t, prefix+"EXEMPT=192.0.2.0/24")
	exempt := func() float64 {
		return testbed.Total(g.scrape(t)["postern_exempt_logins_total"], "listener", "imaps")
	}
	g.dial(t, "imaps").Login()
	g.log.Await(t, "event=login", "result=accepted")
	if exempt() != 0 {
		t.Error("a login from elsewhere was counted as exempt")
	}
	g.Environ = append(g.Environ, prefix+"EXEMPT=127.0.0.0/8")
	next, err := g.read()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.apply(next); err != nil {
		t.Fatal(err)
	}
	const last = "postern_outcome_last_timestamp_seconds"
	before := testbed.Gauge(g.scrape(t), last)
	g.outcomes().attempt(proxy.Attempt{Listener: "imaps", Protocol: "imap", Outcome: limiter.Denied, Client: netip.MustParseAddrPort("127.0.0.1:1"), Verdict: limiter.Verdict{Known: true}})
	after := g.scrape(t)
	if exempt() != 1 || testbed.Total(after["postern_known_logins_total"], "listener", "imaps") != 0 || testbed.Gauge(after, last) != before {
		t.Error("an exempt login was not counted as one, or as another too")
	}
}

// TestBlockedAttempts are kept from the detector like refused connections, unless they are
// only observed.
func TestBlockedAttempts(t *testing.T) {
	g := start(t)
	last := func() float64 { return testbed.Gauge(g.scrape(t), "postern_outcome_last_timestamp_seconds") }
	before := last()
	a := proxy.Attempt{
		Listener: "imaps", Protocol: "imap", Client: netip.MustParseAddrPort("192.0.2.7:1"),
		Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBlocked, Known: true},
	}
	g.outcomes().attempt(a)
	if n := testbed.Total(g.scrape(t)["postern_known_logins_total"], "listener", "imaps"); last() != before || n != 0 {
		t.Errorf("a blocked attempt was counted as %v logins of users, or reported", n)
	}
	a.Observed, a.Outcome = true, limiter.Accepted
	g.outcomes().attempt(a)
	if n := testbed.Total(g.scrape(t)["postern_known_logins_total"], "listener", "imaps"); n != 1 {
		t.Errorf("an attempt that would be blocked was counted as %v logins of users, want 1", n)
	}
}

// TestMonitorState has what monitoring needs, and no address or account.
func TestMonitorState(t *testing.T) {
	g := start(t, prefix+"MAX_CONNECTIONS=500")
	g.dial(t, "imaps").Login()
	s := g.monitorState(time.Now())
	if s.Backends != (monitor.Backends{Up: 2, All: 2}) || s.MaxConnections != 500 || s.Connections < 1 || s.Verdict == "" || s.Incident != nil {
		t.Errorf("got %+v", s)
	}
	if _, err := g.incidents.Do(time.Now(), incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack, By: "anna"}); err != nil {
		t.Fatal(err)
	}
	s = g.monitorState(time.Now())
	if s.Incident == nil || s.Incident.Class != "attack" || s.Incident.Acknowledged {
		t.Errorf("got %+v", s.Incident)
	}
	text, err := json.Marshal(s)
	if err != nil || strings.Contains(string(text), testbed.Account.Name) || strings.Contains(string(text), "127.0.0.1") {
		t.Errorf("names an account or an address: %s, %v", text, err)
	}
}

// TestNeighbourGuesses: a client that guesses at an account from the network of its owner is no
// known user, whatever becomes of them. The owner, at their own address, is served.
func TestNeighbourGuesses(t *testing.T) {
	g := start(t, prefix+"PROXY_FROM=127.0.0.0/8", prefix+"CLEARTEXT_LOGIN=true", prefix+"TARPIT_MAX=1s", prefix+"LIMIT_SOURCE=2/10m")
	from := func(addr, secret, want string) {
		c := g.connect(t, "imap")
		c.Say("PROXY TCP4 "+addr+" 192.0.2.1 40000 143", "* OK")
		c.Say("a LOGIN "+testbed.Account.Name+" "+secret, want)
	}
	from("192.0.2.3", testbed.Account.Secret, "a OK")
	for range 8 {
		from("192.0.2.4", rand.Text(), "a NO")
	}
	from("192.0.2.3", testbed.Account.Secret, "a OK")
	logins := g.scrape(t)["postern_known_logins_total"]
	for result, want := range map[string]float64{"good": 1, "slow": 0, "limited": 0, "denied": 0, "fault": 0} {
		if got := testbed.Total(logins, "result", result); got != want {
			t.Errorf("%s: got %v logins of known users, want %v", result, got, want)
		}
	}
	if refused := testbed.Total(g.scrape(t)["postern_logins_total"], "result", "refused"); refused == 0 {
		t.Error("got no refusal, want the neighbour to be refused by rule source")
	}
}
