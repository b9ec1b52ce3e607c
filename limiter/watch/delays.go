package watch

import "time"

// delayBounds are the upper bounds of the classes of Delays. Longer times have a class of their own.
var delayBounds = [...]time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Delays is a histogram of times up to 50, 100, 250 and 500 ms, 1, 2.5, 5, 10 and 30 s, and longer ones.
type Delays [len(delayBounds) + 1]int

// count adds one time.
func (d *Delays) count(took time.Duration) {
	for i, bound := range delayBounds {
		if took <= bound {
			d[i]++
			return
		}
	}
	d[len(delayBounds)]++
}

// add adds what e counted.
func (d *Delays) add(e Delays) {
	for i, n := range e {
		d[i] += n
	}
}

// total returns how many times were counted.
func (d *Delays) total() (n int) {
	for _, in := range d {
		n += in
	}
	return n
}

// Quantile returns the time that a share q of them did not exceed, between the bounds as if they were spread evenly. It
// is zero if there are none, and 30 s at most.
func (d *Delays) Quantile(q float64) time.Duration {
	left := q * float64(d.total())
	if left <= 0 {
		return 0
	}
	var low time.Duration
	for i, high := range delayBounds {
		if in := float64(d[i]); left <= in {
			return low + time.Duration(left/in*float64(high-low))
		}
		left -= float64(d[i])
		low = high
	}
	return low
}
