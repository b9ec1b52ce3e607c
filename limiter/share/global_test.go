package share

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A testSite is a number of gateways that send each other heartbeats over a bus.
type testSite struct {
	at      time.Time
	members []*Members
	demand  []Heartbeat
	joined  []time.Time
	// deliver says after how long a heartbeat of gateway from reaches gateway to; never if that is negative.
	deliver func(from, to int) time.Duration
	due     map[int64][]testBeat // by time
	newest  map[[2]int]time.Time // sent by one and received by another
}

// A testBeat is a heartbeat on its way.
type testBeat struct {
	from, to int
	sent     time.Time
	h        Heartbeat
}

func newTestSite(n int) *testSite {
	s := &testSite{at: begin, due: map[int64][]testBeat{}, newest: map[[2]int]time.Time{}}
	s.deliver = func(int, int) time.Duration { return 20 * time.Millisecond }
	for range n {
		s.join()
	}
	return s
}

// name returns the name of gateway i.
func (s *testSite) name(i int) string { return fmt.Sprint("g", i) }

// join adds a gateway, which has read the heartbeats of the last minute.
func (s *testSite) join() {
	i := len(s.members)
	m := NewMembers(s.name(i), boot(byte(i)))
	if i > 0 {
		for _, e := range s.members[0].List() {
			m.Heartbeat(e.Seen, e.Gateway, e.Boot, e.Heartbeat)
		}
	}
	s.members, s.demand, s.joined = append(s.members, m), append(s.demand, Heartbeat{}), append(s.joined, s.at)
}

// step lets 100 ms pass. Each gateway sends once a second, not all at once.
func (s *testSite) step() {
	s.at = s.at.Add(100 * time.Millisecond)
	tenth := s.at.Sub(begin).Milliseconds() / 100
	for i, m := range s.members {
		if (tenth+int64(i))%10 == 0 {
			h, err := ParseHeartbeat(m.Announce(s.at, s.demand[i]).Data)
			if err != nil {
				panic(err)
			}
			for to := range s.members {
				if d := s.deliver(i, to); d >= 0 {
					arrives := s.at.Add(d).Sub(begin).Milliseconds()/100 + 1
					s.due[arrives] = append(s.due[arrives], testBeat{i, to, s.at, h})
				}
			}
		}
	}
	for _, b := range s.due[tenth] {
		if key := [2]int{b.from, b.to}; b.sent.After(s.newest[key]) { // a receiver refuses what is overtaken
			s.newest[key] = b.sent
			s.members[b.to].Heartbeat(b.sent, s.name(b.from), boot(byte(b.from)), b.h)
		}
	}
	delete(s.due, tenth)
}

// run lets so many seconds pass.
func (s *testSite) run(seconds int) {
	for range 10 * seconds {
		s.step()
	}
}

// sum returns the sum of all parts.
func (s *testSite) sum() (sum float64) {
	for _, m := range s.members {
		sum += m.Global(s.at)
	}
	return sum
}

func (s *testSite) want(t *testing.T, when string, parts ...float64) {
	t.Helper()
	for i, want := range parts {
		if got := s.members[i].Global(s.at); !(math.Abs(got-want) <= 0.005) {
			t.Errorf("%s: part %.3f of gateway %d, want %.3f", when, got, i, want)
		}
	}
}

func TestPartsFollowDemand(t *testing.T) {
	s := newTestSite(1)
	s.want(t, "at first", 1)
	s.demand[0] = Heartbeat{Known: 10, Strangers: 10}
	s.run(10)
	s.want(t, "one gateway", 1)
	s.join()
	s.want(t, "at the start of the second", 1, 0.25)
	s.run(1)
	s.want(t, "when the first has seen it", 0.75, 0.25)
	s.run(10)
	s.want(t, "without demand at the second", 0.75, 0.25)
	s.demand[1] = Heartbeat{Known: 10, Strangers: 10}
	s.run(2)
	s.want(t, "at once after more demand", 0.5, 0.25)
	s.run(4)
	s.want(t, "when it has lasted", 0.5, 0.5)
	s.demand[0] = Heartbeat{}
	s.run(2)
	s.want(t, "at once after less demand", 0.25, 0.75)
	s.demand[1] = Heartbeat{}
	s.run(6)
	s.want(t, "without any demand", 0.5, 0.5)
}

// TestAttackAtOneGatewayLeavesTheKnownTheirs: strangers without number at one gateway take a quarter of what depends on
// demand.
func TestAttackAtOneGatewayLeavesTheKnownTheirs(t *testing.T) {
	s := newTestSite(2)
	s.demand = []Heartbeat{{Known: 1, Strangers: 5000}, {Known: 59, Strangers: 3}}
	s.run(10)
	s.want(t, "under attack", 0.25+0.5*(0.75/60+0.25), 0.25+0.5*0.75*59/60)
}

