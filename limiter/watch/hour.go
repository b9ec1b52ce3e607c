package watch

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// The bounds of an [Hour].
const (
	hourTop      = 50  // sources, networks and accounts each
	hourAccepted = 200 // accounts to reset
	hourRules    = 32  // rules
	hourAbused   = 200 // abused accounts
	hourSample   = 200 // networks sampled from all
)

// An Hour says where the suspects of one hour came from. Its JSON form is one line of at most 96 KB. It has addresses and
// account names, so only operators may read the file. Two parts of one hour add up.
type Hour struct {
	Start    time.Time      `json:"start"`
	Sources  []Target       `json:"sources,omitempty"` // at most 50, most denials first, by address block
	Networks []Target       `json:"networks,omitempty"`
	Accounts []Target       `json:"accounts,omitempty"`
	Sampled  []netip.Prefix `json:"drawn,omitempty"` // networks sampled evenly from all, at most 200; nearly all if there were fewer
	Distinct Distinct       `json:"distinct"`        // numbers of all of them
	Accepted []Acceptance   `json:"accepted,omitempty"`
	Missed   int            `json:"missed,omitempty"` // acceptances beyond the first 200
	Rules    []RuleCounts   `json:"rules,omitempty"`

	Abused       []Abuse `json:"abused,omitempty"`        // at most 200
	AbusedMissed int     `json:"abused_missed,omitempty"` // more of them

	JA4 JA4s `json:"ja4,omitzero"`
}

