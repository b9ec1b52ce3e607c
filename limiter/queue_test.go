package limiter

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// priority returns the priority of class c and flow i.
func priority(c class, i int) Priority {
	return Priority{class: c, flow: key{1, uint64(i)}}
}

func TestQueueKnownFirstThenNetworksInRotation(t *testing.T) {
	var q Queue[string]
	var entries = map[string]*Entry[string]{}
	for _, name := range []string{"a1", "a2", "a3", "b1", "K1", "c1", "b2", "K2", "a4", "c2"} {
		p := priority(classUnpenalized, int(name[0]))
		if name[0] == 'K' {
			p = Priority{}
		}
		entries[name] = q.Push(p, name)
	}
	if !q.Remove(entries["a2"]) || q.Remove(entries["a2"]) || q.Len() != 9 {
		t.Errorf("%d left after removing one twice, want 9", q.Len())
	}
	var got []string
	for v, ok := q.Pop(); ok; v, ok = q.Pop() {
		got = append(got, v)
	}
	if want := "K1 K2 a1 b1 c1 a3 b2 c2 a4"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if flows := len(q.classes[classUnpenalized].flows); q.Remove(entries["K1"]) || q.Len() != 0 || flows != 0 {
		t.Errorf("an empty queue has %d entries in %d flows", q.Len(), flows)
	}
}

// However many entries one flow has, at most one of them is popped in each round of the others.
func TestQueueIsFair(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var q Queue[int]
		waiting := map[int]int{}
		for range 200 {
			flow := rnd.IntN(10)
			flow *= rnd.IntN(2) // half of all are in one flow
			q.Push(priority(classUnpenalized, flow), flow)
			waiting[flow]++
		}
		for len(waiting) > 0 {
			var round []int
			for range len(waiting) {
				v, _ := q.Pop()
				round = append(round, v)
			}
			slices.Sort(round)
			if len(slices.Compact(round)) != len(waiting) {
				t.Fatalf("got %v in one round, with %v waiting", round, waiting)
			}
			for _, flow := range round {
				if waiting[flow]--; waiting[flow] == 0 {
					delete(waiting, flow)
				}
			}
		}
	}
}

// Every class of strangers gets its share, and the share of an empty class goes to the first class that is not empty.
func TestQueueScheduleOfStrangers(t *testing.T) {
	for _, tc := range []struct{ waiting, want string }{
		{"PPPPPPPPPPCCCCCCCCCCSSSSSSSSSS", "PPCPPPCPSPPPCPCCCCSCCCSSSSSSSS"},
		{"CCCCCCCCSSS", "CCCCCCCCSSS"},
		{"KSKCKP", "KKKPCS"},
	} {
		var q Queue[rune]
		for i, name := range tc.waiting {
			q.Push(priority(map[rune]class{'K': classKnown, 'P': classReturning, 'C': classUnpenalized, 'S': classPenalized}[name], i), name)
		}
		var got []rune
		for v, ok := q.Pop(); ok; v, ok = q.Pop() {
			got = append(got, v)
		}
		if string(got) != tc.want {
			t.Errorf("%s: got %s, want %s", tc.waiting, string(got), tc.want)
		}
	}
}

// At most about as many entries are popped before a new one as ahead estimates, if none is pushed after it.
func TestQueueAheadIsABound(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		var q Queue[int]
		for range rnd.IntN(100) {
			q.Push(priority(class(rnd.IntN(int(classCount))), rnd.IntN(10)), 0)
		}
		p := priority(class(rnd.IntN(int(classCount))), rnd.IntN(12))
		ahead := q.ahead(p)
		q.Push(p, 1)
		for n := 0; ; n++ {
			if v, _ := q.Pop(); v == 1 {
				if most := ahead + ahead/2 + len(schedule); n > most {
					t.Errorf("seed %d: %d were popped before %+v, estimated %d", seed, n, p, ahead)
				}
				break
			}
		}
	}
}
