package report

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"postern/limiter/watch"
)

// topRows is how many sources, networks, accounts and systems a report lists.
const topRows = 20

// A sourceSum has the sources of suspects, and the accounts they tried.
type sourceSum struct {
	DistinctSources  int         `json:"distinct_sources"` // an estimate, as are all three
	DistinctNetworks int         `json:"distinct_networks"`
	DistinctAccounts int         `json:"distinct_accounts"`
	Denials          int         `json:"denials"`   // attempts of suspects in all
	TopShare         float64     `json:"top_share"` // share of the ten most frequent networks in Denials
	Systems          []systemRow `json:"systems,omitempty"`
	Networks         []targetRow `json:"networks,omitempty"`
	Sources          []targetRow `json:"sources,omitempty"`
	Accounts         []targetRow `json:"accounts,omitempty"`
	JA4              []ja4Row    `json:"ja4,omitempty"` // most denials first
}

// A ja4Row is one TLS fingerprint. Attempts in clear text have none, and do not count in its shares. At a site with several
// gateways, the counts are of this one.
type ja4Row struct {
	JA4      string  `json:"ja4"`
	Denials  int     `json:"denials"`  // attempts of suspects with it
	Denied   float64 `json:"denied"`   // share of it in all of these
	Accepted float64 `json:"accepted"` // share of it in all accepted attempts
	Networks int     `json:"networks"` // estimated number of networks it was denied from
}

// A targetRow is one source, network or account.
type targetRow struct {
	Name    string    `json:"name"`
	System  uint32    `json:"as,omitempty"`
	Owner   string    `json:"as_name,omitempty"`
	Denials int       `json:"denials"`
	Others  int       `json:"others"` // estimated number of accounts tried; of an account, of networks
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// A systemRow is one autonomous system.
type systemRow struct {
	System uint32  `json:"as"`
	Owner  string  `json:"as_name"`
	Share  float64 `json:"share"` // of the networks behind suspects, estimated from the samples of each hour
}

// mergedHours returns the hours that overlap the incident as one.
func (s *Subject) mergedHours() (h watch.Hour) {
	for i := range s.Hours {
		if s.during(s.Hours[i].Start, time.Hour) {
			h = h.Merge(s.Hours[i])
		}
	}
	return h
}

// sources returns the sources of suspects.
func (s *Subject) sources() sourceSum {
	h := s.mergedHours()
	sum := sourceSum{
		DistinctSources:  h.Distinct.Sources.Count(),
		DistinctNetworks: h.Distinct.Networks.Count(),
		DistinctAccounts: h.Distinct.Accounts.Count(),
		Systems:          s.systems(),
		Networks:         s.rows(h.Networks),
		Sources:          s.rows(h.Sources),
		Accounts:         s.rows(h.Accounts),
		JA4:              ja4Rows(&h.JA4),
	}
	for _, m := range s.Minutes {
		if s.during(m.Start, time.Minute) {
			sum.Denials += m.Stranger.Denied + m.Stranger.Rejected
		}
	}
	ten := 0
	for _, n := range h.Networks[:min(10, len(h.Networks))] {
		ten += n.Denials - n.Over
	}
	if sum.Denials > 0 {
		sum.TopShare = min(1, float64(ten)/float64(sum.Denials))
	}
	return sum
}

// rows returns the most frequent targets, but none with a single denial: there may be very many of those.
func (s *Subject) rows(targets []watch.Target) []targetRow {
	var rows []targetRow
	for _, t := range targets[:min(topRows, len(targets))] {
		if t.Denials-t.Over < 2 {
			continue
		}
		row := targetRow{
			Name: t.Name, Denials: t.Denials - t.Over, Others: t.Spread.Count(),
			First: t.First.In(s.Location), Last: t.Last.In(s.Location),
		}
		if block, err := netip.ParsePrefix(t.Name); err == nil {
			row.System, row.Owner = s.system(block)
		}
		rows = append(rows, row)
	}
	return rows
}

// system returns the autonomous system that a block is in.
func (s *Subject) system(block netip.Prefix) (uint32, string) {
	if s.Lookup == nil {
		return 0, ""
	}
	return s.Lookup(block.Addr())
}

// systems returns the autonomous systems with most networks, estimated from the sample of each hour.
func (s *Subject) systems() []systemRow {
	rows, sum := map[uint32]*systemRow{}, 0.0
	for _, h := range s.Hours {
		if s.Lookup == nil || len(h.Sampled) == 0 || !s.during(h.Start, time.Hour) {
			continue
		}
		each := float64(h.Distinct.Networks.Count()) / float64(len(h.Sampled))
		for _, block := range h.Sampled {
			sum += each
			number, owner := s.system(block)
			if number == 0 {
				continue
			}
			if rows[number] == nil {
				rows[number] = &systemRow{System: number, Owner: owner}
			}
			rows[number].Share += each
		}
	}
	var sorted []systemRow
	for _, row := range rows {
		row.Share /= sum
		sorted = append(sorted, *row)
	}
	slices.SortFunc(sorted, func(a, b systemRow) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.System, b.System))
	})
	return sorted[:min(topRows, len(sorted))]
}

// ja4Rows returns the fingerprints that were denied most often, but none with a single denial.
func ja4Rows(s *watch.JA4s) (rows []ja4Row) {
	for _, c := range s.Most {
		if c.Denied > 1 && s.Denied > 0 {
			row := ja4Row{JA4: c.JA4, Denials: c.Denied, Denied: float64(c.Denied) / float64(s.Denied), Networks: c.Networks.Count()}
			if s.Accepted > 0 {
				row.Accepted = float64(c.Accepted) / float64(s.Accepted)
			}
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b ja4Row) int { return cmp.Compare(b.Denials, a.Denials) })
	return rows[:min(topRows, len(rows))]
}
