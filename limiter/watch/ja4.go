package watch

import (
	"slices"
	"time"

	"postern/limiter/watch/internal/codec"
)

// The bounds of what is counted by TLS fingerprint.
const (
	ja4Capacity = 1024 // fingerprints of denials, and as many of accepted attempts
	hourJA4     = 50   // of both, in an hour
	ja4Text     = 64   // octets of one in an export
)

// JA4s are the TLS fingerprints of the attempts of one hour, at this gateway. Attempts in clear text have none and do not
// count. Two parts of one hour add up.
type JA4s struct {
	Denied   int         `json:"denied,omitempty"`   // attempts of suspects
	Accepted int         `json:"accepted,omitempty"` // attempts, of the known as well
	Most     []JA4Counts `json:"most,omitempty"`     // at most 50: those most often denied, and those most often accepted
}

// JA4Counts has the counts of one fingerprint. Both may be too low if there were more than 1024 fingerprints.
type JA4Counts struct {
	JA4      string `json:"ja4"`
	Denied   int    `json:"denied,omitempty"`
	Networks Spread `json:"networks"` // number of networks it was denied from
	Accepted int    `json:"accepted,omitempty"`
}

// ja4Counter counts the fingerprints of an hour.
type ja4Counter struct {
	denied, accepted       *top[string]
	allDenied, allAccepted int
}

func newJA4Counter() ja4Counter {
	return ja4Counter{denied: newTop[string](ja4Capacity), accepted: newTop[string](ja4Capacity)}
}

// attempt counts an attempt that was settled at t.
func (k *ja4Counter) attempt(t time.Time, a *hashedAttempt) {
	switch {
	case a.JA4 == "":
	case a.suspect():
		k.allDenied++
		k.denied.count(t, a.JA4, a.networkHash)
	case a.Outcome == Accepted:
		k.allAccepted++
		k.accepted.count(t, a.JA4, a.accountHash)
	}
}

// counts returns what was counted of one fingerprint.
func (k *ja4Counter) counts(ja4 string) JA4Counts {
	c := JA4Counts{JA4: ja4}
	if i, there := k.denied.at[ja4]; there {
		e := &k.denied.entries[i]
		c.Denied, c.Networks = e.n-e.over, e.spread
	}
	if i, there := k.accepted.at[ja4]; there {
		e := &k.accepted.entries[i]
		c.Accepted = e.n - e.over
	}
	return c
}

// end returns what was counted.
func (k *ja4Counter) end() JA4s {
	s := JA4s{Denied: k.allDenied, Accepted: k.allAccepted}
	name := func(ja4 string) string { return ja4 }
	for _, t := range slices.Concat(k.denied.mostFrequent(hourJA4/2, name), k.accepted.mostFrequent(hourJA4/2, name)) {
		if !slices.ContainsFunc(s.Most, func(c JA4Counts) bool { return c.JA4 == t.Name }) {
			s.Most = append(s.Most, k.counts(t.Name))
		}
	}
	return s
}

// clone returns a deep copy.
func (s JA4s) clone() JA4s {
	s.Most = slices.Clone(s.Most)
	return s
}

// merge returns s together with those of another part of the hour. The fingerprints that are least often denied or accepted
// are left out if there are too many.
func (s JA4s) merge(o JA4s) JA4s {
	most, _ := mergeCounted(s.Most, o.Most, hourJA4, func(c *JA4Counts) (string, int) { return c.JA4, max(c.Denied, c.Accepted) }, (*JA4Counts).add)
	return JA4s{Denied: s.Denied + o.Denied, Accepted: s.Accepted + o.Accepted, Most: most}
}

// add adds the counts of the same fingerprint in another part of the hour.
func (c *JA4Counts) add(o JA4Counts) {
	c.Denied += o.Denied
	c.Accepted += o.Accepted
	c.Networks.merge(o.Networks)
}

// Code encodes or decodes s.
func (s *JA4s) Code(c *codec.Codec) {
	codec.Count(c, &s.Denied)
	codec.Count(c, &s.Accepted)
	codec.Slice(c, &s.Most, hourJA4, func(n *JA4Counts) {
		codec.String(c, &n.JA4, ja4Text)
		codec.Count(c, &n.Denied)
		codec.Fixed(c, n.Networks[:])
		codec.Count(c, &n.Accepted)
	})
}

// codeJA4 encodes or decodes what w has counted by fingerprint.
func (w *content) codeJA4(c *codec.Codec) {
	k := &w.hours.ja4
	for _, p := range []*top[string]{k.denied, k.accepted} {
		p.code(c, func(ja4 *string) { codec.String(c, ja4, ja4Text) })
	}
	codec.Count(c, &k.allDenied)
	codec.Count(c, &k.allAccepted)
	w.hours.hour.JA4.Code(c)
	for i := range w.out.Hours {
		w.out.Hours[i].JA4.Code(c)
	}
}
