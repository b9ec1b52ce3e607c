package firewall

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter"
)

// values are the values of decisions.
func values(all []Decision) (list []string) {
	for _, d := range all {
		list = append(list, d.Value)
	}
	return list
}

// query reads the parameters of a request.
func query(t *testing.T, text string) Query {
	t.Helper()
	v, err := url.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	return ParseQuery(v)
}

// TestStreamHasTheFormOfLAPI.
func TestStreamHasTheFormOfLAPI(t *testing.T) {
	f := newFixture()
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 20)
	f.refuse("2001:db8::7", limiter.RuleConnect, 3, 10)
	text, err := json.Marshal(f.Stream(f.now, time.Time{}, Query{}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"new":[` +
		`{"id":1,"origin":"postern","type":"ban","scenario":"postern/source","scope":"Ip","value":"192.0.2.1","duration":"6m30s","created_at":"2026-03-29T08:02:30Z","until":"2026-03-29T08:12:30Z"},` +
		`{"id":2,"origin":"postern","type":"ban","scenario":"postern/connect","scope":"Range","value":"2001:db8::/64","duration":"9m30s","created_at":"2026-03-29T08:05:30Z","until":"2026-03-29T08:15:30Z"}],` +
		`"deleted":[]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

// TestStreamSendsChanges since a time: a source that is listed again is not deleted.
func TestStreamSendsChanges(t *testing.T) {
	f := newFixture()
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	since := f.now
	f.refuse("192.0.2.2", limiter.RuleSource, 3, 10)
	s := f.Stream(f.now, since, Query{})
	if got := values(s.New); !slices.Equal(got, []string{"192.0.2.2"}) || len(s.Deleted) != 0 {
		t.Errorf("got %q new, %q deleted", got, values(s.Deleted))
	}
	since = f.now
	f.Release(f.now, netip.MustParsePrefix("192.0.2.2/32"))
	f.pass(FirstTime)
	s = f.Stream(f.now, since, Query{})
	if got := values(s.Deleted); !slices.Equal(got, []string{"192.0.2.2", "192.0.2.1"}) || len(s.New) != 0 {
		t.Errorf("got %q new, %q deleted", values(s.New), got)
	}
	for _, d := range s.Deleted {
		if left, err := time.ParseDuration(d.Duration); err != nil || left > 0 {
			t.Errorf("got duration %s of a source that is not listed any more", d.Duration)
		}
	}
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 10)
	s = f.Stream(f.now, since, Query{})
	if got := values(s.Deleted); !slices.Equal(got, []string{"192.0.2.2"}) || !slices.Equal(values(s.New), []string{"192.0.2.1"}) {
		t.Errorf("got %q new, %q deleted", values(s.New), got)
	}
	f.pass(RemovedTime + 3*FirstTime)
	if s = f.Stream(f.now, time.Time{}, Query{}); len(s.New)+len(s.Deleted) != 0 {
		t.Errorf("got %+v after a long time", s)
	}
}

// TestStreamFilters as LAPI does.
func TestStreamFilters(t *testing.T) {
	f := newFixture()
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 20)
	f.refuse("2001:db8::7", limiter.RuleConnect, 3, 10)
	const four, six = "192.0.2.1", "2001:db8::/64"
	for text, want := range map[string][]string{
		"startup=true":                           {four, six},
		"scopes=ip":                              {four},
		"scopes=Ip,Range":                        {four, six},
		"scopes=country":                         nil,
		"origins=postern,CAPI":                   {four, six},
		"origins=CAPI":                           nil,
		"scenarios_containing=connect,x":         {six},
		"scenarios_not_containing=connect":       {four},
		"scenarios_containing=postern&scopes=ip": {four},
		"x=y":                                    {four, six},
	} {
		if got := values(f.Stream(f.now, time.Time{}, query(t, text)).New); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	f.SetObserve(f.now, true)
	f.refuse("192.0.2.1", limiter.RuleSource, 3, 20)
	if s := f.Stream(f.now, f.now.Add(-time.Minute), query(t, "startup=true")); len(s.New) != 0 {
		t.Errorf("got %q in observe mode, want none", values(s.New))
	}
	if s := f.Stream(f.now, time.Time{}, query(t, "simulated=true")); len(s.New) != 1 || !s.New[0].Simulated {
		t.Errorf("got %+v, want one that is simulated", s.New)
	}
}

// TestClientsGetChangesOnce, with an overlap, and all at first, on request and after a long time.
func TestClientsGetChangesOnce(t *testing.T) {
	var c Clients
	at := func(d time.Duration) time.Time { return began.Add(d) }
	for i, step := range []struct {
		at      time.Duration
		client  string
		startup bool
		want    time.Time
	}{
		{0, "a", false, time.Time{}},
		{10 * time.Second, "a", false, at(-overlap)},
		{20 * time.Second, "b", false, time.Time{}},
		{5 * time.Minute, "a", false, at(10*time.Second - overlap)},
		{6 * time.Minute, "a", true, time.Time{}},
		{7 * time.Minute, "a", false, at(6*time.Minute - overlap)},
		{7*time.Minute + RemovedTime, "a", false, time.Time{}},
		{time.Minute, "a", false, time.Time{}},
	} {
		if got := c.Since(at(step.at), step.client, step.startup); !got.Equal(step.want) {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
	for i := range 10 * clientsMax {
		c.Since(at(time.Hour+time.Duration(i)*time.Second), strings.Repeat("x", i), false)
	}
	if n := len(c.latest); n > clientsMax {
		t.Errorf("got %d clients, want at most %d", n, clientsMax)
	}
}
