package recent

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy"
)

var start = time.Date(2026, 3, 29, 8, 0, 0, 0, time.UTC)

// at is a time after start.
func at(d time.Duration) time.Time { return start.Add(d) }

// denied is a wrong password of a stranger.
func denied(session, addr, account string) proxy.Attempt {
	return proxy.Attempt{
		Session: session, Listener: "imaps", Protocol: "imap", Client: netip.AddrPortFrom(netip.MustParseAddr(addr), 40001), Account: account, Method: "PLAIN",
		JA4: "t13d131000_f57a46bbacb6_ab7e3b40a677", Backend: "10.0.0.5:143", Verdict: limiter.Verdict{Rule: limiter.RuleNone}, Outcome: limiter.Denied,
	}
}

// refused is an attempt of a stranger that a rule refuses.
func refused(session, addr, account string, rule limiter.Rule) proxy.Attempt {
	a := denied(session, addr, account)
	a.Verdict, a.Outcome, a.Backend = limiter.Verdict{Action: limiter.Refuse, Rule: rule}, limiter.Void, ""
	a.Err = fmt.Errorf("refused by rule %s", rule)
	return a
}

// accepted is an attempt that is accepted at once.
func accepted(session, addr, account string) proxy.Attempt {
	a := denied(session, addr, account)
	a.Outcome = limiter.Accepted
	return a
}

// user makes an attempt one of a known user.
func user(a proxy.Attempt) proxy.Attempt {
	a.Verdict.Known, a.Verdict.Near = true, true
	return a
}

// sessions are the IDs of events, in order.
func sessions(events []Event) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.Session)
	}
	return ids
}

func TestAttemptBecomesEvent(t *testing.T) {
	waited := accepted("abcdef-4", "2001:db8::7", "kari")
	waited.Verdict, waited.Waited = limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleGlobal, Wait: time.Second}, 1500*time.Millisecond
	observed := refused("abcdef-5", "192.0.2.7", "anna", limiter.RulePair)
	observed.Observed, observed.Outcome, observed.Err = true, limiter.Accepted, nil
	gone := denied("abcdef-6", "192.0.2.7", "anna")
	gone.Outcome, gone.Err, gone.Gone = limiter.Void, errors.New("client\nclosed"), true
	for name, tt := range map[string]struct {
		attempt proxy.Attempt
		why     string
		want    Event
	}{
		"denied": {denied("abcdef-1", "192.0.2.7", "anna"), "", Event{
			Session: "abcdef-1", Addr: netip.MustParseAddr("192.0.2.7"), Account: "anna", Backend: "10.0.0.5:143", Action: "pass", Rule: "none", Result: "denied", Enforced: true}},
		"refused user": {user(refused("abcdef-2", "192.0.2.7", "anna", limiter.RulePair)), "5 of 5 denials; POSTERN_LIMIT_PAIR", Event{
			Session: "abcdef-2", Addr: netip.MustParseAddr("192.0.2.7"), Account: "anna", Action: "reject", Rule: "pair", Result: "refused", Known: true, Why: "5 of 5 denials; POSTERN_LIMIT_PAIR", Enforced: true}},
		"hostile name": {denied("abcdef-3", "::ffff:192.0.2.7", "a=\"\x1b\n"+strings.Repeat("x", 1000)), "", Event{
			Session: "abcdef-3", Addr: netip.MustParseAddr("192.0.2.7"), Account: `a\x3d\x22\x1b\x0a` + strings.Repeat("x", 128-17-3) + "...", Backend: "10.0.0.5:143", Action: "pass", Rule: "none", Result: "denied", Enforced: true}},
		"accepted late": {waited, "wait", Event{
			Session: "abcdef-4", Addr: netip.MustParseAddr("2001:db8::7"), Account: "kari", Backend: "10.0.0.5:143", Action: "tarpit", Rule: "global", Result: "accepted", Why: "wait", Waited: 1500 * time.Millisecond, Enforced: true}},
		"observed": {observed, "pair", Event{
			Session: "abcdef-5", Addr: netip.MustParseAddr("192.0.2.7"), Account: "anna", Action: "reject", Rule: "pair", Result: "accepted", Why: "pair"}},
		"gone": {gone, "", Event{
			Session: "abcdef-6", Addr: netip.MustParseAddr("192.0.2.7"), Account: "anna", Backend: "10.0.0.5:143", Action: "pass", Rule: "none", Result: "void", Enforced: true, Error: `client\x0aclosed`}},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(start)
			m.Attempt(at(time.Second), tt.attempt, tt.why)
			tt.want.Time, tt.want.Attempt, tt.want.Listener, tt.want.Method = at(time.Second), true, "imaps", "PLAIN"
			tt.want.JA4 = tt.attempt.JA4
			got := m.Find(tt.want.Session)
			if len(got) != 1 {
				t.Fatalf("got %d events, want 1", len(got))
			}
			got[0].Time = got[0].Time.UTC()
			if got[0] != tt.want {
				t.Errorf("got\n%+v\nwant\n%+v", got[0], tt.want)
			}
		})
	}
}

