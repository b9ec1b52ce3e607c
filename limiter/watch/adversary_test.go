package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// An adversary knows everything: the formulas, the limits, and what the watch expects at every moment. They send as much
// as they want to be above that, at all hours. The package documentation has the results.
type adversary struct {
	*world
	margin float64 // above what is expected, as a share of a busy hour
	hides  bool    // waits while there is a notice
	sent   float64
}

// newAdversary returns one who begins after three weeks.
func newAdversary(margin float64, hides bool) *adversary {
	a := &adversary{world: newWorld(5, 20, monday, oslo), margin: margin, hides: hides}
	for a.now.Before(monday.AddDate(0, 0, 21)) {
		a.tick()
	}
	a.scenes = []scene{{a.now, func(_ *world, _ time.Duration, p *plan) {
		if d := a.detector; !d.notice.on || !a.hides {
			p.attack = max(0, d.expected[ofSuspects]+a.margin*d.busy-p.bots)
			a.sent += p.attack
		}
	}}}
	return a
}

// week plays a week. It returns how many attempts a day they had, and in how many ticks there was a notice or an attack.
func (a *adversary) week() (daily float64, notice, attack int) {
	a.sent = 0
	for end := a.now.AddDate(0, 0, 7); a.now.Before(end); {
		s := a.tick().State
		if s.Tighten {
			notice++
		}
		if s.Attacked() {
			attack++
		}
	}
	return a.sent / 7, notice, attack
}

// usual is how many suspects are expected, over a week, as a share of a busy hour.
func (a *adversary) usual() (sum float64) {
	for _, r := range a.detector.baseline.week {
		sum += r[ofSuspects] / weekSlots
	}
	return sum / a.detector.busy
}

// TestAdversary prints how many attempts are left to those who stay below the limits or train the baseline, and checks
// bounds.
func TestAdversary(t *testing.T) {
	if underRace {
		t.Skip("is about figures, which the race detector does not change")
	}
	const weeks = 8
	var log strings.Builder
	fmt.Fprintf(&log, "20 logins a second; attempts a day in each of %d weeks\n", weeks)
	for _, c := range []struct {
		name   string
		margin float64
		hides  bool
		most   [2]float64 // attempts a day in the first week and in the last
	}{
		{"2.0 % above, learned from", 0.020, true, [2]float64{75_000, 240_000}},
		{"3.5 % above, hides", 0.035, true, [2]float64{50_000, 50_000}},
		{"6.0 % above", 0.060, false, [2]float64{130_000, 130_000}},
	} {
		a := newAdversary(c.margin, c.hides)
		before := a.usual()
		fmt.Fprintf(&log, "%-26s", c.name)
		noticed, told := 0, 0
		for week := range weeks {
			daily, notice, attack := a.week()
			noticed, told = noticed+notice, told+attack
			fmt.Fprintf(&log, " %7.0f", daily)
			if most := c.most[week/(weeks-1)]; daily > most && (week == 0 || week == weeks-1) {
				t.Errorf("%s: %.0f attempts a day in week %d, more than %.0f", c.name, daily, week+1, most)
			}
			if attack > 0 && c.hides {
				t.Errorf("%s: told of, in week %d", c.name, week+1)
			}
		}
		grown := a.usual() / before
		fmt.Fprintf(&log, "  usual x%.1f to %.1f %%, drift x%.1f, notice %.0f %%, alert %.0f %% of the time\n",
			grown, 100*a.usual(), a.detector.drift(), 100*float64(noticed)/(weeks*7*8640), 100*float64(told)/(weeks*7*8640))
		if grown > 4 { // 1.18^8 is 3.8
			t.Errorf("%s: taught it x%.1f", c.name, grown)
		}
	}
	t.Log(log.String())
}
