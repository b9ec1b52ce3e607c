package watch

import "time"

// An Abuse is an account that was logged in to far more often than is its habit: somebody else may use its password.
type Abuse struct {
	Time     time.Time `json:"time"` // when it was first so in this hour
	Account  string    `json:"account"`
	Logins   int       `json:"logins"`          // accepted in this hour
	Habit    int       `json:"habit,omitempty"` // the most accepted in an hour before, slowly decaying; 0 if unknown
	Networks int       `json:"networks"`        // distinct networks of these logins, an estimate
}

// abusedList collects the abused accounts of an hour. When it is full, an account that no earlier hour has listed replaces one
// that was listed before, so that the hours together have as many accounts as possible.
type abusedList struct {
	at       map[uint64]int // index in entries, by the hash of the account
	entries  []Abuse
	networks []Spread
	again    []uint64 // the hashes of those that were listed before
	missed   int      // accounts beyond these
	before   generations[uint64, struct{}]
}

// abusedBefore is how many accounts are kept in each generation of those listed before.
const abusedBefore = 2048

func newAbusedList() abusedList {
	return abusedList{at: map[uint64]int{}, before: newGenerations[uint64, struct{}](abusedBefore)}
}

// begin begins an hour.
func (l *abusedList) begin() {
	for account := range l.at {
		l.before.put(account, struct{}{})
	}
	*l = abusedList{at: map[uint64]int{}, before: l.before}
}

// add adds an accepted login at t to an abused account.
func (l *abusedList) add(t time.Time, a *hashedAttempt, u use) {
	i, there := l.at[a.accountHash]
	if !there {
		if i = l.place(a.accountHash); i < 0 {
			if u.first {
				l.missed++
			}
			return
		}
		l.at[a.accountHash] = i
		l.entries[i], l.networks[i] = Abuse{Time: t, Account: a.name, Habit: u.habit()}, Spread{}
	}
	l.networks[i].add(a.networkHash)
	e := &l.entries[i]
	e.Logins = u.logins
	e.Networks = max(u.fresh, l.networks[i].Count())
}

// place returns the index for another account, or -1 if there is no place for it.
func (l *abusedList) place(account uint64) int {
	_, again := l.before.get(account)
	if n := len(l.entries); n < hourAbused {
		l.entries, l.networks = append(l.entries, Abuse{}), append(l.networks, Spread{})
		if again {
			l.again = append(l.again, account)
		}
		return n
	}
	if again || len(l.again) == 0 {
		return -1
	}
	last := len(l.again) - 1
	i := l.at[l.again[last]]
	delete(l.at, l.again[last])
	l.again, l.missed = l.again[:last], l.missed+1
	return i
}

// count returns the account and its logins.
func (a *Abuse) count() (string, int) { return a.Account, a.Logins }

// add adds what was counted for the same account in another part of the hour.
func (a *Abuse) add(b Abuse) {
	a.Logins += b.Logins
	a.Habit = max(a.Habit, b.Habit)
	a.Networks = max(a.Networks, b.Networks)
	if b.Time.Before(a.Time) {
		a.Time = b.Time
	}
}
