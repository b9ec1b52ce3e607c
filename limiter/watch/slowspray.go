package watch

import (
	"math"
	"time"
)

// A slow spray sends so few attempts an hour from each of very many networks that it never becomes an attack. It shows in
// the number of quiet networks: those with one to three suspects in an hour, each counted once in that hour.
const (
	sprayCells = 1 << 18
	sprayQuiet = 3 // a network with more suspects in an hour is not counted

	sprayBin   = 10 * time.Minute
	sprayTicks = int(sprayBin / tick)
	sprayBins  = 144 // kept: a day
	sprayWeeks = 4   // of history
	weekHours  = 7 * 24

	sprayRecent = 10                   // bins: the time in which a spray must persist
	sprayMost   = 9                    // of these must have 60 % of the excess: a wave of bots ends sooner
	sprayCap    = 1.5                  // times the excess is what a bin counts for at most
	sprayShare  = 0.045                // of busy: the excess that is a spray
	sprayDay    = 1.3                  // times the usual number of a day is a spray
	spraySure   = 4.5                  // standard deviations of the same in former weeks
	sprayTrain  = 1.6                  // an hour is learned as at most this many times the usual
	sprayOver   = 3 * time.Hour        // how long it must be quiet before the alarm ends
	sprayMemory = 7 * 24 * sprayHourly // bins: the half-life of what is learned about variation
	sprayHourly = 6                    // bins an hour
)

// A slowSpray detects slow sprays.
type slowSpray struct {
	cells   []uint16 // see count
	bins    [sprayBins]sprayCount
	number  int64 // of the current bin, since 1970
	hour    int   // of the week, local time, of the current bin
	ticks   int   // of the current bin that count
	found   float64
	pending sprayHour
	history [weekHours][sprayWeeks]float64 // quiet networks in each hour of the week, latest first
	weeks   [weekHours]uint8               // how many of these are known

	recentVar float64 // variance of the excess over sprayRecent bins, in networks an hour
	dayVar    float64 // variance of the excess over a day, as a share of the usual
	on        bool
	last      time.Time // when it was last not quiet
	by        float64   // the excess that raised it, in networks an hour
}

// A sprayCount is a bin that is over.
type sprayCount struct {
	hour    int     // of the week
	found   float64 // quiet networks
	neutral bool    // counts as what is expected: most of it was not seen, or something else explains it
	odd     bool    // is not learned
}

// A sprayHour sums up the bins of an hour that are to be learned.
type sprayHour struct {
	hour int
	sum  float64
	bins int
}

func newSlowSpray() slowSpray { return slowSpray{cells: make([]uint16, sprayCells)} }

// attempt counts an attempt from a network with this hash.
func (s *slowSpray) attempt(t time.Time, network uint64) { s.found += s.count(t, network) }

// slow reports whether an attempt can be part of a slow spray: a suspect from a network that the account was never accepted
// from.
func (a *Attempt) slow() bool { return a.suspect() && !a.Usual }

// count counts a suspect of a network. It returns 1 for the first one in an hour, and -1 when the network is no longer
// quiet. A cell has the number of its hour modulo 256, whether the network was too frequent in the hour before, and the
// suspects of this hour. The hours of the cells begin at different minutes, so that there is no step at a full hour.
// Networks that share a cell count as one.
func (s *slowSpray) count(t time.Time, network uint64) float64 {
	const many, mask = 1 << 3, 1<<3 - 1
	index := network % sprayCells
	cell := &s.cells[index]
	hour := uint16((t.Unix() + int64(index%60)*60) / 3600 & 0xff)
	n := *cell & mask
	if was := *cell >> 8; was != hour {
		*cell = hour << 8
		if n > sprayQuiet && (was+1)&0xff == hour {
			*cell |= many
		}
		n = 0
	}
	if n <= sprayQuiet {
		*cell++
	}
	switch {
	case *cell&many != 0:
		return 0
	case n == 0:
		return 1
	case n == sprayQuiet:
		return -1
	}
	return 0
}

// tick ends the tick that ended at t, local time, and reports whether there is a slow spray. busy is the logins of a tick
// in a busy hour. If explained is true, an attack or a fault explains the suspects of the tick.
func (s *slowSpray) tick(t time.Time, busy float64, explained bool) bool {
	number := t.Add(-tick).Unix() / int64(sprayBin/time.Second)
	if number != s.number {
		s.end(t, number, 3600/tick.Seconds()*max(busy, busyFloor))
	}
	quarter, _ := quarterAt(t.Add(-tick))
	s.hour = quarter / 4
	if !explained {
		s.ticks++
	}
	return s.on
}

// end ends the current bin and begins the one with this number. Those between them were not seen. busy is the logins of a
// busy hour.
func (s *slowSpray) end(t time.Time, number int64, busy float64) {
	if s.number == 0 {
		s.number, s.ticks, s.found = number, 0, 0
		s.clear()
		return
	}
	seen := sprayCount{hour: s.hour, found: s.found, neutral: s.ticks < sprayTicks/2 || number-s.number > sprayBins, odd: s.on}
	if !seen.neutral {
		seen.found *= float64(sprayTicks) / float64(s.ticks)
	}
	for i := max(s.number, number-sprayBins); i < number; i++ {
		place := s.at(i)
		s.learn(*place)
		*place = seen
		seen.neutral = true
	}
	s.number, s.ticks, s.found = number, 0, 0
	s.evaluate(t, busy)
}

// at returns the bin with this number.
func (s *slowSpray) at(number int64) *sprayCount {
	return &s.bins[(number%sprayBins+sprayBins)%sprayBins]
}