// TestAcceptedAtOnceIsNoEvent: it counts, and is not kept.
func TestAcceptedAtOnceIsNoEvent(t *testing.T) {
	m := New(start)
	m.Attempt(at(0), accepted("abcdef-1", "192.0.2.7", "anna"), "")
	m.Attempt(at(0), user(accepted("abcdef-2", "192.0.2.7", "anna")), "")
	if got := m.Search(Query{}, 10); len(got) != 0 {
		t.Errorf("got %v, want no events", got)
	}
	if got, want := m.Series(at(time.Second), 0), []Second{{Time: start.Unix(), Known: 1, Stranger: 1}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestEndsOfConnections that are events: what an attempt does not say already.
func TestEndsOfConnections(t *testing.T) {
	record := func(end proxy.End, attempts int, err error) proxy.Record {
		return proxy.Record{ID: "abcdef-1", Listener: "pop3", Client: netip.MustParseAddrPort("192.0.2.7:1"), End: end, Attempts: attempts, Err: err}
	}
	for _, tt := range []struct {
		end      proxy.End
		attempts int
		err      error
		kept     bool
	}{
		{proxy.EndClient, 0, nil, false}, {proxy.EndBackend, 1, io.EOF, false}, {proxy.EndProbe, 0, nil, false},
		{proxy.EndRefused, 0, nil, true}, {proxy.EndRefused, 1, nil, false},
		{proxy.EndTries, 3, nil, true},
		{proxy.EndTimeout, 0, nil, true}, {proxy.EndTimeout, 1, nil, false},
		{proxy.EndProtocol, 0, nil, true},
		{proxy.EndTLS, 0, errors.New("no common version"), true},
		{proxy.EndTLS, 0, fmt.Errorf("handshake with client: %w", io.EOF), false},
		{proxy.EndProxyHeader, 0, nil, true}, {proxy.EndEvicted, 0, nil, true}, {proxy.EndShutdown, 0, nil, true},
		{proxy.EndShutdown, 1, nil, false}, {proxy.EndPanic, 2, nil, true},
	} {
		m := New(start)
		m.Record(at(0), record(tt.end, tt.attempts, tt.err), "why")
		got := m.Find("abcdef-1")
		if kept := len(got) == 1; kept != tt.kept {
			t.Errorf("%v after %d attempts: got kept %v, want %v", tt.end, tt.attempts, kept, tt.kept)
		}
		if tt.kept && (got[0].Attempt || got[0].Result != tt.end.String() || got[0].Why != "why" || got[0].Listener != "pop3") {
			t.Errorf("%v: got %+v", tt.end, got[0])
		}
	}
}

func TestSearch(t *testing.T) {
	m := New(start)
	m.Attempt(at(1*time.Second), denied("abcdef-1", "192.0.2.7", "Anna"), "")
	m.Attempt(at(2*time.Second), user(denied("abcdef-2", "192.0.2.9", "anna")), "")
	m.Attempt(at(3*time.Second), denied("abcdef-3", "198.51.100.1", "J\u00d6RG"), "")
	m.Attempt(at(4*time.Second), denied("abcdef-4", "2001:db8::1", "kari"), "")
	m.Record(at(5*time.Second), proxy.Record{ID: "abcdef-5", Client: netip.MustParseAddrPort("192.0.2.7:1"), End: proxy.EndTimeout}, "")
	for name, tt := range map[string]struct {
		query Query
		most  int
		want  []string
	}{
		"all":               {Query{}, 10, []string{"abcdef-5", "abcdef-4", "abcdef-3", "abcdef-2", "abcdef-1"}},
		"the latest":        {Query{}, 2, []string{"abcdef-5", "abcdef-4"}},
		"address":           {Query{Network: netip.MustParsePrefix("192.0.2.7/32")}, 10, []string{"abcdef-5", "abcdef-1"}},
		"network":           {Query{Network: netip.MustParsePrefix("192.0.2.0/24")}, 10, []string{"abcdef-5", "abcdef-2", "abcdef-1"}},
		"mapped":            {Query{Network: netip.MustParsePrefix("::ffff:192.0.2.9/128")}, 10, []string{"abcdef-2"}},
		"IPv6":              {Query{Network: netip.MustParsePrefix("2001:db8::/48")}, 10, []string{"abcdef-4"}},
		"account":           {Query{Account: "ANNA"}, 10, []string{"abcdef-2", "abcdef-1"}},
		"account as logged": {Query{Account: `j\xc3\xb6rg`}, 10, []string{"abcdef-3"}},
		"account, network":  {Query{Account: "anna", Network: netip.MustParsePrefix("192.0.2.9/32")}, 10, []string{"abcdef-2"}},
		"nothing":           {Query{Account: "ann"}, 10, nil},
	} {
		if got := sessions(m.Search(tt.query, tt.most)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
	pairs := []Pair{{netip.MustParsePrefix("192.0.2.9/32"), "anna"}, {netip.MustParsePrefix("192.0.2.7/32"), ""}, {netip.MustParsePrefix("192.0.2.7/32"), "Anna"}}
	if got := m.Pairs(Query{Network: netip.MustParsePrefix("192.0.2.0/24")}, 10); !slices.Equal(got, pairs) {
		t.Errorf("pairs: got %v, want %v", got, pairs)
	}
	if got := m.Pairs(Query{}, 2); !slices.Equal(got, pairs[:2]) {
		t.Errorf("pairs: got %v, want %v", got, pairs[:2])
	}
}

// TestClear forgets what was before, and remembers what comes later.
func TestClear(t *testing.T) {
	m := New(start)
	for i := range 5000 {
		m.Attempt(at(0), denied(fmt.Sprint("abcdef-", i), "192.0.2.7", "anna"), "")
	}
	m.scan(&m.others, func(number uint64, _ *entry) bool {
		m.Clear()
		_, ok := m.event(&m.others, number)
		return ok
	})
	m.Attempt(at(1), denied("abcdef-last", "192.0.2.7", "anna"), "")
	if got := sessions(m.Search(Query{}, 10)); !slices.Equal(got, []string{"abcdef-last"}) {
		t.Errorf("got %v", got)
	}
	if rows := m.Top(at(1), time.Minute, 10).Sources; len(rows) != 1 || rows[0].Attempts != 1 {
		t.Errorf("got %+v", rows)
	}
}

// TestFloodOfStrangers keeps the events of known users, and the latest 100,000 of others.
func TestFloodOfStrangers(t *testing.T) {
	m := New(start)
	m.Attempt(at(0), user(denied("abcdef-1", "192.0.2.7", "anna")), "")
	m.Attempt(at(0), denied("abcdef-2", "192.0.2.7", "anna"), "")
	for i := range othersMax + 7 {
		m.Attempt(at(time.Duration(i)*time.Millisecond), refused(fmt.Sprint("bcdefg-", i), "198.51.100.1", fmt.Sprint("user", i), limiter.RuleSource), "source")
	}
	if got := m.Find("abcdef-1"); len(got) != 1 {
		t.Error("the event of a known user was displaced")
	}
	if got := m.Search(Query{}, othersMax+10); len(got) != othersMax+1 || got[0].Session != fmt.Sprint("bcdefg-", othersMax+6) {
		t.Errorf("got %d events, want %d", len(got), othersMax+1)
	}
	if users, others := m.Since(); !users.Equal(start) || !others.Equal(at(6*time.Millisecond)) {
		t.Errorf("got events since %v and %v, want %v and %v", users, others, start, at(6*time.Millisecond))
	}
}

// TestFloodOfLongTexts: names of the greatest length displace some events, and memory is bounded.
func TestFloodOfLongTexts(t *testing.T) {
	m := New(start)
	long := strings.Repeat("\xff", 200)
	for i := range othersMax {
		a := denied(fmt.Sprint("bcdefg-", i), "198.51.100.1", long)
		a.Outcome, a.Method, a.Err = limiter.Void, long+fmt.Sprint(i), errors.New(long)
		m.Attempt(at(time.Duration(i)*time.Millisecond), a, long)
	}
	got := m.Search(Query{Account: long}, othersMax)
	if len(got) < othersText/textMax || len(m.others.texts.chunks)*textChunk != othersText {
		t.Errorf("got %d events in %d octets, want at least %d in %d", len(got), len(m.others.texts.chunks)*textChunk, othersText/textMax, othersText)
	}
	for i, e := range got {
		if want := fmt.Sprint("bcdefg-", othersMax-1-i); e.Session != want || len(e.Account) > 128 || len(e.Method) > 128 || len(e.Error) > 128 {
			t.Fatalf("event %d: got %+v, want %s", i, e, want)
		}
	}
}

// TestOldEventsExpire as others follow.
func TestOldEventsExpire(t *testing.T) {
	m := New(start)
	for i := range 3 * expireAtOnce {
		m.Attempt(at(time.Duration(i)), denied(fmt.Sprint("abcdef-", i), "192.0.2.7", "anna"), "")
	}
	for i := range 3 {
		m.Attempt(at(Keep+time.Second), denied(fmt.Sprint("bcdefg-", i), "192.0.2.7", "anna"), "")
	}
	if got, want := sessions(m.Search(Query{}, 1000)), []string{"bcdefg-2", "bcdefg-1", "bcdefg-0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestSeries has each complete second once, and no older ones than five minutes.
func TestSeries(t *testing.T) {
	m := New(start)
	void := denied("abcdef-1", "192.0.2.7", "anna")
	void.Outcome = limiter.Void
	repeat := denied("abcdef-1", "192.0.2.7", "anna")
	repeat.Verdict, repeat.Backend = limiter.Verdict{Action: limiter.Repeat, Rule: limiter.RuleRepeat}, ""
	m.Attempt(at(0), denied("abcdef-1", "192.0.2.7", "anna"), "")
	m.Attempt(at(500*time.Millisecond), repeat, "")
	m.Attempt(at(2*time.Second), refused("abcdef-1", "192.0.2.7", "anna", limiter.RuleSource), "")
	m.Record(at(2*time.Second), proxy.Record{ID: "abcdef-1", End: proxy.EndEvicted}, "")
	m.Record(at(2*time.Second), proxy.Record{ID: "abcdef-1", End: proxy.EndTimeout}, "")
	m.Attempt(at(2*time.Second), void, "")
	m.Attempt(at(3*time.Second), void, "")
	s := start.Unix()
	want := []Second{{Time: s, Denied: 1, Repeat: 1}, {Time: s + 1}, {Time: s + 2, Refused: 2, Void: 1}}
	if got := m.Series(at(3500*time.Millisecond), 0); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := m.Series(at(4*time.Second), s+1), []Second{want[2], {Time: s + 3, Void: 1}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := m.Series(at(0), 0); len(got) != 0 {
		t.Errorf("got %v, want nothing before the first second is over", got)
	}
	later := m.Series(at(time.Hour), 0)
	if len(later) != seriesTime || later[0] != (Second{Time: s + 3600 - seriesTime}) {
		t.Errorf("got %d seconds from %v, want %d empty ones", len(later), later[0], seriesTime)
	}
}

// TestAttemptAllocatesNothing once its part of the rings is allocated.
func TestAttemptAllocatesNothing(t *testing.T) {
	m := New(start)
	a := refused("abcdef-1", "192.0.2.7", "anna@example.org", limiter.RuleSource)
	b := user(denied("abcdef-2", "192.0.2.7", "anna@example.org"))
	m.Attempt(start, a, "source")
	m.Attempt(start, b, "")
	if n := testing.AllocsPerRun(100, func() { m.Attempt(start, a, "source"); m.Attempt(start, b, "") }); n > 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
