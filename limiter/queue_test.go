package limiter

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// order returns the order of a login in words: "known", or the number of its host.
func order(known bool, i int) Order {
	return Order{known: known, line: keyOf(ofNetwork, host(i))}
}

func TestQueueKnownFirstThenNetworksInTurn(t *testing.T) {
	var q Queue[string]
	var places = map[string]*Place[string]{}
	for _, who := range []string{"a1", "a2", "a3", "b1", "K1", "c1", "b2", "K2", "a4", "c2"} {
		o := order(who[0] == 'K', 256*int(who[0]))
		places[who] = q.Push(o, who)
	}
	if !q.Remove(places["a2"]) || q.Remove(places["a2"]) || q.Len() != 9 {
		t.Errorf("removing once and again left %d", q.Len())
	}
	var got []string
	for v, ok := q.Pop(); ok; v, ok = q.Pop() {
		got = append(got, v)
	}
	if want := "K1 K2 a1 b1 c1 a3 b2 c2 a4"; strings.Join(got, " ") != want {
		t.Errorf("they went %v, want %v", got, want)
	}
	if q.Remove(places["K1"]) || q.Len() != 0 || len(q.lines) != 0 {
		t.Errorf("an empty queue holds %d in %d lines", q.Len(), len(q.lines))
	}
}

// However many wait in one line, nobody waits for more than one of them per turn of the others.
func TestQueueIsFair(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var q Queue[int]
		waiting := map[int]int{}
		for range 200 {
			line := rnd.IntN(10)
			line *= rnd.IntN(2) // half of all are in one line
			q.Push(order(false, 256*line), line)
			waiting[line]++
		}
		for len(waiting) > 0 {
			var round []int
			for range len(waiting) {
				v, _ := q.Pop()
				round = append(round, v)
			}
			slices.Sort(round)
			if len(slices.Compact(round)) != len(waiting) {
				t.Fatalf("%v took a turn, with %v waiting", round, waiting)
			}
			for _, line := range round {
				if waiting[line]--; waiting[line] == 0 {
					delete(waiting, line)
				}
			}
		}
	}
}
