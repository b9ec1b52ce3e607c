package watch

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTopFindsMostFrequent: the most frequent of ten times as many keys as its capacity are found. Their counts are
// right within Over.
func TestTopFindsMostFrequent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	top, counts := newTop[int](100), map[int]int{}
	for i := range 100_000 {
		key := r.IntN(1000)
		if i%3 == 0 {
			key = -1 - r.IntN(10) // ten keys with a third of all
		}
		counts[key]++
		top.count(monday.Add(time.Duration(i)*time.Second), key, r.Uint64())
	}
	found := top.mostFrequent(10, func(k int) string { return fmt.Sprint(k) })
	for _, f := range found {
		var key int
		if fmt.Sscan(f.Name, &key); key >= 0 {
			t.Errorf("%s is among the ten most frequent", f.Name)
		}
		if n := counts[key]; f.Denials < n || f.Denials-f.Over > n {
			t.Errorf("%s was counted %d times, got %d with an error of %d", f.Name, n, f.Denials, f.Over)
		}
	}
	if len(top.entries) != 100 || len(top.at) != 100 {
		t.Errorf("%d entries, %d indices", len(top.entries), len(top.at))
	}
	for i, e := range top.entries {
		if top.at[e.key] != i || top.order[e.place] != i {
			t.Fatalf("entry %d: index %d by key, %d by order", i, top.at[e.key], top.order[e.place])
		}
	}
}

// TestAcceptedFromAttackingNetwork: reported whichever comes first, and never for users who mistyped their own password.
func TestAcceptedFromAttackingNetwork(t *testing.T) {
	source, network := from("192.0.2.1")
	denied := func(account string) Attempt {
		return Attempt{Source: source, Network: network, Account: account, Outcome: Denied}
	}
	accepted := func(account string, usual bool) Attempt {
		return Attempt{Source: source, Network: network, Account: account, Outcome: Accepted, Usual: usual, Known: true}
	}
	for _, c := range []struct {
		name     string
		attempts []Attempt
		want     int
	}{
		{"denials first", []Attempt{denied("a"), denied("b"), accepted("c", false)}, 1},
		{"denials later", []Attempt{accepted("c", false), denied("a"), denied("b"), denied("d")}, 1},
		{"mistyped", []Attempt{denied("c"), denied("C"), accepted("c", false), denied("c")}, 0},
		{"usual network", []Attempt{denied("a"), denied("b"), accepted("c", true)}, 0},
		{"one other account", []Attempt{denied("a"), accepted("c", false)}, 1},
		{"two accounts", []Attempt{accepted("c", false), accepted("d", false), denied("a")}, 2},
	} {
		w := New(Config{})
		for i, a := range c.attempts {
			w.Attempt(monday.Add(time.Duration(i)*time.Second), a)
		}
		if _, h := w.Partial(monday.Add(time.Minute)); len(h.Accepted) != c.want {
			t.Errorf("%s: %+v", c.name, h.Accepted)
		}
	}
}

// TestMemoryIsBounded: 110,000 networks, each with an account of its own, fill every table up to its bound.
func TestMemoryIsBounded(t *testing.T) {
	w := New(Config{})
	now := monday
	for i := range 110_000 {
		if i == 55_000 {
			now = now.Add(time.Second)
		}
		a := Attempt{Account: fmt.Sprint(i), Outcome: Denied, Rule: fmt.Sprint("rule", i%100), Waited: time.Second}
		if i%3 == 0 {
			a.Outcome = Accepted
		}
		a.Source, a.Network = blocks(uint32(i), 1)
		w.Attempt(now, a)
	}
	k := &w.hours.attackers
	for _, c := range []struct {
		name     string
		n, bound int
	}{
		{"networks of a tick", len(w.counts.networks), tickNetworks},
		{"sources", len(w.hours.sources.entries), topCapacity},
		{"accounts", len(w.hours.accounts.at), topCapacity},
		{"attackers", len(k.denied.now), attackingNetworks},
		{"accepted", len(k.accepted.now), acceptedNetworks},
		{"rules", len(w.hours.hour.Rules), hourRules},
	} {
		if c.n > c.bound || c.n == 0 {
			t.Errorf("%s: got %d, want 1 to %d", c.name, c.n, c.bound)
		}
	}
	o := w.counts.observation(1, &w.detector.pace, w.hash.block)
	if want := w.counts.stranger.Denied; o.raw != float64(want) {
		t.Errorf("%v suspects of %d", o.raw, want)
	}
	_, h := w.Partial(now)
	line, err := json.Marshal(h)
	if err != nil || len(line) > 64<<10 {
		t.Errorf("an hour has %d octets: %v", len(line), err)
	}
}

// TestFolded: names are cut within a character, and are always UTF-8.
func TestFolded(t *testing.T) {
	long := string(make([]byte, 63)) + "é"
	for in, want := range map[string]string{
		"Kari@Example.ORG": "kari@example.org", "\xff": "\uFFFD", long: long[:63], "": "",
	} {
		if got := folded(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
