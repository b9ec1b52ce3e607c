package watch

import (
	"math"
	"time"
)

// How the detector decides. The package documentation has the formulas.
const (
	significant = 8.0  // score
	scoreMost   = 40.0 // the score stays below this, so that it falls soon after an attack
	scoreDrift  = 0.5
	zMost       = 4.0
	usualMore   = 1.25 // times the expected networks is still usual
	phiMost     = 10.0
	noticeAt    = 0.045 // excess
	noticeSure  = 0.005
	attackAt    = 0.10
	attackSure  = 0.07
	capShare    = 0.005 // of busy: the most that one network counts
	busyFloor   = 10.0  // per tick: a smaller site is treated as if it had one login a second
)

// A detector evaluates one observation after the other. It is not safe for concurrent use.
type detector struct {
	baseline    baseline
	dayFactor   dayFactor
	start       coldStart
	recent      recent
	suppressors suppressors
	proven      proven
	phi         float64    // the variance of networks over the variance by chance, at least 1
	busy        float64    // logins a tick, suspects not counted
	learnedBusy bool       // busy comes from the baseline
	told        float64    // suspects a tick that a person said are usual
	weekly      [5]float64 // suspects expected in a week, latest first, one a week
	score       float64
	rising      time.Time // since when the score was not zero
	excess      float64   // suspects a tick above the expected, capped
	raw         float64   // the same, not capped
	notice      alarm
	attack      alarm
	single      alarm     // a single source: by raw, where excess is below a notice
	oddSince    time.Time // since when there has been something suspicious without a break
	frozen      bool
	class       Class
	since       time.Time
	latest      observation
	users       Users // how the known were served, over 5 min
	expected    rates
	ready       bool // expected comes from the baseline
	hourly      hourly
	pace        pace
	view        view
	part        float64 // what is expected now, as a share of what was learned; 1 unless only a part of the site is seen
}

func newDetector() *detector {
	return &detector{
		dayFactor: newDayFactor(), phi: 1, class: ClassLearning,
		notice: alarm{limit: noticeAt}, attack: alarm{limit: attackAt}, single: alarm{limit: noticeAt}, pace: newPace(), part: 1,
	}
}

// networkCap returns how many suspects of one network count in one tick.
func (d *detector) networkCap() float64 { return math.Floor(max(1, capShare*d.busy)) }

// tick evaluates the observation of the tick that ended at t, local time.
func (d *detector) tick(t time.Time, o observation, u Users) {
	d.recent.add(o, u)
	d.users = d.recent.userSums()
	d.expect(t)
	d.suppressors.tick(t, &d.recent, o, d.expected, d.ready)
	share, fault := d.proven.tick()
	if !d.ready && d.start.nothingAccepted(&d.recent) {
		share, fault = 1, true
	}
	d.suppressors.denials(t, &d.recent, share, fault)
	if d.ready || d.start.complete() {
		o.admit(d.suppressors.unanswered(&d.recent, d.expected))
		d.recent.replace(o)
	}
	d.latest = o
	d.updateScore(t, o)
	d.updateAlarms(t)
	d.learn(t, o)
	d.classify(t)
}

// expect sets the expected rates of the tick, the logins of a busy hour, and how often one network counts.
func (d *detector) expect(t time.Time) {
	d.expected, d.ready = d.baseline.expected(t)
	if d.ready {
		d.expected = d.dayFactor.apply(d.expected)
	} else {
		d.expected = d.start.usual()
	}
	if part := d.view.part(d.recent.mean(), d.expected); part != d.part {
		d.part, d.learnedBusy = part, false
	}
	d.expected = d.expected.times(d.part)
	if !d.ready {
		d.busy, d.learnedBusy, d.pace.every = d.start.busy(t, &d.recent, d.part), false, 0
		return
	}
	if !d.learnedBusy {
		d.learnBusy()
	}
	d.pace.every = int(1 / (capShare * max(d.busy, busyFloor)))
}

// updateScore updates score and excess. Suspects that a failing password database explains are subtracted first.
func (d *detector) updateScore(t time.Time, o observation) {
	explained := d.suppressors.explained(t, &d.recent, d.expected)
	over := o.rates[ofNetworks] - explained - usualMore*d.expected[ofNetworks]
	z := over / math.Sqrt(d.phi*(d.expected[ofNetworks]+1))
	if d.score == 0 {
		d.rising = t.Add(-tick)
	}
	d.score = min(max(0, d.score+min(z, zMost)-scoreDrift), scoreMost)

	share := fading(30 * time.Second)
	d.excess += (o.rates[ofSuspects] - explained - d.expected[ofSuspects] - d.excess) * share
	d.raw += (o.raw - explained - d.expected[ofSuspects] - d.raw) * share
}

// updateAlarms raises and lowers the alarms.
func (d *detector) updateAlarms(t time.Time) {
	m := d.share(d.excess)
	sure := d.score > significant
	if !d.ready {
		d.updateColdAlarm(t, m, sure)
		return
	}
	d.notice.limit = d.limit(noticeAt, noticeSure)
	d.attack.limit = d.limit(attackAt, attackSure)
	d.notice.update(t, m, sure)
	d.attack.update(t, m, sure)
	d.single.update(t, d.share(d.raw), m < noticeAt)
}

