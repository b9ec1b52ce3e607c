package watch

// The signals that have a baseline.
const (
	ofLogins   = iota // all attempts
	ofSuspects        // attempts by strangers that were denied or rejected, each network up to its cap
	ofNetworks        // distinct networks behind these
	ofAccepted        // strangers that were accepted
	ofKnown           // attempts of the known
	numSignals
)

// rates are the signals of one tick of 10 s, or the mean of several.
type rates [numSignals]float64

// add adds s.
func (r *rates) add(s rates) {
	for i, v := range s {
		r[i] += v
	}
}

// times returns r times f.
func (r rates) times(f float64) rates {
	for i := range r {
		r[i] *= f
	}
	return r
}

// larger returns the larger of r and s in each signal.
func (r rates) larger(s rates) rates {
	for i := range r {
		r[i] = max(r[i], s[i])
	}
	return r
}

// smaller returns the smaller of r and s in each signal.
func (r rates) smaller(s rates) rates {
	for i := range r {
		r[i] = min(r[i], s[i])
	}
	return r
}

// between interpolates: it returns r for f = 0 and s for f = 1.
func (r rates) between(s rates, f float64) rates {
	for i := range r {
		r[i] += (s[i] - r[i]) * f
	}
	return r
}

// signals returns r per minute.
func (r rates) signals() Signals {
	return Signals{Logins: r[ofLogins] * 6, Suspects: r[ofSuspects] * 6, Networks: r[ofNetworks] * 6}
}

// An observation is the input of the detector for one tick.
type observation struct {
	rates
	raw      float64 // suspects, not capped
	known    Outcomes
	stranger Outcomes
	checked  int // attempts of strangers that had to wait or were refused
	opened   int
	closed   int
}

// recentTicks is how many ticks are kept: 5 min.
const recentTicks = 30

// recent keeps the last observations.
type recent struct {
	observations [recentTicks]observation
	users        [recentTicks]Users
	n            int // added in all
}

// add adds an observation.
func (r *recent) add(o observation, u Users) {
	r.observations[r.n%recentTicks], r.users[r.n%recentTicks] = o, u
	r.n++
}

// last calls f for the last n observations.
func (r *recent) last(n int, f func(*observation)) {
	for i := max(0, r.n-n); i < r.n; i++ {
		f(&r.observations[i%recentTicks])
	}
}

// outcomes returns the outcomes of the known and of all, in the last n observations.
func (r *recent) outcomes(n int) (known, all Outcomes) {
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

// userSums returns how the known were served.
func (r *recent) userSums() (u Users) {
	for i := range min(r.n, recentTicks) {
		u.Add(r.users[i])
	}
	return u
}

// protecting reports whether strangers had to wait or were refused.
func (r *recent) protecting() bool {
	n := 0
	r.last(recentTicks, func(o *observation) { n += o.checked })
	return n > 0
}
