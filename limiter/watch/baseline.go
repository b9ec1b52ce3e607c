package watch

import "time"

// A baseline is kept by the quarter-hour of the week.
const (
	daySlots  = 96
	weekSlots = 7 * daySlots
	slotTime  = 15 * time.Minute
)

// How a slot learns.
const (
	weekShare = 0.3  // of a slot, what the latest week is worth
	weekLeast = 0.6  // a week's value counts as at least this many times the slot's
	weekMost  = 1.6  // and as at most this many times
	slotFloor = 0.05 // a slot below this much a tick may grow as if it were this
	slotTicks = 30   // fewer ticks than this, of 90, teach nothing
)

// slots is what each quarter-hour of the week brings, in means of a tick, and what the last day brought.
type baseline struct {
	week    [weekSlots]rates
	weeks   [weekSlots]uint16 // how many weeks taught each slot
	known   int               // of them, those that were taught at all
	day     [daySlots]rates
	dayTime [daySlots]int64 // when each of these ended, in Unix seconds; 0 if it never did

	current slotMean // under way
	last    slotMean // over, but not learned yet: what is expected now must not come from just now
}

// A slotMean is the sum of the ticks of one quarter-hour.
type slotMean struct {
	index int64 // of the week
	sum   rates
	ticks int64
	at    int64 // when the latest of them ended, in Unix seconds
}

// slotAt returns the quarter-hour of the week that t is in by local time, and which share of it is over.
func slotAt(t time.Time) (slot int, over float64) {
	into := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	return int(t.Weekday())*daySlots + int(into/slotTime), float64(into%slotTime) / float64(slotTime)
}

// add adds the tick that ended at t, local time, if it may be learned from. It reports whether a quarter-hour was learned.
func (b *baseline) add(t time.Time, r rates, learn bool) (learned bool) {
	slot, _ := slotAt(t)
	if b.current.index != int64(slot) {
		learned = b.commit(b.last)
		b.last = b.current
		b.current = slotMean{index: int64(slot)}
	}
	if learn {
		b.current.sum.add(r)
		b.current.ticks++
		b.current.at = t.Unix()
	}
	return learned
}

// commit learns a quarter-hour that is over.
func (b *baseline) commit(m slotMean) bool {
	if m.ticks < slotTicks {
		return false
	}
	mean := m.sum.times(1 / float64(m.ticks))
	b.day[m.index%daySlots] = mean
	b.dayTime[m.index%daySlots] = m.at
	week := &b.week[m.index]
	if b.weeks[m.index] == 0 {
		*week = mean
	} else {
		for i, old := range week {
			x := min(max(mean[i], old*weekLeast), max(old, slotFloor)*weekMost)
			week[i] += (x - old) * weekShare
		}
	}
	if b.weeks[m.index] < 1<<15 {
		b.weeks[m.index]++
	}
	b.count()
	return true
}

// expected returns what a tick at t, local time, is expected to bring: what the same time of former weeks did, or
// yesterday if that is more, though not without bound. Between the middles of two slots it is in between. It reports
// whether anything is known.
func (b *baseline) expected(t time.Time) (rates, bool) {
	slot, over := slotAt(t)
	first, share := slot, over-0.5
	if share < 0 {
		first, share = (slot+weekSlots-1)%weekSlots, share+1
	}
	second := (first + 1) % weekSlots
	week, ok := blend(b.week[first], b.weeks[first] > 0, b.week[second], b.weeks[second] > 0, share)
	day, fresh := blend(
		b.day[first%daySlots], b.fresh(t, first), b.day[second%daySlots], b.fresh(t, second), share)
	switch {
	case ok && fresh:
		bound := week.larger(rates{slotFloor, slotFloor, slotFloor, slotFloor, slotFloor}).times(weekMost)
		return week.larger(day.smaller(bound)), true
	case ok:
		return week, true
	}
	return day, fresh
}

// fresh says whether the quarter-hour of the day that slot is was learned at most 26 h before t.
func (b *baseline) fresh(t time.Time, slot int) bool {
	return t.Unix()-b.dayTime[slot%daySlots] < 26*3600
}

// blend returns what lies between a and b, or the one that is known.
func blend(a rates, aKnown bool, b rates, bKnown bool, share float64) (rates, bool) {
	switch {
	case aKnown && bKnown:
		return a.between(b, share), true
	case aKnown:
		return a, true
	}
	return b, bKnown
}

// count counts the slots that are known.
func (b *baseline) count() {
	b.known = 0
	for _, weeks := range b.weeks {
		if weeks > 0 {
			b.known++
		}
	}
}

// learned is the share of the week that is known.
func (b *baseline) learned() float64 { return float64(b.known) / weekSlots }

// busy returns the logins of a tick in a busy hour, suspects not counted: of what is known of the week, the 95th per cent.
func (b *baseline) busy() float64 {
	var wanted []float64
	for i, weeks := range b.weeks {
		if weeks > 0 {
			wanted = append(wanted, b.week[i][ofLogins]-b.week[i][ofSuspects])
		}
	}
	return quantile(wanted, 0.95)
}