// clear makes all bins neutral.
func (s *slowSpray) clear() {
	for i := range s.bins {
		s.bins[i] = sprayCount{neutral: true, odd: true}
	}
}

// learn adds a bin that is a day old to the history. It is learned so late because a spray may take a day to be seen.
func (s *slowSpray) learn(c sprayCount) {
	if c.hour != s.pending.hour {
		if p := s.pending; p.bins >= sprayHourly/2 {
			s.learnHour(p.hour, p.sum/float64(p.bins)*sprayHourly)
		}
		s.pending = sprayHour{hour: c.hour}
	}
	if !c.neutral && !c.odd {
		s.pending.sum += c.found
		s.pending.bins++
	}
}

// learnHour adds an hour of the week to the history.
func (s *slowSpray) learnHour(hour int, n float64) {
	usual, weeks := s.expected(hour)
	if weeks > 0 {
		n = min(n, sprayTrain*max(usual, sprayHourly))
	}
	h := &s.history[hour]
	copy(h[1:], h[:sprayWeeks-1])
	h[0] = max(n, 0)
	s.weeks[hour] = min(s.weeks[hour]+1, sprayWeeks)
}

// expected returns the mean of an hour of the week in former weeks, and their number. In the first week it is the mean of
// the same hour on other days, and the number is 0; if that is unknown too, it is -1.
func (s *slowSpray) expected(hour int) (float64, int) {
	if weeks := int(s.weeks[hour]); weeks > 0 {
		return average(s.history[hour][:weeks]), weeks
	}
	var days []float64
	for h := hour % 24; h < weekHours; h += 24 {
		if s.weeks[h] > 0 {
			days = append(days, s.history[h][0])
		}
	}
	if len(days) == 0 {
		return 0, -1
	}
	return average(days), 0
}

// average returns the mean of some values.
func average(values []float64) (sum float64) {
	for _, v := range values {
		sum += v / float64(len(values))
	}
	return sum
}

// excess returns the mean excess over the last n bins, in networks an hour, each counted up to most, in how many of them it was
// at least this much, and whether what is expected is known for all of them.
func (s *slowSpray) excess(n int64, least, most float64) (mean float64, bins int, known bool) {
	known = true
	for i := s.number - n; i < s.number; i++ {
		c := s.at(i)
		usual, weeks := s.expected(c.hour)
		known = known && weeks >= 0
		if c.neutral {
			continue
		}
		over := c.found*sprayHourly - usual
		mean += min(over, most) / float64(n)
		if over >= least {
			bins++
		}
	}
	return mean, bins, known
}

// today returns the quiet networks of the last day, the number usual for it, both an hour, and whether that was learned in
// at least two weeks.
func (s *slowSpray) today() (found, usual float64, known bool) {
	known = true
	for i := range s.bins {
		c := &s.bins[i]
		expected, weeks := s.expected(c.hour)
		usual += expected / sprayBins
		if c.neutral || c.odd {
			found += expected / sprayBins
			known = known && (c.neutral || weeks >= 2)
			continue
		}
		known = known && weeks >= 2
		found += c.found * sprayHourly / sprayBins
	}
	return found, usual, known && usual > 0
}

// evaluate raises and lowers the alarm at the end of a bin. busy is the logins of a busy hour.
func (s *slowSpray) evaluate(t time.Time, busy float64) {
	limit := max(sprayShare*busy, spraySure*math.Sqrt(s.recentVar))
	excess, bins, known := s.excess(sprayRecent, alarmLeave*limit, sprayCap*limit)
	if s.on {
		if _, bins, _ := s.excess(sprayRecent, alarmLeave*s.by, math.Inf(1)); bins >= sprayRecent/2 && excess >= alarmLeave*s.by {
			s.last = t
		}
		s.on = t.Sub(s.last) < sprayOver
		return
	}
	found, usual, learned := s.today()
	most := max(sprayDay-1, spraySure*math.Sqrt(s.dayVar)) * usual
	switch {
	case known && excess >= limit && bins >= sprayMost:
		s.raise(t, limit, sprayRecent+2)
	case learned && found-usual >= most && excess >= alarmLeave*most && s.steady(most/2):
		s.raise(t, most, sprayBins)
	default:
		share := 1 - math.Exp2(-1/float64(sprayMemory))
		if known {
			s.recentVar += (min(excess*excess, limit*limit) - s.recentVar) * share
		}
		if learned {
			off := min(math.Abs(found-usual), most) / usual
			s.dayVar += (off*off - s.dayVar) * share
		}
	}
}

// steady reports whether the excess was at least this much in most of the day, not only in some waves.
func (s *slowSpray) steady(least float64) bool {
	_, bins, _ := s.excess(sprayBins, least, math.Inf(1))
	return bins >= sprayBins*2/3
}

// raise raises the alarm because of an excess of the last bins, which are not learned.
func (s *slowSpray) raise(t time.Time, by float64, bins int64) {
	s.on, s.last, s.by = true, t, by
	for i := s.number - bins; i < s.number; i++ {
		s.at(i).odd = true
	}
}

// cancel ends the alarm, because an attack or a person says so.
func (s *slowSpray) cancel() { s.on = false }

// relearn makes the present excess usual.
func (s *slowSpray) relearn() {
	excess, _, _ := s.excess(sprayRecent, 0, math.Inf(1))
	for hour := range s.history {
		for week := range s.history[hour] {
			s.history[hour][week] += max(excess, 0)
		}
	}
	s.cancel()
}

// assume sets the history to this many networks an hour.
func (s *slowSpray) assume(networks float64) {
	for hour := range s.history {
		s.weeks[hour] = sprayWeeks
		for week := range s.history[hour] {
			s.history[hour][week] = networks
		}
	}
}
