package report

import (
	"cmp"
	"slices"
	"time"

	"postern/limiter/watch"
)

// A checkSum counts what postern did about attempts, and which users it affected by mistake.
type checkSum struct {
	Waited        int                `json:"waited"`         // attempts of strangers
	Refused       int                `json:"refused"`        // likewise
	WelcomeWaited int                `json:"welcome_waited"` // by mistake: of strangers with the right password
	KnownWaited   int                `json:"known_waited"`   // by mistake
	KnownRefused  int                `json:"known_refused"`  // by mistake
	Rules         []watch.RuleCounts `json:"rules,omitempty"`
}

// checks returns what postern did.
func (s *Subject) checks() (sum checkSum) {
	h := s.mergedHours()
	for _, r := range h.Rules {
		sum.Waited += r.StrangerWaited
		sum.Refused += r.StrangerRefused
		sum.WelcomeWaited += r.AcceptedWaited
		sum.KnownWaited += r.KnownWaited
		sum.KnownRefused += r.KnownRefused
		r.First, r.Last = r.First.In(s.Location), r.Last.In(s.Location)
		sum.Rules = append(sum.Rules, r)
	}
	slices.SortFunc(sum.Rules, func(a, b watch.RuleCounts) int { return cmp.Compare(a.Rule, b.Rule) })
	return sum
}

// A resetSum is the accounts whose passwords should be reset: they were accepted from a network that attacked others.
type resetSum struct {
	Count    int                `json:"count"`
	Accounts []watch.Acceptance `json:"accounts,omitempty"` // each once, at its first time
	Missed   int                `json:"missed,omitempty"`   // more acceptances than an hour keeps; the log has them
}

// resets returns the accounts to reset.
func (s *Subject) resets() (sum resetSum) {
	listed := map[string]bool{}
	for _, h := range s.Hours {
		if !s.during(h.Start, time.Hour) {
			continue
		}
		sum.Missed += h.Missed
		for _, a := range h.Accepted {
			if listed[a.Account] {
				continue
			}
			listed[a.Account] = true
			a.Time = a.Time.In(s.Location)
			sum.Accounts = append(sum.Accounts, a)
		}
	}
	slices.SortStableFunc(sum.Accounts, func(a, b watch.Acceptance) int { return a.Time.Compare(b.Time) })
	sum.Count = len(sum.Accounts)
	return sum
}
