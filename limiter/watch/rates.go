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
