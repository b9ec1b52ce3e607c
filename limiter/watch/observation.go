package watch

// The signals that have a baseline.
const (
	ofLogins   = iota // all attempts
	ofSuspects        // new suspects, each network up to its cap
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
	rates               // suspects and networks are those of guesses only, until unanswered ones are added
	raw      float64    // suspects, not capped
	places   networkSet // networks behind guesses
	known    Outcomes
	stranger Outcomes
	denied   int // attempts of the known that were denied, where nothing is known about the credential
	checked  int // attempts of strangers that had to wait or were refused
	opened   int
	closed   int

	unanswered struct {
		capped   float64 // each network up to its cap, together with its guesses
		raw      float64
		networks float64 // without guesses
	}
}

// add adds the suspects n of one network, and their numbers up to the cap.
func (o *observation) add(guesses, unanswered float64, n suspects) {
	o.rates[ofSuspects] += guesses
	o.raw += float64(n.guesses)
	o.unanswered.capped += unanswered
	o.unanswered.raw += float64(n.unanswered)
}

// admit adds the unanswered suspects to the others, except for so many as are explained otherwise.
func (o *observation) admit(explained float64) {
	o.rates[ofSuspects] += max(0, o.unanswered.capped-explained)
	o.rates[ofNetworks] += max(0, o.unanswered.networks-explained)
	o.raw += max(0, o.unanswered.raw-explained)
}

// accepted returns the number of attempts that were accepted.
func (o *observation) accepted() float64 { return float64(o.known.Accepted + o.stranger.Accepted) }

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

// replace replaces the latest observation.
func (r *recent) replace(o observation) { r.observations[(r.n-1)%recentTicks] = o }

// last calls f for the last n observations.
func (r *recent) last(n int, f func(*observation)) {
	for i := max(0, r.n-n); i < r.n; i++ {
		f(&r.observations[i%recentTicks])
	}
}

// deniedKnown returns how many attempts of the known were denied in the last n observations, where nothing is known about
// the credential.
func (r *recent) deniedKnown(n int) (denied int) {
	r.last(n, func(o *observation) { denied += o.denied })
	return denied
}

// accepted returns the mean number of accepted attempts in the last n observations.
func (r *recent) accepted(n int) (sum float64) {
	r.last(n, func(o *observation) { sum += o.accepted() })
	return sum / float64(max(1, min(n, r.n)))
}

// networks returns the estimated number of networks behind the guesses of the last n observations.
func (r *recent) networks(n int) float64 {
	var all networkSet
	r.last(n, func(o *observation) {
		for i, word := range o.places {
			all[i] |= word
		}
	})
	return all.count()
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
