//go:build !race

package limiter_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/limiter"
)

// expectedDenials are what the study of the rules found for a bucket of 10/10m, answers after 300 ms, and any delay: denials
// within attackTimes.
var expectedDenials = map[int]string{1: "10/19/69", 2: "10/20/70", 3: "12/21/69", 5: "10/20/70", 8: "16/24/72"}

// slashed returns counts as in expectedDenials.
func slashed(counts []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(counts), "[]"), " ", "/")
}

// delays are those of the links that are simulated.
var delays = []struct {
	name string
	link link
}{
	{"20ms", link{delay: constant(20 * time.Millisecond), grace: acknowledgedAfter}},
	{"250ms", link{delay: constant(250 * time.Millisecond), grace: acknowledgedAfter}},
	{"2s", link{delay: constant(2 * time.Second), grace: acknowledgedAfter}},
	{"random to 2s", link{delay: random(2 * time.Second), grace: acknowledgedAfter}},
}

// TestSimulationGatewaysGreedy prints a table: how many guesses of a greedy attacker are denied within 5 s, 10 minutes and
// an hour.
func TestSimulationGatewaysGreedy(t *testing.T) {
	t.Parallel()
	rows := []string{}
	row := func(kind guessKind, delay string, l link, answer, lasts time.Duration) {
		columns := fmt.Sprintf("%s\t%s\t%v", kind.name, delay, answer)
		for _, n := range []int{1, 2, 3, 5, 8} {
			a := newGreedyAttack(t, n, kind, l, equal(answer))
			a.attackFor(lasts + 10*time.Second)
			columns += "\t" + slashed(a.require(t, 1, n-1))
		}
		rows = append(rows, columns+"\t")
	}
	columns := "expected\t\t300ms"
	for _, n := range []int{1, 2, 3, 5, 8} {
		columns += "\t" + expectedDenials[n]
	}
	rows = append(rows, columns+"\t")
	for _, kind := range guessKinds() {
		for i, d := range delays {
			lasts := 10 * time.Minute
			if i == len(delays)-1 {
				lasts = time.Hour
			}
			row(kind, d.name, d.link, 300*time.Millisecond, lasts)
		}
		row(kind, delays[0].name, delays[0].link, 50*time.Millisecond, 10*time.Minute)
		row(kind, delays[3].name, delays[3].link, 3*time.Second, 10*time.Minute)
	}
	logTable(t, "bucket\tdelay\tanswer\tN=1\tN=2\tN=3\tN=5\tN=8\t", rows)
}

// unevenMore is how many more guesses may be denied if answers or batches take longer than acknowledgedAfter at all gateways but one:
// each of them may hold its part of a full bucket while that one spends the whole.
func unevenMore(r limiter.Rate, n int) int {
	return max(n-1, r.Tokens-r.Tokens/n)
}

// TestSimulationGatewaysUneven prints a table: the same if the answers, or the batches, of one gateway are fast and those of
// the others slow.
func TestSimulationGatewaysUneven(t *testing.T) {
	t.Parallel()
	rows := []string{}
	firstFast := func(others time.Duration) func(gateway int) time.Duration {
		return func(gateway int) time.Duration {
			if gateway == 0 {
				return 50 * time.Millisecond
			}
			return others
		}
	}
	near := link{delay: constant(20 * time.Millisecond), grace: acknowledgedAfter}
	for _, kind := range guessKinds() {
		for _, o := range []struct {
			name    string
			link    link
			answers func(int) time.Duration
			more    func(r limiter.Rate, n int) int
		}{
			{"answers 50ms and 1.8s", near, firstFast(1800 * time.Millisecond), func(_ limiter.Rate, n int) int { return n - 1 }},
			{"batches 0s and 2s", link{delay: constant(2 * time.Second), uneven: true, grace: acknowledgedAfter}, equal(50 * time.Millisecond), func(_ limiter.Rate, n int) int { return n - 1 }},
			{"answers 50ms and 4s", near, firstFast(4 * time.Second), unevenMore},
			{"batches 0s and 4s", link{delay: constant(4 * time.Second), uneven: true, grace: acknowledgedAfter}, equal(50 * time.Millisecond), unevenMore},
			{"answers 50ms and 60s", near, firstFast(time.Minute), unevenMore},
			{"acknowledged at once", link{delay: random(2 * time.Second)}, equal(300 * time.Millisecond), unevenMore},
		} {
			row := kind.name + "\t" + o.name
			for _, n := range []int{1, 2, 3, 5, 8} {
				a := newGreedyAttack(t, n, kind, o.link, o.answers)
				a.attackFor(10*time.Minute + 10*time.Second)
				counts := a.require(t, 1, o.more(kind.limit, n))
				row += "\t" + slashed([]int{counts[0], a.most(time.Minute), counts[1]})
			}
			rows = append(rows, row+"\t")
		}
	}
	logTable(t, "bucket\tin 5s/1m/10m\tN=1\tN=2\tN=3\tN=5\tN=8\t", rows)
}

