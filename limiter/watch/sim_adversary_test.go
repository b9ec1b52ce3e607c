//go:build !race

package watch

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// An adversary knows everything: the formulas, the limits, and what the watch expects in each tick. They send what is
// expected and a margin, at all hours. The package documentation has the results.
type adversary struct {
	*simulation
	margin float64 // above what is expected, as a share of a busy hour
	pauses bool    // during a notice
	sent   float64
}

// newAdversary returns an adversary that begins now, at the end of what was learned.
func newAdversary(learned *simulation, margin float64, pauses bool) *adversary {
	a := &adversary{simulation: learned.fork(), margin: margin, pauses: pauses}
	a.events = []event{{a.now, func(_ *simulation, _ time.Duration, p *load) {
		if d := a.detector; !d.notice.on || !a.pauses {
			p.attack = max(0, d.expected[ofSuspects]+a.margin*d.busy-p.bots)
			a.sent += p.attack
		}
	}}}
	return a
}

// week simulates a week. It returns the attempts a day, and the number of ticks with a notice and with an attack.
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

// expectedShare returns the suspects expected, over a week, as a share of a busy hour.
func (a *adversary) expectedShare() (sum float64) {
	for _, r := range a.detector.baseline.week {
		sum += r[ofSuspects] / weekQuarters
	}
	return sum / a.detector.busy
}

// TestSimulationAdversary prints the attempts that are left to adversaries who stay below the limits or train the
// baseline, and checks bounds.
func TestSimulationAdversary(t *testing.T) {
	t.Parallel()
	learned := newSimulation(5, 20, monday, oslo)
	for learned.now.Before(monday.AddDate(0, 0, 21)) {
		learned.tick()
	}
	for _, c := range []struct {
		name   string
		margin float64
		pauses bool
		most   [2]float64 // attempts a day in the first week and in the last
	}{
		{"2.0 % above, learned from", 0.020, true, [2]float64{75_000, 240_000}},
		{"3.5 % above, pauses", 0.035, true, [2]float64{50_000, 50_000}},
		{"6.0 % above", 0.060, false, [2]float64{130_000, 130_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			newAdversary(learned, c.margin, c.pauses).run(t, c.most)
		})
	}
}

// run simulates eight weeks. It checks the attempts a day in the first week and in the last.
func (a *adversary) run(t *testing.T, most [2]float64) {
	const weeks = 8
	var log strings.Builder
	before := a.expectedShare()
	notices, attacks := 0, 0
	for week := range weeks {
		daily, notice, attack := a.week()
		notices, attacks = notices+notice, attacks+attack
		fmt.Fprintf(&log, " %7.0f", daily)
		if most := most[week/(weeks-1)]; daily > most && (week == 0 || week == weeks-1) {
			t.Errorf("week %d: got %.0f attempts a day, want at most %.0f", week+1, daily, most)
		}
		if attack > 0 && a.pauses {
			t.Errorf("week %d: got an alert", week+1)
		}
	}
	grown := a.expectedShare() / before
	t.Logf("20 logins a second; attempts a day in each of %d weeks%s; expected x%.1f to %.1f %%, drift x%.1f, notice %.0f %%, alert %.0f %% of the time",
		weeks, &log, grown, 100*a.expectedShare(), a.detector.drift(), 100*float64(notices)/(weeks*7*8640), 100*float64(attacks)/(weeks*7*8640))
	if grown > 4 { // 1.18^8 is 3.8
		t.Errorf("the baseline was trained by x%.1f", grown)
	}
}

// TestSimulationDrift: drift shows that the baseline was trained.
func TestSimulationDrift(t *testing.T) {
	t.Parallel()
	b := newDetectorTest(t)
	if b.feed(usual, 14*24*time.Hour); b.detector.drift() != 0 {
		t.Errorf("drift of %v before four weeks", b.detector.drift())
	}
	b.feed(usual, 28*24*time.Hour)
	if d := b.detector.drift(); math.Abs(d-1) > 0.01 {
		t.Errorf("drift of %v in quiet weeks", d)
	}
	if s := b.feed(strangers(4), 28*24*time.Hour); s.Drift < 1.5 || s.Class != ClassNormal {
		t.Errorf("after four weeks with twice the suspects: %+v", s)
	}
}
