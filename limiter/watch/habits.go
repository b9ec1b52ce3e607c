package watch

import (
	"math"
	"time"
)

// The size of the table of habits, 4 MB in all.
const (
	habitSets = 1 << 15
	habitWays = 8 // accounts in a set
)

// When an account counts as abused: its accepted logins of an hour are above all of these.
const (
	abuseFloor   = 20
	abuseFactor  = 4.0 // times its habit, or, as long as that is unknown, times what 99.9 % of the accounts do
	abuseSpread  = 5   // logins from so many networks it was never accepted from before are evidence:
	abuseBy      = 2.0 // then times its habit; as long as that is unknown, the floor alone
	growthMost   = 4.0 // times the growth of all accounts, up to this
	growthFrom   = 0.4 // which is that of the frequent account at this quantile
	growthLeast  = 30  // active frequent accounts; with fewer of them, the growth is unknown
	frequentFrom = 38  // the level of a frequent account: 8 logins an hour. Of the others, the most logins of an hour are chance
	habitUnknown = 8   // an account with fewer hours with logins has no habit yet
	habitSettled = 24  // from so many on, a habit rises slowly
)

// When the accounts abused in an hour are an alarm.
const (
	abusedFloor = 10
	abusedShare = 0.002 // of the active accounts
	abusedTimes = 2.0   // times the usual number
	abusedSure  = 5.0   // and this many standard deviations above it
	abuseHours  = 24    // that must be learned first
)

// Levels are logins on a logarithmic scale, in one octet.
const (
	levelSteps = 12 // in an octave
	levelDecay = 56 // hours: a habit decays by a level in this time, and by half in four weeks
	levelCount = 16*levelSteps + 1
)

// smallLevels are the levels of small numbers of logins.
var smallLevels = func() (l [1024]uint8) {
	for n := range l {
		l[n] = uint8(math.Round(levelSteps * math.Log2(float64(n+1))))
	}
	return l
}()

// levelOf returns the level of n logins.
func levelOf(n uint16) uint8 {
	if int(n) < len(smallLevels) {
		return smallLevels[n]
	}
	return uint8(math.Round(levelSteps * math.Log2(float64(n)+1)))
}

// loginsAt returns the logins at a level, a fraction of one included.
func loginsAt(level float64) float64 { return math.Exp2(level/levelSteps) - 1 }

// A habit is what is known of an account. It has no name: the account is found by a keyed hash.
type habit struct {
	tag    uint32 // 32 bits of the hash; the set has 15 others
	hour   uint32 // the hour of logins, since 1970
	logins uint16 // accepted in that hour
	fresh  uint8  // of these, from networks the account was never accepted from before
	most   uint8  // the habit: the level of the most logins of an hour, slowly decaying
	hours  uint8  // with logins, before this one; 255 stands for more
	abused bool   // in this hour
}

// habits know how often each account is logged in to, and find accounts that are logged in to far more often. Only
// accepted logins change the table, so a flood of names or of guesses does not. When a set is full, the account that was not
// used for longest is forgotten; each hour with logins counts as an hour less, so that settled accounts are kept.
type habits struct {
	table [][habitWays]habit
	hour  uint32 // the current one

	// Of the current hour: active accounts by the level of their logins, and frequent ones by the difference to their habit.
	byLogins [levelCount]int
	byRise   [2*levelCount + 1]int
	active   int
	frequent int // accounts in byRise
	abused   int
	growth   float64 // of all accounts above their habits, at least 1

	before, activeBefore int // abused and active in the hour before

	// Learned.
	hours int     // with active accounts
	top   float64 // the level of what 99.9 % of the accounts do in an hour
	usual float64 // accounts abused in an hour
	alarm alarm
}

func newHabits() habits {
	return habits{table: make([][habitWays]habit, habitSets), growth: 1}
}

// A use is what habits say of an accepted login.
type use struct {
	abused bool
	first  bool // for the first time in this hour
	logins int  // of the hour
	fresh  int
	most   uint8 // level of the habit, 0 if unknown
}

// habit returns the most logins of an hour before, or 0 if that is unknown.
func (u use) habit() int { return int(loginsAt(float64(u.most)) + 0.5) }

// accept adds an accepted login at t to the account with this hash. fresh says that it came from a network that the account
// was never accepted from before.
func (h *habits) accept(t time.Time, account uint64, fresh bool) use {
	n := 0
	if fresh {
		n = 1
	}
	return h.add(t, account, 1, n)
}

// add adds some logins, of which so many were from new networks.
func (h *habits) add(t time.Time, account uint64, logins, fresh int) use {
	h.advance(t)
	e := h.find(account)
	h.recount(e, -1)
	e.logins = uint16(min(int(e.logins)+logins, math.MaxUint16))
	e.fresh = uint8(min(int(e.fresh)+fresh, math.MaxUint8))
	h.recount(e, 1)
	u := use{logins: int(e.logins), fresh: int(e.fresh)}
	if e.hours >= habitUnknown {
		u.most = e.most
	}
	if !e.abused && h.exceeded(e) {
		e.abused, u.first = true, true
		h.abused++
	}
	u.abused = e.abused
	return u
}

