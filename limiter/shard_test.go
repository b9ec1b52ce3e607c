package limiter

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// host returns the i-th address of the test networks: 250 to a /24.
func host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i / 250 / 256), byte(i / 250), byte(i%250 + 1)})
}

// checkTable fails if what the table says of itself does not agree, or if an entry cannot be found.
func checkTable(t testing.TB, tb *table, limit int) {
	t.Helper()
	used := 0
	for i := range tb.shards {
		s := &tb.shards[i]
		full, counted := 0, 0
		for j := range s.slots {
			if e := &s.slots[j]; e.kind != nothing {
				full++
				if s.find(e.key) != e || tb.shard(e.key) != s {
					t.Fatalf("%v is there and cannot be found", e.key)
				}
			}
		}
		for _, n := range s.count {
			counted += n
		}
		if s.used != full || counted != full {
			t.Fatalf("%d slots are full, %d used, %d counted", full, s.used, counted)
		}
		used += full
	}
	if int(tb.used.Load()) != used || used > limit {
		t.Fatalf("%d entries, %d used, at most %d are allowed", used, tb.used.Load(), limit)
	}
}

// A shard is a map: whatever is added, dropped and swept, in slots that collide on purpose.
func TestShardIsAMap(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var s shard
		want := map[key]uint32{}
		for range 2000 {
			k := key{uint64(rnd.IntN(60)), uint64(rnd.IntN(5))}
			e := s.find(k)
			if n, ok := want[k]; ok != (e != nil) || ok && e.open != n {
				t.Fatalf("seed %d: %v: found %v, want %v", seed, k, e, n)
			}
			switch {
			case e == nil:
				s.add(k, ofSource).open = rnd.Uint32N(2)
			case rnd.IntN(2) == 0:
				e.open = 1 - e.open
			}
			if rnd.IntN(3) == 0 {
				s.sweep(0, false)
			}
			want = map[key]uint32{}
			for i := range s.slots {
				if e := &s.slots[i]; e.kind != nothing {
					want[e.key] = e.open
				}
			}
			if len(want) != s.used {
				t.Fatalf("seed %d: %d entries, %d used: one is there twice", seed, len(want), s.used)
			}
		}
	}
}

func TestEntryIsSmall(t *testing.T) {
	const most = 200 // octets that one may cost, all in
	var s shard
	worst := 0.0
	for i := range 10_000 {
		s.add(scattered(0, i), ofSource)
		if i > 100 {
			worst = max(worst, float64(len(s.slots))/float64(s.used))
		}
	}
	if size := worst * 56; size > most {
		t.Errorf("an entry takes up to %.0f octets", size)
	}
}

// scattered returns the i-th key of some set, which lies anywhere, as keys do.
func scattered(set, i int) key {
	return hasher{}.sum([]byte{byte(set), byte(i >> 8), byte(i)})
}

// live makes e one in use until d after start.
func live(e *entry, d time.Duration) {
	e.denials = bucket(now("0s").add(d))
}

func TestRefilledEntriesAreDropped(t *testing.T) {
	for _, limit := range []int{100, 10_000} { // in one part, and in many
		var tb table
		tb.init(limit)
		for i := range limit {
			e, mu := tb.take(now("0s"), hasher{}.block(ofSource, Source(host(i))), ofSource, limit)
			live(e, time.Minute)
			mu.Unlock()
		}
		checkTable(t, &tb, limit)
		if e, _ := tb.take(now("59s"), key{1, 1}, ofSource, limit); e != nil {
			t.Fatal("a full table has room")
		}
		homeless := 0
		for i := range limit {
			e, mu := tb.take(now("1m"), hasher{}.block(ofSource, Source(host(limit+i))), ofSource, limit)
			if e == nil {
				homeless++
				continue
			}
			e.holds++
			mu.Unlock()
		}
		checkTable(t, &tb, limit)
		if homeless > limit/100 {
			t.Errorf("%d of %d newcomers find no room among refilled entries", homeless, limit)
		}
	}
}

func TestTableIsEmptiedAfterAFlood(t *testing.T) {
	const flood = 1000
	var tb table
	tb.init(flood)
	for i := range flood {
		e, mu := tb.take(now("0s"), scattered(1, i), ofSource, flood)
		live(e, time.Minute)
		mu.Unlock()
	}
	for i := range flood / 2 {
		_, mu := tb.take(now("1m"), scattered(2, i), ofNetwork, flood)
		mu.Unlock()
	}
	for i := range flood {
		if e, _ := tb.find(scattered(1, i)); e != nil {
			t.Fatalf("entry %d is left of a flood that is over", i)
		}
	}
	checkTable(t, &tb, flood)
}

func TestLiveEntriesAreKept(t *testing.T) {
	uses := map[string]func(*entry){
		"spent":     func(e *entry) { live(e, time.Hour) },
		"connected": func(e *entry) { e.connects = bucket(now("1h")) },
		"held":      func(e *entry) { e.holds++ },
		"open":      func(e *entry) { e.open++ },
		"stained":   func(e *entry) { e.penaltyUntil = now("1h") },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			var tb table
			tb.init(10)
			kept := key{7, 7}
			e, mu := tb.take(now("0s"), kept, ofSource, 10)
			use(e)
			mu.Unlock()
			for i := range 1000 {
				_, mu := tb.take(now("0s"), scattered(1, i), ofNetwork, 10)
				mu.Unlock()
				checkTable(t, &tb, 10)
			}
			if e, _ := tb.find(kept); e == nil {
				t.Error("dropped")
			}
		})
	}
}

// What is only stained makes room when there is none, and one at a time: so it is remembered for as long as can be.
func TestStainsMakeRoom(t *testing.T) {
	var tb table
	tb.init(100)
	for i := range 100 {
		e, mu := tb.take(now("0s"), scattered(1, i), ofSource, 100)
		e.penaltyUntil = now("1h")
		mu.Unlock()
	}
	for i := range 50 {
		e, mu := tb.take(now("0s"), scattered(2, i), ofSource, 100)
		if e == nil {
			t.Fatal("no room among stains")
		}
		live(e, time.Hour)
		mu.Unlock()
	}
	checkTable(t, &tb, 100)
	stains := 0
	for i := range 100 {
		if e, mu := tb.find(scattered(1, i)); e != nil {
			stains++
			mu.Unlock()
		}
	}
	if stains != 50 {
		t.Errorf("%d stains left, want 50", stains)
	}
}

func TestOverflowByFamily(t *testing.T) {
	var tb table
	tb.init(1)
	of := func(addr netip.Addr) *entry {
		e, mu := tb.overflow(addr)
		mu.Unlock()
		return e
	}
	four, six := of(netip.MustParseAddr("192.0.2.1")), of(netip.MustParseAddr("2001:db8::1"))
	if four == six || of(netip.Addr{}) != six {
		t.Error("the families share one entry, or the invalid address has none")
	}
	for _, e := range []*entry{four, six} {
		if e.kind != ofNetwork {
			t.Error("the overflow is judged as a source")
		}
		if found, mu := tb.find(e.key); found != e {
			t.Error("the overflow cannot be found again")
		} else {
			mu.Unlock()
		}
	}
}
