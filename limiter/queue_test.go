package limiter

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// order returns the order of class c and line i.
func order(c class, i int) Priority {
	return Priority{class: c, flow: key{1, uint64(i)}}
}

func TestQueueKnownFirstThenNetworksInTurn(t *testing.T) {
	var q Queue[string]
	var places = map[string]*Entry[string]{}
	for _, who := range []string{"a1", "a2", "a3", "b1", "K1", "c1", "b2", "K2", "a4", "c2"} {
		o := order(unpenalized, int(who[0]))
		if who[0] == 'K' {
			o = Priority{}
		}
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
	if lines := len(q.ranks[unpenalized].flows); q.Remove(places["K1"]) || q.Len() != 0 || lines != 0 {
		t.Errorf("an empty queue holds %d in %d lines", q.Len(), lines)
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
			q.Push(order(unpenalized, line), line)
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

// Every class of strangers gets its turns, and those of a class that nobody is in go to the first that there is.
func TestQueueTurnsOfStrangers(t *testing.T) {
	for _, tc := range []struct{ waiting, want string }{
		{"PPPPPPPPPPCCCCCCCCCCSSSSSSSSSS", "PPCPPCPSPPCPPCPSCCCCCCSSSSSSSS"},
		{"CCCCCCCCSSS", "CCCCCCCSCSS"},
		{"KSKCKP", "KKKPCS"},
	} {
		var q Queue[rune]
		for i, who := range tc.waiting {
			q.Push(order(map[rune]class{'K': priorityKnown, 'P': returning, 'C': unpenalized, 'S': penalized}[who], i), who)
		}
		var got []rune
		for v, ok := q.Pop(); ok; v, ok = q.Pop() {
			got = append(got, v)
		}
		if string(got) != tc.want {
			t.Errorf("%s went %s, want %s", tc.waiting, string(got), tc.want)
		}
	}
}

// Nobody who comes when others wait goes later than it is told, if nobody comes after it.
func TestQueueAhead(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		var q Queue[int]
		for range rnd.IntN(100) {
			q.Push(order(class(rnd.IntN(int(classes))), rnd.IntN(10)), 0)
		}
		o := order(class(rnd.IntN(int(classes))), rnd.IntN(12))
		ahead := q.ahead(o)
		q.Push(o, 1)
		for n := 0; ; n++ {
			if v, _ := q.Pop(); v == 1 {
				if most := ahead + ahead/2 + len(schedule); n > most {
					t.Errorf("seed %d: %d went before %+v, it was told %d", seed, n, o, ahead)
				}
				break
			}
		}
	}
}
