package watch

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// partOfAnHour returns an hour with n denials from one network and one from the network with this name.
func partOfAnHour(start time.Time, name string, n int) Hour {
	h := Hour{
		Start:   monday,
		Sampled: slices.Repeat([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, n),
		Networks: []Target{
			{Name: "192.0.2.0/24", Denials: n, Spread: Spread{1}, First: start, Last: start.Add(time.Minute)},
			{Name: name, Denials: 1, First: start, Last: start},
		},
		Accepted: []Acceptance{{Time: start, Account: name}},
		Rules: []RuleCounts{
			{Rule: "pair", KnownWaited: n, Longest: time.Duration(n), First: start, Last: start},
			{Rule: name, StrangerRefused: n, First: start, Last: start},
		},
	}
	h.Distinct.Networks.add(uint64(n) << 60)
	return h
}

// TestMerge: two parts of one hour add up in either order, and are not changed.
func TestMerge(t *testing.T) {
	a, b := partOfAnHour(monday, "a", 2), partOfAnHour(monday.Add(10*time.Minute), "b", 3)
	for _, h := range []Hour{a.Merge(b), b.Merge(a)} {
		first := h.Networks[0]
		if len(h.Networks) != 3 || first.Denials != 5 || !first.First.Equal(monday) || !first.Last.Equal(monday.Add(11*time.Minute)) {
			t.Errorf("networks: %+v", h.Networks)
		}
		i := slices.IndexFunc(h.Rules, func(r RuleCounts) bool { return r.Rule == "pair" })
		if len(h.Rules) != 3 || h.Rules[i].KnownWaited != 5 || h.Rules[i].Longest != 3 || !h.Rules[i].First.Equal(monday) || h.Rules[i].Last.Equal(monday) {
			t.Errorf("rules: %+v", h.Rules)
		}
		if len(h.Accepted) != 2 || len(h.Sampled) != 3 || h.Distinct.Networks.Count() != 2 {
			t.Errorf("%+v", h)
		}
	}
	if a.Networks[0].Denials != 2 || a.Rules[0].KnownWaited != 2 || a.Distinct.Networks.Count() != 1 {
		t.Errorf("a was changed: %+v", a)
	}
}

// TestMergeIsBounded: the bounds of an hour hold for many merged parts.
func TestMergeIsBounded(t *testing.T) {
	var h Hour
	for i := range 300 {
		h = h.Merge(partOfAnHour(monday, string(rune('A'+i)), 1))
	}
	if len(h.Networks) != hourTop || len(h.Rules) != hourRules || len(h.Accepted) != hourAccepted || h.Missed != 300-hourAccepted {
		t.Errorf("%d networks, %d rules, %d accepted, %d missed", len(h.Networks), len(h.Rules), len(h.Accepted), h.Missed)
	}
}

// TestHourAsJSON: an hour is read as it was written, and keeps the names of its fields.
func TestHourAsJSON(t *testing.T) {
	h := partOfAnHour(monday, "a", 2)
	line, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back Hour
	if err := json.Unmarshal(line, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || string(again) != string(line) {
		t.Errorf("%v: read as\n%s\nwritten as\n%s", err, again, line)
	}
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"start", "networks", "drawn", "distinct", "accepted", "rules"} {
		if fields[name] == nil {
			t.Errorf("no %q in %s", name, line)
		}
	}
}
