package watch

import (
	"cmp"
	"slices"
	"time"
)

// An Abuse is an account that was logged in to far more often than is its habit: somebody else may use its password.
type Abuse struct {
	Time     time.Time `json:"time"` // when it was first so in this hour
	Account  string    `json:"account"`
	Logins   int       `json:"logins"`          // accepted in this hour
	Habit    int       `json:"habit,omitempty"` // the most accepted in an hour before, slowly decaying; 0 if unknown
	Networks int       `json:"networks"`        // distinct networks of these logins, an estimate
}

// abusedList collects the abused accounts of an hour.
type abusedList struct {
	at       map[uint64]int // index in entries, by the hash of the account
	entries  []Abuse
	networks []Spread
	missed   int // accounts beyond these
}

// add adds a login at t of an abused account, from a network with this hash.
func (l *abusedList) add(t time.Time, u use, name string, account, network uint64) {
	i, there := l.at[account]
	if !there {
		if len(l.entries) >= hourAbused {
			if u.first {
				l.missed++
			}
			return
		}
		if l.at == nil {
			l.at = map[uint64]int{}
		}
		i = len(l.entries)
		l.at[account] = i
		l.entries = append(l.entries, Abuse{Time: t, Account: name, Habit: u.habit})
		l.networks = append(l.networks, Spread{})
	}
	l.networks[i].add(network)
	e := &l.entries[i]
	e.Logins = u.logins
	e.Networks = max(u.fresh, l.networks[i].Count())
}

// mergeAbused returns the abused accounts of two parts of an hour, most logins first, and how many are left out.
func mergeAbused(a, b []Abuse) ([]Abuse, int) {
	at := map[string]int{}
	var all []Abuse
	for _, e := range slices.Concat(a, b) {
		i, there := at[e.Account]
		if !there {
			at[e.Account] = len(all)
			all = append(all, e)
			continue
		}
		all[i].add(e)
	}
	slices.SortStableFunc(all, func(a, b Abuse) int { return cmp.Compare(b.Logins, a.Logins) })
	n := min(len(all), hourAbused)
	return all[:n], len(all) - n
}

// add adds what was counted for the same account in another part of the hour.
func (a *Abuse) add(b Abuse) {
	a.Logins += b.Logins
	a.Habit = max(a.Habit, b.Habit)
	a.Networks = max(a.Networks, b.Networks)
	if b.Time.Before(a.Time) {
		a.Time = b.Time
	}
}
