package recent

import "time"

// Top returns who made most attempts in the time window before t that were not accepted:
// at most most sources, networks and accounts.
func (m *Memory) Top(t time.Time, window time.Duration, most int) Top {
	return Top{Window: window, Sources: []Row{}, Networks: []Row{}, Accounts: []Row{}}
}