// TestSilentMemberBoundsParts: the demand of a member that is not seen is not known.
func TestSilentMemberBoundsParts(t *testing.T) {
	s := newTestSite(2)
	s.demand = []Heartbeat{{Known: 30}, {}}
	s.run(10)
	s.want(t, "both seen", 0.75, 0.25)
	s.deliver = func(from, _ int) time.Duration {
		if from == 1 {
			return -1
		}
		return 0
	}
	s.run(5)
	s.want(t, "one is silent", 0.5)
	s.run(70)
	s.want(t, "it has left", 1)
}

// TestPartOfAGatewayThatNobodySees: it does not grow until 4 s after the others could see it.
func TestPartOfAGatewayThatNobodySees(t *testing.T) {
	s := newTestSite(2)
	s.demand = []Heartbeat{{Known: 10}, {Known: 1}}
	unseen := true
	s.deliver = func(from, _ int) time.Duration {
		if from == 1 && unseen {
			return -1
		}
		return 20 * time.Millisecond
	}
	s.run(20)
	s.want(t, "not seen", 1, 0.25)
	unseen = false
	s.run(3)
	s.want(t, "seen for 3 s", 0.25+0.5*10/11, 0.25)
	s.run(3)
	s.want(t, "seen for 6 s", 0.25+0.5*10/11, 0.25+0.5/11)
}

// TestSumOfPartsIsOneAtMost: with heartbeats that are delayed by up to three seconds, and lost as long as each gateway
// sees each other in time, and demands that change all the time.
func TestSumOfPartsIsOneAtMost(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		n := 2 + rng.IntN(5)
		s := newTestSite(n)
		s.run(10)
		s.deliver = func(from, to int) time.Duration {
			// The next heartbeat is lost only if the newest that has arrived is new enough, and each delay is so that it
			// arrives before the one before it is too old.
			switch age := s.at.Sub(s.newest[[2]int{from, to}]); {
			case age <= 1100*time.Millisecond && rng.IntN(2) == 0:
				return -1
			default:
				return time.Duration(rng.Int64N(int64(max(seenTime-age-200*time.Millisecond, 1))))
			}
		}
		for range 600 {
			s.changeDemand(rng)
			s.step()
			if sum := s.sum(); !(sum <= 1+1e-9) {
				t.Fatalf("seed %d: the parts of %d gateways are %v together, %v after the begin", seed, n, sum, s.at.Sub(begin))
			}
		}
	}
}

// TestSumOfPartsIsBounded: with any delay and loss for less than a minute, and gateways that join, it is less than one and
// a half and what those have that nobody knows yet.
func TestSumOfPartsIsBounded(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := newTestSite(1 + rng.IntN(4))
		s.run(10)
		loss := rng.IntN(100)
		s.deliver = func(int, int) time.Duration {
			if rng.IntN(100) < loss {
				return -1
			}
			return time.Duration(rng.Int64N(int64(8 * time.Second)))
		}
		for i := range 400 {
			if i%100 == 99 && len(s.members) < 7 {
				s.join()
			}
			s.changeDemand(rng)
			s.step()
			bound := 1.5
			for j := range s.members {
				for to := range s.members {
					if s.newest[[2]int{j, to}].IsZero() && j != to { // to counts too few gateways
						bound += 1 / float64(s.members[to].Count())
					}
				}
			}
			if sum := s.sum(); !(sum <= bound+1e-9) {
				t.Fatalf("seed %d: the parts are %v together, want at most %v", seed, sum, bound)
			}
		}
	}
}

// changeDemand changes the demand of some gateway, sometimes to nothing.
func (s *testSite) changeDemand(rng *rand.Rand) {
	i := rng.IntN(len(s.demand))
	switch rng.IntN(4) {
	case 0:
		s.demand[i] = Heartbeat{}
	case 1:
		s.demand[i] = Heartbeat{Known: rng.Float64() * 100}
	case 2:
		s.demand[i] = Heartbeat{Strangers: rng.Float64() * 10000}
	case 3:
		s.demand[i] = Heartbeat{Known: rng.Float64() * 100, Strangers: rng.Float64() * 100}
	}
}

// TestJoinIsBounded: while a gateway joins, and the others see it within the usual time, the sum exceeds one by its 1/2N
// for as long at most.
func TestJoinIsBounded(t *testing.T) {
	s := newTestSite(3)
	s.demand = []Heartbeat{{Known: 30}, {Known: 20}, {Known: 5}}
	s.run(20)
	s.join()
	over := 0
	for range 200 {
		s.step()
		sum := s.sum()
		if sum > 1+1e-9 {
			over++
		}
		if sum > 1+1./8 {
			t.Errorf("the parts are %v together", sum)
		}
	}
	if over > 12 {
		t.Errorf("more than 1 for %d00 ms", over)
	}
}
