//go:build !race

package incident

import (
	"math/rand/v2"
	"testing"
	"time"

	"postern/limiter/watch"
)

// TestSimulationRandomStates observes states and executes commands at random. After every event Replay gives the same incidents, and
// at most one incident is open.
func TestSimulationRandomStates(t *testing.T) {
	t.Parallel()
	states := []watch.State{normal, normal, noticed, attack, notServed, backendsFail, backendsDown, knownDenied, both}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		d := newLogTest(t)
		for range 60 {
			s := states[r.IntN(len(states))]
			d.feed(s, time.Duration(1+r.IntN(400))*tick)
			if r.IntN(4) == 0 {
				a := Actions()[r.IntN(len(Actions()))]
				made, err := d.log.Do(d.now, Command{Action: a, By: "kari", Text: "why", Class: watch.Classes()[r.IntN(len(watch.Classes()))]})
				if err == nil {
					d.checkReplay(made)
				}
			}
			open := 0
			for _, i := range d.log.All() {
				if i.Phase.Open() {
					open++
				}
			}
			if open > 1 {
				t.Fatalf("%d incidents are open", open)
			}
		}
	}
}
