package watch

import (
	"math"
	"time"
)

// The curve of the incident of 29 March 2022: how much volume was above normal in each hour from the 11th on, in the
// reading of the report as +135 %.
var curve = [...]float64{0, 0.90, 1.35, 2.09, 3.08, 3.10, 3.15, 3.20, 3.27, 2.80, 2.20, 1.60, 1.10, 0.74, 0}

// above is how many times normal volume the attack adds at a time since its beginning. At 12 it is at 0.9, which is the
// mean of the hour after 11 that the report leaves open; from there on each hour's middle has its mean.
func above(since time.Duration) float64 {
	h := since.Hours()
	if h < 1 {
		return 0.90 * h
	}
	i := int(h)
	if i+1 >= len(curve) {
		return 0
	}
	return curve[i] + (curve[i+1]-curve[i])*(h-float64(i))
}

// normal is what all of a tick's attempts would be without noise.
func (w *world) normal() float64 { return w.rate * 10 * shape(w.now.In(w.location)) }

// incident is the curve, taken as many times as times says.
func incident(times func(above float64) float64) func(*world, time.Duration, *plan) {
	return func(w *world, since time.Duration, p *plan) { p.attack += times(above(since)) * w.normal() }
}

// moreThanDouble reads the report's 135 % as a rise by 135 %.
func moreThanDouble(above float64) float64 { return above }

// aThird reads it as 135 % of normal.
func aThird(above float64) float64 { return above * 0.35 / 1.35 }

// step adds so many times normal volume at once.
func step(times float64) func(*world, time.Duration, *plan) {
	return func(w *world, _ time.Duration, p *plan) { p.attack += times * w.normal() }
}

// ramp adds up to so many times normal volume, over a time.
func ramp(times float64, over time.Duration) func(*world, time.Duration, *plan) {
	return func(w *world, since time.Duration, p *plan) {
		p.attack += times * min(1, float64(since)/float64(over)) * w.normal()
	}
}

// imitating makes a share of an attack pass for the known.
func imitating(share float64, attack func(*world, time.Duration, *plan)) func(*world, time.Duration, *plan) {
	return func(w *world, since time.Duration, p *plan) {
		attack(w, since, p)
		p.imitated = share
	}
}

// outage takes a share of the backends down for a while. Whoever is not served tries again, and all come back at the end.
func outage(down float64, lasts time.Duration) func(*world, time.Duration, *plan) {
	return func(_ *world, since time.Duration, p *plan) {
		switch {
		case since < lasts:
			p.up = 1 - down
			p.known *= 1 + 2*down
			p.strays *= 1 + 2*down
			if since < tick {
				p.lose = down
			}
		case since < lasts+10*time.Minute:
			back := 1 + 8*down*math.Exp(-(since-lasts).Minutes()/2)
			p.known *= back
			p.strays *= back
		}
	}
}

// restart loses all sessions, and their clients come back 25 at a time.
func restart(_ *world, since time.Duration, p *plan) {
	if since < tick {
		p.lose = 1
	}
	if since < 10*time.Minute {
		back := 1 + 24*math.Exp(-since.Minutes()/1.5)
		p.known *= back
		p.strays *= back
	}
}

// database breaks the password database for a while; clients try twice as often.
func database(lasts time.Duration) func(*world, time.Duration, *plan) {
	return func(_ *world, since time.Duration, p *plan) {
		if since < lasts {
			p.database = true
			p.known *= 2
			p.strays *= 2
		}
	}
}

// renumber gives a fifth of all users new addresses. One in ten shows no password that could be known by, and comes as a
// stranger; of them some have an old one stored.
func renumber(_ *world, since time.Duration, p *plan) {
	if since < 2*time.Hour {
		moved := 0.2 * p.known
		p.known -= 0.1 * moved
		p.strays += 0.1 * moved
		p.bots += 0.03 * moved
	}
}

// loudSource is one network with as much as 40 % of the peak.
func loudSource(w *world, since time.Duration, p *plan) {
	if since < time.Hour {
		p.one += 0.4 * w.rate * 10
	}
}

// holiday keeps people at home for a day.
func holiday(_ *world, since time.Duration, p *plan) {
	if since < 24*time.Hour {
		p.known *= 0.55
		p.strays *= 0.55
	}
}

// popular is a new version of a program that asks more often.
func popular(_ *world, since time.Duration, p *plan) {
	if since < 24*time.Hour {
		p.known *= 1.4
	}
}
