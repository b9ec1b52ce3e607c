package watch

import "time"

// How a watch works out which part of the site it sees.
const (
	shareHalf  = 10 * time.Minute // half-life of the share of this gateway
	shareLeast = 1.0 / 64         // a gateway with less than this share is treated as if it had this
	shareGuess = 0.1              // the least share as long as nothing is known
	joinTicks  = recentTicks      // with counts of other gateways, before what one gateway has learned is taken to the whole site
	aloneMost  = 24 * time.Hour   // of being alone: after that, this gateway is the site
	abuseHeld  = 3 * tick         // an alarm of another gateway counts for so long
)

// site is what a Watch knows of the other gateways.
type site struct {
	added  int       // ticks of other gateways in the current tick
	joined int       // ticks with some, as long as what was learned is not of the whole site
	alone  time.Time // since when the others cannot be reached; zero if they can
	own    float64   // logins of the known in a tick at this gateway, running mean
	all    float64   // at all of them

	abuseUntil time.Time // another gateway has an alarm about abused accounts until then
	abused     int       // accounts abused at other gateways, by the ticks added in the current tick
	abusedLast int       // in the one before
}

// share returns the share of this gateway in the logins of the known, and whether it is known.
func (s *site) share() (float64, bool) {
	if s.all <= 0 {
		return shareGuess, false
	}
	return min(max(s.own/s.all, shareLeast), 1), true
}

// abuse adds the findings of other gateways about abused accounts to f, at the end of the tick that ended at t.
func (s *site) abuse(t time.Time, f hourly) hourly {
	f.accountAbuse = f.accountAbuse || t.Before(s.abuseUntil)
	f.abused += max(s.abused, s.abusedLast)
	return f
}

// A view is which part of the site a detector sees.
type view struct {
	whole bool    // what was learned is of the whole site
	alone bool    // only this gateway is seen, although what was learned is of the whole site
	share float64 // of this gateway in the logins of the known; 0 if nothing is to be scaled
}

// part returns what is to be expected, as a share of what was learned. Without the others a gateway sees its own share of
// the logins, or more if the clients of the others come to it: then its share is that of the logins of the known over
// 5 min, recent, in those expected. A gateway that has just met the others has learned only its own share.
func (v *view) part(recent, expected rates) float64 {
	switch {
	case v.share == 0:
		return 1
	case !v.whole:
		return 1 / v.share
	case expected[ofKnown] <= 0:
		return v.share
	}
	return max(v.share, min(1, recent[ofKnown]/expected[ofKnown]))
}

// updateSite updates what is known of the other gateways at the end of the tick that ended at t. own and all are the logins of
// the known at this gateway, and at all of them.
func (w *Watch) updateSite(t time.Time, own, all int) {
	s, v := &w.site, &w.detector.view
	reached, heard := s.alone.IsZero(), s.added > 0
	joining := reached && !v.whole && (heard || s.joined > 0)
	if joining && s.joined == 0 {
		s.own, s.all = 0, 0
	}
	if reached && (v.whole || joining) {
		f := fading(shareHalf)
		s.own += (float64(own) - s.own) * f
		s.all += (float64(all) - s.all) * f
	}
	v.alone = v.whole && !reached && t.Sub(s.alone) < aloneMost
	share, known := s.share()
	switch v.share = 0; {
	case v.alone, joining && known:
		v.share = share
	}
	if joining {
		if s.joined++; s.joined >= joinTicks {
			w.widen(1 / share)
			s.joined, v.share = 0, 0
		}
	}
	s.added, s.abusedLast, s.abused = 0, s.abused, 0
}

// widen takes what this gateway has learned to the whole site, which has this many times its logins.
func (w *Watch) widen(times float64) {
	w.detector.widen(times)
	w.spray.widen(times)
}

// widen multiplies what was learned.
func (d *detector) widen(times float64) {
	b := &d.baseline
	for i := range b.week {
		b.week[i] = b.week[i].times(times)
	}
	for i := range b.day {
		b.day[i] = b.day[i].times(times)
	}
	b.current.sum, b.last.sum = b.current.sum.times(times), b.last.sum.times(times)
	d.dayFactor.observed, d.dayFactor.expected = d.dayFactor.observed.times(times), d.dayFactor.expected.times(times)
	d.start.mean = d.start.mean.times(times)
	d.start.most *= times
	for i := range d.weekly {
		d.weekly[i] *= times
	}
	d.told *= times
	d.view.whole, d.learnedBusy = true, false
}

// widen multiplies what was learned of slow sprays.
func (s *slowSpray) widen(times float64) {
	for hour := range s.history {
		for week := range s.history[hour] {
			s.history[hour][week] *= times
		}
	}
	for i := range s.bins {
		s.bins[i].found *= times
	}
	s.pending.sum *= times
	s.recentVar *= times * times
	s.by *= times
}
