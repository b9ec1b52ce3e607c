package report

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"postern/limiter/watch"
)

// An abuseSum is the accounts that were logged in to far more often than is their habit, during the incident.
type abuseSum struct {
	Count    int        `json:"count"`
	Accounts []abuseRow `json:"accounts,omitempty"` // most logins in an hour first, at most 500
	Missed   int        `json:"missed,omitempty"`   // more accounts than an hour or the list keeps, counted once an hour
}

// An abuseRow is one of these accounts.
type abuseRow struct {
	Account  string    `json:"account"`
	Logins   int       `json:"logins"`          // accepted in the hour with most
	Habit    int       `json:"habit,omitempty"` // the most in an hour before; 0 if unknown
	Networks int       `json:"networks"`        // distinct networks in an hour, about
	Hours    int       `json:"hours"`           // of the incident in which it was so
	First    time.Time `json:"first"`
}

// abuseRows is how many accounts are listed: all of them are wanted, since their passwords have to be changed.
const abuseRows = 500

// abused returns the abused accounts.
func (s *Subject) abused() (sum abuseSum) {
	at := map[string]int{}
	for _, h := range s.Hours {
		if !s.during(h.Start, time.Hour) {
			continue
		}
		sum.Missed += h.AbusedMissed
		for _, a := range h.Abused {
			i, there := at[a.Account]
			if !there {
				i = len(sum.Accounts)
				at[a.Account] = i
				sum.Accounts = append(sum.Accounts, abuseRow{Account: a.Account, Habit: a.Habit, First: a.Time.In(s.Location)})
			}
			sum.Accounts[i].add(a)
		}
	}
	sum.Count = len(sum.Accounts)
	slices.SortStableFunc(sum.Accounts, func(a, b abuseRow) int { return cmp.Compare(b.Logins, a.Logins) })
	if n := len(sum.Accounts); n > abuseRows {
		sum.Accounts, sum.Missed = sum.Accounts[:abuseRows], sum.Missed+n-abuseRows
	}
	return sum
}

// add adds an hour.
func (r *abuseRow) add(a watch.Abuse) {
	r.Logins = max(r.Logins, a.Logins)
	r.Networks = max(r.Networks, a.Networks)
	r.Hours++
}

// abused writes the accounts that were abused. It writes nothing if there are none.
func (m *markdown) abused(r *Report) {
	a := r.Abused
	if a.Count == 0 || r.Form == Public {
		return
	}
	m.line("\n## Accounts in use by others\n")
	m.line("%d accounts were logged in to far more often than is their habit. Ask their owners, and reset their passwords.", a.Count)
	if a.Missed > 0 {
		m.line("More of them are not listed, %d counted once an hour; the log has their logins.", a.Missed)
	}
	m.table("account", "logins in an hour", "habit", "networks", "hours", "first")
	for _, row := range a.Accounts {
		habit := "unknown"
		if row.Habit > 0 {
			habit = "up to " + strconv.Itoa(row.Habit)
		}
		m.row(code(row.Account), row.Logins, habit, "about "+strconv.Itoa(row.Networks), row.Hours, stamp(row.First))
	}
}