// TestSimulationGatewaysWithoutEngine prints a table: the same if the engine is gone from the start, or after two seconds;
// if it comes back after ten minutes; and if the gateways are divided into two halves, each with an engine, which is
// noticed after a minute.
func TestSimulationGatewaysWithoutEngine(t *testing.T) {
	t.Parallel()
	rows := []string{}
	for _, kind := range guessKinds() {
		for _, o := range []struct {
			name  string
			times int
			run   func(a *greedyAttack)
		}{
			{"gone from the start", 1, func(a *greedyAttack) {
				a.loseEngine()
				a.attackFor(time.Hour + 10*time.Second)
			}},
			{"gone after 2s", 1, func(a *greedyAttack) {
				a.at(a.now.Add(2*time.Second), a.loseEngine)
				a.attackFor(time.Hour + 10*time.Second)
			}},
			{"gone for 10m", 1, func(a *greedyAttack) {
				a.at(a.now.Add(time.Second), a.loseEngine)
				a.at(a.now.Add(10*time.Minute), a.findEngine)
				a.attackFor(time.Hour + 10*time.Second)
			}},
			{"two halves", 2, func(a *greedyAttack) {
				a.divide()
				a.at(a.now.Add(time.Minute), func() { a.share((len(a.gateways)+1)/2, false) })
				a.attackFor(time.Hour + 10*time.Second)
			}},
		} {
			row := kind.name + "\t" + o.name
			for _, n := range []int{2, 3, 8} {
				a := newGreedyAttack(t, n, kind, delays[0].link, equal(300*time.Millisecond))
				o.run(a)
				row += "\t" + slashed(a.require(t, o.times, n-1))
			}
			rows = append(rows, row+"\t")
		}
	}
	logTable(t, "bucket\tengine\tN=2\tN=3\tN=8\t", rows)
}

// An attacker who waits out every verdict, under the limits of the daemon, gets no more either.
func TestSimulationGatewaysPatientAttacker(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 8} {
		a := &greedyAttack{
			site: newSite(t, attackStart, n, policy(), delays[1].link),
			kind: guessKinds()[0], answers: equal(300 * time.Millisecond),
		}
		a.kind.limit = policy().Pair // the attacker has one address and one account
		for _, g := range a.gateways {
			for range 30 {
				a.patient(g)
			}
		}
		for end := a.now.Add(11 * time.Minute); a.now.Before(end); a.run(a.now.Add(25 * time.Millisecond)) {
			a.publish()
		}
		t.Logf("%d gateways: %s", n, slashed(a.require(t, 1, n-1)))
	}
}

// patient guesses at g, does what the verdicts say, and starts again with the next guess after each answer.
func (a *greedyAttack) patient(g *gateway) {
	k := new(limiter.Ticket)
	*k = g.Ask(a.now, a.guess())
	var act func(v limiter.Verdict)
	end := func(o limiter.Outcome, after time.Duration) {
		a.at(a.now.Add(after), func() {
			k.Settle(a.now, o)
			if o == limiter.Denied {
				a.denied = append(a.denied, a.now)
			}
			a.patient(g)
		})
	}
	act = func(v limiter.Verdict) {
		switch {
		case v.Action >= limiter.Repeat:
			end(limiter.Void, time.Second)
		case v.Again:
			a.at(a.now.Add(v.Wait), func() { act(k.Again(a.now)) })
		default:
			end(limiter.Denied, v.Wait+a.answers(g.number))
		}
	}
	act(k.Verdict())
}