// A Target is a source, a network or an account that suspects had in common.
type Target struct {
	Name    string    `json:"name"`    // an address block or an account
	Denials int       `json:"denials"` // too high by Over at most
	Over    int       `json:"over,omitempty"`
	Spread  Spread    `json:"spread"` // number of accounts tried; of an account, of networks
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// Distinct estimates how many sources, networks and accounts there were, to within about 3 %. Sketches of several hours
// can be merged, which numbers cannot.
type Distinct struct {
	Sources  Sketch `json:"sources"`
	Networks Sketch `json:"networks"`
	Accounts Sketch `json:"accounts"`
}

// An Acceptance is an account that was accepted from a network that attacked others: its password may be known to the
// attacker. Accounts that had been accepted from that network before it attacked are left out.
type Acceptance struct {
	Time    time.Time    `json:"time"`
	Account string       `json:"account"`
	Source  netip.Prefix `json:"source"`
	Network netip.Prefix `json:"network"`
}

// RuleCounts counts the attempts that one rule of the limiter refused or made wait.
type RuleCounts struct {
	Rule            string        `json:"rule"`
	KnownWaited     int           `json:"known_waited,omitempty"`    // by mistake
	KnownRefused    int           `json:"known_refused,omitempty"`   // by mistake
	AcceptedWaited  int           `json:"accepted_waited,omitempty"` // strangers with the right password
	StrangerWaited  int           `json:"stranger_waited,omitempty"` // others
	StrangerRefused int           `json:"stranger_refused,omitempty"`
	Longest         time.Duration `json:"longest,omitempty"` // wait
	First           time.Time     `json:"first"`
	Last            time.Time     `json:"last"`
}

// count counts an attempt that the rule refused or made wait.
func (r *RuleCounts) count(t time.Time, a *Attempt, refused bool) {
	if r.First.IsZero() {
		r.First = t
	}
	r.Last = t
	r.Longest = max(r.Longest, a.Waited)
	switch {
	case a.Known && refused:
		r.KnownRefused++
	case a.Known:
		r.KnownWaited++
	case refused:
		r.StrangerRefused++
	case a.Outcome == Accepted:
		r.AcceptedWaited++
	default:
		r.StrangerWaited++
	}
}

// clone returns a deep copy.
func (h *Hour) clone() Hour {
	c := *h
	c.Sources, c.Networks, c.Accounts = slices.Clone(h.Sources), slices.Clone(h.Networks), slices.Clone(h.Accounts)
	c.Accepted, c.Rules, c.Sampled = slices.Clone(h.Accepted), slices.Clone(h.Rules), slices.Clone(h.Sampled)
	c.Abused = slices.Clone(h.Abused)
	c.JA4 = h.JA4.clone()
	c.Distinct = Distinct{}
	c.Distinct.merge(h.Distinct)
	return c
}

// merge adds everything that was added to e.
func (d *Distinct) merge(e Distinct) {
	d.Sources.merge(e.Sources)
	d.Networks.merge(e.Networks)
	d.Accounts.merge(e.Accounts)
}

// Merge returns h together with e, another part of the same hour.
func (h *Hour) Merge(e Hour) Hour {
	sum := h.clone()
	sum.Sources, _ = mergeCounted(sum.Sources, e.Sources, hourTop, (*Target).count, (*Target).add)
	sum.Networks, _ = mergeCounted(sum.Networks, e.Networks, hourTop, (*Target).count, (*Target).add)
	sum.Accounts, _ = mergeCounted(sum.Accounts, e.Accounts, hourTop, (*Target).count, (*Target).add)
	sum.Distinct.merge(e.Distinct)
	sum.JA4 = sum.JA4.merge(e.JA4)
	if len(e.Sampled) > len(sum.Sampled) { // one part's sample must do: two cannot be merged evenly
		sum.Sampled = slices.Clone(e.Sampled)
	}
	abused, more := mergeCounted(sum.Abused, e.Abused, hourAbused, (*Abuse).count, (*Abuse).add)
	sum.Abused, sum.AbusedMissed = abused, sum.AbusedMissed+e.AbusedMissed+more
	sum.Missed += e.Missed
	for _, a := range e.Accepted {
		if len(sum.Accepted) < hourAccepted {
			sum.Accepted = append(sum.Accepted, a)
		} else {
			sum.Missed++
		}
	}
	for _, r := range e.Rules {
		sum.Rules = mergeRule(sum.Rules, r)
	}
	return sum
}

// mergeCounted returns the entries of two parts of an hour together, most frequent first: at most n of them, and how many are
// left out. count returns the key and the number of an entry; add adds another entry with the same key to it.
func mergeCounted[T any](a, b []T, n int, count func(*T) (string, int), add func(*T, T)) (merged []T, more int) {
	index := map[string]int{}
	for _, e := range slices.Concat(a, b) {
		key, _ := count(&e)
		if i, there := index[key]; there {
			add(&merged[i], e)
			continue
		}
		index[key] = len(merged)
		merged = append(merged, e)
	}
	slices.SortStableFunc(merged, func(a, b T) int {
		_, x := count(&a)
		_, y := count(&b)
		return cmp.Compare(y, x)
	})
	n = min(n, len(merged))
	return merged[:n], len(merged) - n
}

// count returns the name and the denials.
func (t *Target) count() (string, int) { return t.Name, t.Denials }

// add adds the counts of the same target in another part of the hour.
func (t *Target) add(u Target) {
	t.Denials += u.Denials
	t.Over += u.Over
	t.Spread.merge(u.Spread)
	if u.First.Before(t.First) {
		t.First = u.First
	}
	if u.Last.After(t.Last) {
		t.Last = u.Last
	}
}

// mergeRule adds r to the counts of the same rule in rules.
func mergeRule(rules []RuleCounts, r RuleCounts) []RuleCounts {
	for i := range rules {
		if rules[i].Rule == r.Rule {
			rules[i].add(r)
			return rules
		}
	}
	if len(rules) >= hourRules {
		return rules
	}
	return append(rules, r)
}

// add adds the counts of the same rule in another part of the hour.
func (r *RuleCounts) add(s RuleCounts) {
	r.KnownWaited += s.KnownWaited
	r.KnownRefused += s.KnownRefused
	r.AcceptedWaited += s.AcceptedWaited
	r.StrangerWaited += s.StrangerWaited
	r.StrangerRefused += s.StrangerRefused
	r.Longest = max(r.Longest, s.Longest)
	if s.First.Before(r.First) {
		r.First = s.First
	}
	if s.Last.After(r.Last) {
		r.Last = s.Last
	}
}
