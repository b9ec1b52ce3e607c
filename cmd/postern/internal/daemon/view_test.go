package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/testbed"
	"postern/cmd/postern/internal/view"
	"postern/limiter"
	"postern/proxy"
)

// TestView has what happened, and names clients only in its detail.
func TestView(t *testing.T) {
	g := start(t)
	g.dial(t, "imaps").Login()
	timeout := time.After(testbed.Patience)
	for g.rates.inLastMinute(time.Now(), "imaps") == 0 { // the last thing that is done about an attempt
		select {
		case <-time.After(time.Millisecond):
		case <-timeout:
			t.Fatalf("the login is not counted\n%s", g.log)
		}
	}
	o := g.outcomes()
	o.attempt(proxy.Attempt{Client: testClient, Listener: "imap", Protocol: "imap", Account: "anna", Session: "abc", Outcome: limiter.Denied, Backend: "b"})
	o.attempt(proxy.Attempt{Client: testClient, Listener: "imap", Protocol: "imap", Account: "anna", Session: "abd", Err: errors.New("refused"),
		Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}})
	if _, err := g.deciding.decide(time.Now(), decisions.Request{Kind: decisions.Block, Network: "203.0.113.0/24", By: "anna"}, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(time.Second) // the series has whole seconds
	v := g.views.view(now, true)
	rates, open := map[string]int{}, map[string]int{}
	for _, l := range v.Listeners {
		rates[l.Name], open[l.Name] = l.Rate, l.Open
	}
	if v.Level != "OK" || v.Version != "test" || v.Mode.Observe || v.State.Verdict != "learning" || rates["imap"] != 2 || rates["imaps"] != 1 || open["imap"] != 0 || open["imaps"] != 1 || len(v.Backends) != 2 || !v.Backends[0].Up {
		t.Errorf("got %+v", v)
	}
	sum := map[string]uint32{}
	for _, s := range v.Series {
		sum["accepted"] += s.Known + s.Stranger
		sum["denied"] += s.Denied
		sum["refused"] += s.Refused
	}
	if sum["accepted"] != 1 || sum["denied"] != 1 || sum["refused"] != 1 {
		t.Errorf("got %v in the series, want one of each", sum)
	}
	d := v.Detail
	if len(d.Top.Sources) != 1 || d.Top.Sources[0].Name != "192.0.2.7" || d.Top.Sources[0].Denied != 1 || d.Top.Sources[0].Refused != 1 || d.Top.Accounts[0].Name != "anna" {
		t.Errorf("got top %+v", d.Top)
	}
	if len(d.Refusals) != 2 || d.Refusals[0].Session != "abd" || d.Decided != 1 || d.Decisions[0].By != "anna" {
		t.Errorf("got %+v", d)
	}
	if again := g.views.view(now.Add(viewAge/2), false); again.Detail != nil || !again.Time.Equal(v.Time) {
		t.Errorf("got detail %v at %v, want the same view without", again.Detail, again.Time)
	}
	if later := g.views.view(now.Add(viewAge), true); later.Time.Equal(v.Time) || later.Detail != d {
		t.Error("got an old view, or new detail too early")
	}
	if back := g.views.view(now.Add(-time.Hour), true); back.Time.After(now) || back.Detail == d {
		t.Error("got an old view after the clock went back")
	}
}

// TestModeOfDecision: a decision overrides the setting until it ends, also over a reload.
func TestModeOfDecision(t *testing.T) {
	g := start(t)
	now := time.Now()
	if m := g.views.mode(now); m != (view.Mode{}) {
		t.Errorf("got %+v, want to enforce as the setting says", m)
	}
	if _, err := g.deciding.decide(now, decisions.Request{Kind: decisions.Observe, For: "10m", By: "anna"}, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if m := g.views.mode(now); !m.Observe || m.Setting || m.By != "anna" || !m.Until.Equal(now.Add(10*time.Minute)) {
		t.Errorf("got %+v, want to observe for ten minutes", m)
	}
	if public, whole := g.views.view(now, false).Mode, g.views.view(now, true).Mode; public.By != "" || !public.Observe || whole.By != "anna" {
		t.Errorf("got %+v without a token and %+v with one, want the name only in the latter", public, whole)
	}
	if _, err := g.reload(g.read); err != nil {
		t.Fatal(err)
	}
	if !g.deciding.observing(now) {
		t.Error("the reload has ended the decision")
	}
	g.deciding.expire(now.Add(10 * time.Minute))
	if m := g.views.mode(now); m != (view.Mode{}) {
		t.Errorf("got %+v after the end of the decision", m)
	}
	g.log.Await(t, "decision ended by time", "kind=observe")
}

// TestRates counts the attempts of the last minute.
func TestRates(t *testing.T) {
	var r rates
	start := time.Unix(1_000_000, 0)
	for i := range 100 {
		r.add(start.Add(time.Duration(i)*time.Second), "imap")
		r.add(start.Add(time.Duration(i)*time.Second), "imaps")
	}
	for after, want := range map[time.Duration]int{99 * time.Second: 60, 109 * time.Second: 50, 158 * time.Second: 1, 159 * time.Second: 0, -time.Hour: 0} {
		if got := r.inLastMinute(start.Add(after), "imap"); got != want {
			t.Errorf("after %v: got %d attempts, want %d", after, got, want)
		}
	}
}

// BenchmarkView makes whole views of a gateway with 500,000 buckets, 10,000 decisions and as many events as are
// remembered.
func BenchmarkView(b *testing.B) {
	g := start(b, prefix+"LOG_LEVEL=error", prefix+"LIMIT_GLOBAL=off")
	o, now := g.outcomes(), time.Now()
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{45, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := 0; ; i++ {
		ticket := g.policy.limiter.Ask(now, limiter.Attempt{Addr: addr(i), Account: fmt.Sprint("user", i%50_000)})
		ticket.Settle(now, limiter.Denied)
		if i < 150_000 {
			o.attempt(proxy.Attempt{Client: netip.AddrPortFrom(addr(i), 1), Listener: "imap", Protocol: "imap", Account: fmt.Sprint("user", i%50_000), Session: fmt.Sprint("s", i), Outcome: limiter.Denied, Backend: "b"})
		}
		if s := g.policy.limiter.Stats(now); i%1000 == 0 && s.Sources+s.Networks+s.Pairs+s.Accounts+s.Repeats >= 499_000 {
			break
		}
	}
	var decided []decisions.Decision
	for i := range 10_000 {
		decided = append(decided, decisions.Decision{ID: fmt.Sprint(i), Kind: decisions.Block, Network: limiter.Source(addr(i)), Made: now, By: "anna"})
	}
	data, err := json.Marshal(decided)
	if err != nil {
		b.Fatal(err)
	}
	if err := g.deciding.load(now, data); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		g.views.view(now.Add(time.Duration(i)*detailAge), true)
	}
}

// TestDecisionsAtOnce: of decisions that are made at the same time, all are enforced.
func TestDecisionsAtOnce(t *testing.T) {
	g := start(t)
	var made sync.WaitGroup
	for i := range 100 {
		made.Go(func() {
			r := decisions.Request{Kind: decisions.Block, Network: fmt.Sprintf("203.0.113.%d", i), By: "anna"}
			if _, err := g.deciding.decide(time.Now(), r, netip.Addr{}); err != nil {
				t.Error(err)
			}
		})
	}
	made.Wait()
	for i := range 100 {
		if !g.policy.limiter.Blocked(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})) {
			t.Errorf("203.0.113.%d is not blocked", i)
		}
	}
}
