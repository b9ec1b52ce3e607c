package watch

// recentTicks is how many ticks are kept: 5 min.
const recentTicks = 30

// recent keeps the last observations.
type recent struct {
	ring  [recentTicks]observation
	users [recentTicks]Users
	n     int // added in all
}

// add adds the latest.
func (r *recent) add(o observation, u Users) {
	r.ring[r.n%recentTicks], r.users[r.n%recentTicks] = o, u
	r.n++
}

// last calls f for the latest n observations.
func (r *recent) last(n int, f func(*observation)) {
	for i := max(0, r.n-n); i < r.n; i++ {
		f(&r.ring[i%recentTicks])
	}
}

// tallies returns the outcomes of the known and of all, in the last n observations.
func (r *recent) tallies(n int) (known, all Tally) {
	r.last(n, func(o *observation) {
		known.add(o.known)
		all.add(o.known)
		all.add(o.stranger)
	})
	return known, all
}

// meanOf returns the mean of the last n observations.
func (r *recent) meanOf(n int) (sum rates) {
	n = min(n, r.n, recentTicks)
	if n == 0 {
		return sum
	}
	r.last(n, func(o *observation) { sum.add(o.rates) })
	return sum.times(1 / float64(n))
}

// mean returns the mean of all of them.
func (r *recent) mean() rates { return r.meanOf(recentTicks) }

// met returns how the known were served.
func (r *recent) met() (u Users) {
	for i := range min(r.n, recentTicks) {
		u.Add(r.users[i])
	}
	return u
}

// checked reports whether strangers were made to wait or refused.
func (r *recent) checked() bool {
	n := 0
	r.last(recentTicks, func(o *observation) { n += o.checked })
	return n > 0
}