// recount adds an account to the counts of the current hour, or removes it. n is 1 or -1.
func (h *habits) recount(e *habit, n int) {
	if e.logins == 0 {
		return
	}
	h.active += n
	h.byLogins[levelOf(e.logins)] += n
	if e.hours >= habitUnknown && e.most >= frequentFrom {
		h.frequent += n
		h.byRise[int(levelOf(e.logins))-int(e.most)+levelCount] += n
	}
}

// exceeded reports whether an account has become abused. On the first day none is.
func (h *habits) exceeded(e *habit) bool {
	return h.hours >= abuseHours && e.logins > abuseFloor && float64(e.logins) > h.limit(e)
}

// limit returns the logins of an hour from which on an account is abused.
func (h *habits) limit(e *habit) float64 {
	spread := e.fresh >= abuseSpread
	logins := 0.0
	switch own := loginsAt(float64(e.most)); {
	case e.hours >= habitUnknown && spread:
		logins = abuseBy * own
	case e.hours >= habitUnknown:
		logins = abuseFactor * own
	case !spread:
		logins = abuseFactor * max(own, loginsAt(h.top))
	}
	return max(abuseFloor, logins) * h.growth
}

// find returns the entry of an account for the current hour. Logins of a former hour have been learned.
func (h *habits) find(account uint64) *habit {
	set, tag := &h.table[account%habitSets], uint32(account>>32)
	oldest := &set[0]
	for i := range set {
		e := &set[i]
		if e.hour != 0 && e.tag == tag {
			if e.hour != h.hour {
				h.learn(e)
			}
			return e
		}
		if e.hour+uint32(e.hours) < oldest.hour+uint32(oldest.hours) {
			oldest = e
		}
	}
	*oldest = habit{tag: tag, hour: h.hour}
	return oldest
}

// learn learns the logins of a former hour, and begins the current one. A settled habit rises by a level in an hour at most:
// attackers who want to raise it need many hours. While there is an alarm, it does not rise by abuse.
func (h *habits) learn(e *habit) {
	decayed := uint8(min(h.hour/levelDecay-e.hour/levelDecay, math.MaxUint8))
	e.most -= min(e.most, decayed)
	switch now := levelOf(e.logins); {
	case now <= e.most || e.abused && h.alarm.on:
	case e.hours < habitSettled && !e.abused:
		e.most = now
	default:
		e.most++
	}
	if e.hours < math.MaxUint8 {
		e.hours++
	}
	e.hour, e.logins, e.fresh, e.abused = h.hour, 0, 0, false
}

// advance begins the hour of t, if it is a new one.
func (h *habits) advance(t time.Time) {
	hour := uint32(t.Unix() / 3600)
	if hour == h.hour {
		return
	}
	if h.active > 0 && !h.alarm.on {
		h.learnHour()
	}
	h.before, h.activeBefore = 0, 0
	if hour == h.hour+1 {
		h.before, h.activeBefore = h.abused, h.active
	}
	h.hour, h.active, h.frequent, h.abused, h.growth = hour, 0, 0, 0, 1
	clear(h.byLogins[:])
	clear(h.byRise[:])
}

// learnHour learns what is usual in an hour.
func (h *habits) learnHour() {
	top := float64(quantileOf(h.byLogins[:], h.active, 0.999))
	switch {
	case h.hours == 0:
		h.top = top
	case h.hours < abuseHours:
		h.top = max(h.top, top)
	default:
		h.top = max(min(top, h.top+1), h.top-1.0/levelDecay)
	}
	if h.hours >= abuseHours {
		half := 1 - math.Exp2(-1.0/weekHours)
		h.usual += (min(float64(h.abused), h.abusedMost()) - h.usual) * max(half, 1/float64(h.hours-abuseHours+1))
	}
	h.hours++
}

// quantileOf returns the index below which there is a share q of n counts.
func quantileOf(counts []int, n int, q float64) int {
	left := int(q * float64(n))
	for i, c := range counts {
		if left -= c; left < 0 {
			return i
		}
	}
	return len(counts) - 1
}

// abusedMost returns how many accounts may be abused in an hour without an alarm.
func (h *habits) abusedMost() float64 {
	return max(abusedFloor, abusedShare*float64(max(h.active, h.activeBefore)),
		abusedTimes*h.usual+abusedSure*math.Sqrt(h.usual))
}

// tick ends the tick that ended at t. It reports whether far more accounts than usual are abused, and how many are: in this
// hour, or in the one before if those are more.
func (h *habits) tick(t time.Time) (bool, int) {
	h.advance(t.Add(-tick))
	h.growth = 1
	if h.frequent >= growthLeast {
		rise := quantileOf(h.byRise[:], h.frequent, growthFrom) - levelCount
		h.growth = min(max(1, math.Exp2(float64(rise)/levelSteps)), growthMost)
	}
	most, last := h.abusedMost(), max(h.abused, h.before)
	h.alarm.set(t, h.hours >= abuseHours && float64(h.abused) > most, float64(last) < alarmLeave*most)
	return h.alarm.on, last
}

// relearn makes the accounts abused at present usual, because a person says that the alarm was false.
func (h *habits) relearn() {
	h.usual = max(h.usual, float64(max(h.abused, h.before)))
	h.alarm = alarm{}
}