// updateColdAlarm raises and lowers the alarm of an attack on the first day.
func (d *detector) updateColdAlarm(t time.Time, m float64, sure bool) {
	gross := d.start.gross(&d.recent) && !t.Before(d.suppressors.authFault)
	relative := d.start.complete() && sure && m >= coldAt || d.start.alarming(&d.recent)
	d.attack.set(t, gross || relative, m < alarmLeave*coldAt && d.start.ended(&d.recent))
}

// limit returns the excess that counts as a notice or an attack. At a site with few logins the excess varies by chance
// alone. So the limit there is sure plus three standard deviations, if that is higher than least.
func (d *detector) limit(least, sure float64) float64 {
	busy := max(d.busy, busyFloor)
	share := fading(30 * time.Second)
	chance := math.Sqrt((d.expected[ofSuspects] + least*busy) * share / (2 - share))
	return max(least, sure+3*chance/busy)
}

// share returns x suspects a tick as a share of a busy hour.
func (d *detector) share(x float64) float64 {
	if d.busy <= 0 {
		return 0
	}
	return x / max(d.busy, busyFloor)
}

// learnable returns the part of r that may be learned. Suspects beyond the accepted attempts are never taken for usual,
// unless a person said so.
func (d *detector) learnable(r rates) rates {
	most := max(d.recent.accepted(recentTicks), d.expected[ofSuspects], toldTimes*d.told)
	if over := r[ofSuspects] - most; over > 0 {
		r[ofLogins] -= over
		r[ofSuspects], r[ofNetworks] = most, min(r[ofNetworks], most)
	}
	return r
}

// learn adds the observation to the baseline, unless learning is frozen.
func (d *detector) learn(t time.Time, o observation) {
	frozen := d.freeze(t)
	r := d.learnable(o.rates)
	if d.ready && !frozen {
		e, _ := d.baseline.expected(t)
		d.dayFactor.add(r, e)
		deviation := o.rates[ofNetworks] - d.expected[ofNetworks]
		ratio := deviation * deviation / (d.expected[ofNetworks] + 1)
		d.phi += (min(ratio, 2*phiMost) - d.phi) * fading(24*time.Hour)
		d.phi = min(max(d.phi, 1), phiMost)
	}
	if !frozen {
		d.start.add(r)
	}
	quarter := d.baseline.current.index
	if d.baseline.add(t, r, !frozen) {
		d.learnedBusy = false
	}
	if d.baseline.current.index < quarter {
		d.newWeek()
	}
}

// newWeek stores the suspects expected in a week, to detect attackers who train the baseline slowly.
func (d *detector) newWeek() {
	copy(d.weekly[1:], d.weekly[:len(d.weekly)-1])
	d.weekly[0] = 0
	for _, r := range d.baseline.week {
		d.weekly[0] += r[ofSuspects]
	}
}

// drift returns the suspects expected in a week, as a multiple of four weeks ago, or 0 as long as that is not known.
func (d *detector) drift() float64 {
	then := d.weekly[len(d.weekly)-1]
	if then <= 0 {
		return 0
	}
	return d.weekly[0] / then
}

// oddMost is how long something less than an attack stops learning. If it lasts longer, it is learned.
const oddMost = 24 * time.Hour

// freeze reports whether the tick that ended at t must not be learned.
func (d *detector) freeze(t time.Time) bool {
	odd := d.notice.on || d.single.on || d.ready && d.score > significant && d.share(d.excess) > noticeAt/2
	if !odd {
		d.oddSince = t
	}
	d.frozen = d.view.alone || d.part != 1 || d.attack.on || odd && t.Sub(d.oddSince) < oddMost || d.suppressors.active(t)
	return d.frozen
}

// assume sets the baseline of the whole week to r.
func (d *detector) assume(r rates) {
	for i := range d.baseline.week {
		d.baseline.week[i], d.baseline.weeks[i] = r, 1
	}
	d.baseline.count()
	d.learnBusy()
}

// learnBusy takes the logins of a busy hour from the baseline, as far as they are seen.
func (d *detector) learnBusy() { d.busy, d.learnedBusy = d.baseline.busy()*d.part, true }

// toldTimes is how many times the suspects that a person said are usual may be learned: their number varies.
const toldTimes = 1.6

// relearn raises the baseline to the rates of the last 5 min, because a person says that they are usual.
func (d *detector) relearn() {
	now := d.recent.mean().times(1 / d.part)
	d.told = max(d.told, now[ofSuspects])
	for i := range d.baseline.week {
		for _, s := range []int{ofLogins, ofSuspects, ofNetworks} {
			d.baseline.week[i][s] = max(d.baseline.week[i][s], now[s])
			d.baseline.day[i%dayQuarters][s] = max(d.baseline.day[i%dayQuarters][s], now[s])
		}
	}
	d.start.mean = d.start.mean.larger(rates{ofLogins: now[ofLogins], ofSuspects: now[ofSuspects], ofNetworks: now[ofNetworks]})
	d.dayFactor = newDayFactor()
	d.score, d.excess, d.raw = 0, 0, 0
	d.notice, d.attack, d.single = alarm{limit: noticeAt}, alarm{limit: attackAt}, alarm{limit: noticeAt}
}
