package watch

import "time"

// A baseline is kept for each quarter-hour of the week. Quarters are numbered from Sunday 00:00 on.
const (
	dayQuarters  = 96
	weekQuarters = 7 * dayQuarters
	quarterTime  = 15 * time.Minute
)

// How fast the baseline changes.
const (
	weekShare    = 0.3  // the weight of the latest week
	weekLeast    = 0.6  // a week counts as at least this many times the baseline
	weekMost     = 1.6  // and as at most this many times the quarter
	quarterFloor = 0.05 // per tick: a value below this may grow as if it were this
	quarterTicks = 30   // a quarter with fewer of its 90 ticks than this is not learned
)

// A baseline is the mean of a tick in each quarter-hour of the week, and in each quarter-hour of the last day.
type baseline struct {
	week    [weekQuarters]rates
	weeks   [weekQuarters]uint16 // number of weeks learned
	known   int                  // quarters with at least one week learned
	day     [dayQuarters]rates
	dayTime [dayQuarters]int64 // when each of these ended, in Unix seconds; 0 if it never did

	current quarterMean // not over
	last    quarterMean // over, but not learned yet: the expected rates must not depend on the last minutes
}

// A quarterMean is the sum of the ticks of one quarter-hour.
type quarterMean struct {
	index int64 // of the week
	sum   rates
	ticks int64
	at    int64 // when the latest of them ended, in Unix seconds
}

// quarterAt returns the number of the quarter of t, which is local time, and the share of it that is over.
func quarterAt(t time.Time) (quarter int, over float64) {
	into := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	return int(t.Weekday())*dayQuarters + int(into/quarterTime), float64(into%quarterTime) / float64(quarterTime)
}

// add adds the tick that ended at t, local time, if learn is true. It reports whether a quarter was learned.
func (b *baseline) add(t time.Time, r rates, learn bool) (learned bool) {
	quarter, _ := quarterAt(t)
	if b.current.index != int64(quarter) {
		learned = b.commit(b.last)
		b.last = b.current
		b.current = quarterMean{index: int64(quarter)}
	}
	if learn {
		b.current.sum.add(r)
		b.current.ticks++
		b.current.at = t.Unix()
	}
	return learned
}

// commit learns a quarter that is over. It reports whether it has enough ticks.
func (b *baseline) commit(m quarterMean) bool {
	if m.ticks < quarterTicks {
		return false
	}
	mean := m.sum.times(1 / float64(m.ticks))
	b.day[m.index%dayQuarters] = mean
	b.dayTime[m.index%dayQuarters] = m.at
	week := &b.week[m.index]
	if b.weeks[m.index] == 0 {
		*week = mean
	} else {
		for i, old := range week {
			x := min(max(mean[i], old*weekLeast), max(old, quarterFloor)*weekMost)
			week[i] += (x - old) * weekShare
		}
	}
	if b.weeks[m.index] < 1<<15 {
		b.weeks[m.index]++
	}
	b.count()
	return true
}

// expected returns the rates expected in a tick at t, local time: the mean of former weeks, or of yesterday if that is
// more, but at most weekMost times the former. It interpolates between the middles of two quarters. It reports whether
// anything is known.
func (b *baseline) expected(t time.Time) (rates, bool) {
	quarter, over := quarterAt(t)
	first, share := quarter, over-0.5
	if share < 0 {
		first, share = (quarter+weekQuarters-1)%weekQuarters, share+1
	}
	second := (first + 1) % weekQuarters
	week, ok := blend(b.week[first], b.weeks[first] > 0, b.week[second], b.weeks[second] > 0, share)
	day, fresh := blend(
		b.day[first%dayQuarters], b.fresh(t, first), b.day[second%dayQuarters], b.fresh(t, second), share)
	switch {
	case ok && fresh:
		bound := week.larger(rates{quarterFloor, quarterFloor, quarterFloor, quarterFloor, quarterFloor}).times(weekMost)
		return week.larger(day.smaller(bound)), true
	case ok:
		return week, true
	}
	return day, fresh
}

// fresh reports whether the time of day of this quarter was learned at most 26 h before t.
func (b *baseline) fresh(t time.Time, quarter int) bool {
	return t.Unix()-b.dayTime[quarter%dayQuarters] < 26*3600
}

// blend interpolates between a and b, or returns the one that is known. It reports whether one is.
func blend(a rates, aKnown bool, b rates, bKnown bool, share float64) (rates, bool) {
	switch {
	case aKnown && bKnown:
		return a.between(b, share), true
	case aKnown:
		return a, true
	}
	return b, bKnown
}

// count counts the quarters that are known.
func (b *baseline) count() {
	b.known = 0
	for _, weeks := range b.weeks {
		if weeks > 0 {
			b.known++
		}
	}
}

// learned returns the share of the week that is known.
func (b *baseline) learned() float64 { return float64(b.known) / weekQuarters }

// busy returns the logins of a tick in a busy hour, without suspects: the 95th percentile of the quarters
// that are known.
func (b *baseline) busy() float64 {
	var wanted []float64
	for i, weeks := range b.weeks {
		if weeks > 0 {
			wanted = append(wanted, b.week[i][ofLogins]-b.week[i][ofSuspects])
		}
	}
	return quantile(wanted, 0.95)
}
