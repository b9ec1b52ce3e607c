//go:build !race

package watch

import (
	"math"
	"time"
)

// curve is the volume above normal in the incident of 29 March 2022, in times normal, in each hour from 11:00 on. The
// report's 135 % is read as +135 %.
var curve = [...]float64{0, 0.90, 1.35, 2.09, 3.08, 3.10, 3.15, 3.20, 3.27, 2.80, 2.20, 1.60, 1.10, 0.74, 0}

// above returns the volume that the attack adds, in times normal. At 12:00 that is 0.9, because the report has no figure
// for the hour from 11:00. From there on, the middle of each hour has the mean of the hour.
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

// normal returns the attempts of a tick without noise.
func (w *simulation) normal() float64 { return w.rate * 10 * shape(w.now.In(w.location)) }

// hangUp adds this many times normal volume that hangs up before the answer.
func hangUp(times float64) func(*simulation, time.Duration, *load) {
	return func(w *simulation, _ time.Duration, p *load) { p.gone += times * w.normal() }
}

// hold adds connections without an attempt, this many times normal volume.
func hold(times float64) func(*simulation, time.Duration, *load) {
	return func(w *simulation, _ time.Duration, p *load) { p.held += times * w.normal() }
}

// bots multiplies the usual bots for 40 min. There is no other wave at that time: together they can be an attack.
func bots(times float64) func(*simulation, time.Duration, *load) {
	return func(w *simulation, since time.Duration, p *load) {
		if since < 40*time.Minute {
			w.wave.until = time.Time{}
			p.bots *= times
		}
	}
}

// repeats adds a wave of bots for 40 min, this many times the peak. A twelfth of its guesses are distinct.
func repeats(times float64) func(*simulation, time.Duration, *load) {
	return func(w *simulation, since time.Duration, p *load) {
		if since < 40*time.Minute {
			p.repeated += times * w.rate * 10
		}
	}
}

// incident adds the attack of 2022. times scales the curve.
func incident(times func(above float64) float64) func(*simulation, time.Duration, *load) {
	return func(w *simulation, since time.Duration, p *load) { p.attack += times(above(since)) * w.normal() }
}

// moreThanDouble takes the report's 135 % as a rise by 135 %.
func moreThanDouble(above float64) float64 { return above }

// aThird takes it as 135 % of normal.
func aThird(above float64) float64 { return above * 0.35 / 1.35 }

// step adds this many times normal volume at once.
func step(times float64) func(*simulation, time.Duration, *load) {
	return func(w *simulation, _ time.Duration, p *load) { p.attack += times * w.normal() }
}

// ramp adds volume that grows to this many times normal.
func ramp(times float64, over time.Duration) func(*simulation, time.Duration, *load) {
	return func(w *simulation, since time.Duration, p *load) {
		p.attack += times * min(1, float64(since)/float64(over)) * w.normal()
	}
}

// imitating makes a share of an attack count as known.
func imitating(share float64, attack func(*simulation, time.Duration, *load)) func(*simulation, time.Duration, *load) {
	return func(w *simulation, since time.Duration, p *load) {
		attack(w, since, p)
		p.imitated = share
	}
}

// outage takes a share of the backends down. Clients that are not served retry, and all of them reconnect at the end.
func outage(down float64, lasts time.Duration) func(*simulation, time.Duration, *load) {
	return func(_ *simulation, since time.Duration, p *load) {
		switch {
		case since < lasts:
			p.up = 1 - down
			p.known *= 1 + 2*down
			p.newcomers *= 1 + 2*down
			p.impatient = down / 2
			if since < tick {
				p.lost = down
			}
		case since < lasts+10*time.Minute:
			back := 1 + 8*down*math.Exp(-(since-lasts).Minutes()/2)
			p.known *= back
			p.newcomers *= back
			p.impatient = 0.3 * down
		}
	}
}

// restart closes all sessions. Their clients reconnect at up to 25 times the usual rate.
func restart(_ *simulation, since time.Duration, p *load) {
	if since < tick {
		p.lost = 1
	}
	if since < 10*time.Minute {
		back := 1 + 24*math.Exp(-since.Minutes()/1.5)
		p.known *= back
		p.newcomers *= back
		p.impatient = 0.5
	}
}

// database makes the password database fail. Clients try twice as often.
func database(lasts time.Duration) func(*simulation, time.Duration, *load) {
	return refusing(1, lasts)
}

// refusing makes the password database refuse a share of the users. Their clients try twice as often.
func refusing(share float64, lasts time.Duration) func(*simulation, time.Duration, *load) {
	return func(_ *simulation, since time.Duration, p *load) {
		if since < lasts {
			p.refused, p.database = share, share == 1
			p.known *= 1 + share
			p.newcomers *= 1 + share
		}
	}
}

// unproven makes a share of all users strangers, as where credentials are not known.
func unproven(share float64) func(*simulation, time.Duration, *load) {
	return func(_ *simulation, _ time.Duration, p *load) {
		p.newcomers += share * p.known
		p.known *= 1 - share
	}
}

// renumber gives a fifth of all users new addresses. One in ten of them is not known by password either and counts as a
// stranger. Some of these have an old password stored.
func renumber(_ *simulation, since time.Duration, p *load) {
	if since < 2*time.Hour {
		moved := 0.2 * p.known
		p.known -= 0.1 * moved
		p.newcomers += 0.1 * moved
		p.bots += 0.03 * moved
	}
}

// singleSource is one network that sends 40 % of the peak.
func singleSource(w *simulation, since time.Duration, p *load) {
	if since < time.Hour {
		p.single += 0.4 * w.rate * 10
	}
}

// holiday has fewer logins for a day.
func holiday(_ *simulation, since time.Duration, p *load) {
	if since < 24*time.Hour {
		p.known *= 0.55
		p.newcomers *= 0.55
	}
}

// popular is a new version of a mail program that logs in more often, for a day.
func popular(_ *simulation, since time.Duration, p *load) {
	if since < 24*time.Hour {
		p.known *= 1.4
	}
}
