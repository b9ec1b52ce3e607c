package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"postern/limiter"
)

// TestTarpitCounts has a random crowd come and go, and compares with counts kept
// by hand.
func TestTarpitCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	limits := TarpitLimits{Source: 2, Network: 4, Total: 9}
	pit := tarpit{limits: limits}
	var inside []netip.Addr
	among := func(block func(netip.Addr) netip.Prefix, addr netip.Addr) (n int) {
		for _, g := range inside {
			if block(g) == block(addr) {
				n++
			}
		}
		return n
	}
	refused := map[bool]int{}
	for range 20_000 {
		if len(inside) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(inside))
			pit.leave(inside[i], false)
			inside = append(inside[:i], inside[i+1:]...)
		}
		addr := netip.MustParseAddr(fmt.Sprintf([]string{"203.0.%d.%d", "2001:db8:%d:%d::1"}[r.IntN(2)], r.IntN(3), r.IntN(3)))
		ok := pit.enter(addr, false)
		room := len(inside) < limits.Total && among(limiter.Source, addr) < limits.Source && among(limiter.Network, addr) < limits.Network
		if refused[!ok]++; ok != room {
			t.Fatalf("with %d inside, enter says %t", len(inside), ok)
		}
		if ok {
			inside = append(inside, addr)
		}
		if pit.size() != len(inside) {
			t.Fatalf("%d inside, size is %d", len(inside), pit.size())
		}
	}
	if refused[true] < 1000 || refused[false] < 1000 {
		t.Errorf("refused and let in: %v", refused)
	}
	for _, g := range inside {
		pit.leave(g, false)
	}
	if len(pit.waiting) != 0 || pit.size() != 0 {
		t.Errorf("empty, it remembers %v", pit.waiting)
	}
}

// Without limits there is always a place.
func TestTarpitWithoutLimits(t *testing.T) {
	var pit tarpit
	for range 10_000 {
		if !pit.enter(clientIP, false) {
			t.Fatal("there is no place")
		}
	}
}

func TestTarpitIsSafeForMany(t *testing.T) {
	pit := tarpit{limits: TarpitLimits{Total: 5}}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if pit.enter(clientIP, false) {
					pit.leave(clientIP, false)
				}
				if n := pit.size(); n > 5 {
					t.Errorf("%d are inside", n)
				}
			}
		})
	}
	all.Wait()
	if pit.size() != 0 || len(pit.waiting) != 0 {
		t.Errorf("%d are left", pit.size())
	}
}
