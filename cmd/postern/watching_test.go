package main

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/limiter"
	"postern/limiter/watch"
	"postern/proxy"
)

// TestSeen: what the limiter calls void has several causes, which the watch
// must not take for one another.
func TestSeen(t *testing.T) {
	h := newHouse(t)
	refused := func(rule limiter.Rule) limiter.Verdict {
		return limiter.Verdict{Action: limiter.Refuse, Rule: rule}
	}
	for name, tt := range map[string]struct {
		attempt proxy.Attempt
		want    watch.Outcome
		rule    string
	}{
		"accepted":            {proxy.Attempt{Outcome: limiter.Accepted, Backend: "b"}, watch.Accepted, ""},
		"denied":              {proxy.Attempt{Outcome: limiter.Denied, Backend: "b"}, watch.Denied, ""},
		"denied after a wait": {proxy.Attempt{Outcome: limiter.Denied, Verdict: limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource}}, watch.Denied, "source"},
		"a repeat":            {proxy.Attempt{Outcome: limiter.Denied, Verdict: limiter.Verdict{Action: limiter.Repeat, Rule: limiter.RuleRepeat}}, watch.Repeat, "repeat"},
		"left waiting":        {proxy.Attempt{Gone: true, Err: errors.New("left")}, watch.Gone, ""},
		"left talking":        {proxy.Attempt{Backend: "b"}, watch.Gone, ""},
		"too many denials":    {proxy.Attempt{Verdict: refused(limiter.RuleSource), Err: errors.New("refused")}, watch.Rejected, "source"},
		"no room":             {proxy.Attempt{Verdict: refused(limiter.RuleGlobal), Err: errors.New("refused")}, watch.Shed, "global"},
		"no slot":             {proxy.Attempt{Verdict: refused(limiter.RuleBackend), Err: errors.New("busy")}, watch.Shed, "backend"},
		"no answer":           {proxy.Attempt{Backend: "b", Err: errors.New("EOF")}, watch.Fault, ""},
	} {
		tt.attempt.Protocol = "imap"
		tt.attempt.Client = netip.MustParseAddrPort("[::ffff:192.0.2.7]:1")
		got := h.seen(tt.attempt)
		if got.Outcome != tt.want || got.Rule != tt.rule || got.Source.String() != "192.0.2.7/32" || got.Network.String() != "192.0.2.0/24" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// TestUsual: a password that works is not enough to belong where one is.
func TestUsual(t *testing.T) {
	h := newHouse(t)
	a := proxy.Attempt{Protocol: "imap", Outcome: limiter.Accepted, Client: netip.MustParseAddrPort("192.0.2.7:1")}
	for _, v := range []limiter.Verdict{{}, {Known: true}, {Known: true, Near: true}} {
		a.Verdict = v
		if got := h.seen(a); got.Known != v.Known || got.Usual != v.Near {
			t.Errorf("%+v: got %+v", v, got)
		}
	}
}

// TestNoBackendIsAFault, and not a want of room.
func TestNoBackendIsAFault(t *testing.T) {
	h := newHouse(t, "POSTERN_IMAP_BACKENDS=127.0.0.1:1")
	h.log.await(t, "backend down", "127.0.0.1:1")
	a := proxy.Attempt{Protocol: "imap", Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}, Err: errors.New("no backend is up")}
	if got := h.seen(a).Outcome; got != watch.Fault {
		t.Errorf("got %v", got)
	}
	if parts := h.parts(); len(parts) != 2 || !parts[0].Down || parts[1].Down {
		t.Errorf("got %+v", parts)
	}
}

// TestUserMetrics sorts the logins of known users, and counts nobody else's.
func TestUserMetrics(t *testing.T) {
	m := testMetrics(t)
	for name, tt := range map[string]struct {
		seen watch.Attempt
		want string
	}{
		"in time":        {watch.Attempt{Outcome: watch.Accepted, Greeting: promptly, Waited: promptly}, "good"},
		"greeted late":   {watch.Attempt{Outcome: watch.Accepted, Greeting: promptly + 1}, "slow"},
		"let go on late": {watch.Attempt{Outcome: watch.Accepted, Waited: promptly + 1}, "slow"},
		"wrong":          {watch.Attempt{Outcome: watch.Denied}, "denied"},
		"wrong again":    {watch.Attempt{Outcome: watch.Repeat}, "denied"},
		"rejected":       {watch.Attempt{Outcome: watch.Rejected}, "limited"},
		"shed":           {watch.Attempt{Outcome: watch.Shed}, "limited"},
		"backend":        {watch.Attempt{Outcome: watch.Fault}, "fault"},
	} {
		counter := m.users.known.WithLabelValues("imaps", tt.want)
		before := testutil.ToFloat64(counter)
		m.users.seen("imaps", tt.seen)
		tt.seen.Known = true
		m.users.seen("imaps", tt.seen)
		if got := testutil.ToFloat64(counter); got != before+1 {
			t.Errorf("%s: %v became %v", name, before, got)
		}
	}
	m.users.seen("imaps", watch.Attempt{Known: true, Outcome: watch.Gone, Greeting: time.Second})
	if got := total(gather(t, m.registry)["postern_known_logins_total"], "listener", "imaps"); got != 8 {
		t.Errorf("%v in all, want 8", got)
	}
	if got := gather(t, m.registry)["postern_known_greeting_seconds"].GetMetric()[1].GetHistogram().GetSampleCount(); got != 2 {
		t.Errorf("%d greetings, want 2", got)
	}
}

// TestExempt: webmail and probes are counted apart, and the watch hears nothing
// of them, from the moment of a reload on.
func TestExempt(t *testing.T) {
	h := newHouse(t, "POSTERN_EXEMPT=192.0.2.0/24")
	probes := func() float64 {
		return total(gather(t, h.metrics.registry)["postern_exempt_logins_total"], "listener", "imaps")
	}
	h.dial(t, "imaps").login()
	h.log.await(t, "event=login", "result=accepted")
	if probes() != 0 {
		t.Error("somebody who is not exempt was counted as a probe")
	}
	h.environ = append(h.environ, "POSTERN_EXEMPT=127.0.0.0/8")
	next, err := h.read()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.reload(next); err != nil {
		t.Fatal(err)
	}
	before := testutil.ToFloat64(h.metrics.users.latest)
	h.settled(proxy.Attempt{Listener: "imaps", Protocol: "imap", Outcome: limiter.Denied, Client: netip.MustParseAddrPort("127.0.0.1:1"), Verdict: limiter.Verdict{Known: true}})
	if probes() != 1 || total(gather(t, h.metrics.registry)["postern_known_logins_total"], "listener", "imaps") != 0 || testutil.ToFloat64(h.metrics.users.latest) != before {
		t.Error("a probe was not counted as one, or as something else too")
	}
}
