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

// checkTable fails if the counters of the table are wrong, if an entry cannot be found, or if there are more than
// limit.
func checkTable(t testing.TB, tb *table, limit int) {
	t.Helper()
	used := 0
	for i := range tb.shards {
		s := &tb.shards[i]
		full, counted := 0, 0
		for j := range s.entries {
			if e := &s.entries[j]; e.kind != kindNone {
				full++
				if s.find(e.key) != e || tb.shard(e.key) != s {
					t.Fatalf("%v is in the table and cannot be found", e.key)
				}
			}
		}
		for _, n := range s.count {
			counted += n
		}
		if s.used != full || counted != full {
			t.Fatalf("got %d entries in use, %d used, %d counted", full, s.used, counted)
		}
		used += full
	}
	if int(tb.used.Load()) != used || used > limit {
		t.Fatalf("got %d entries, %d used, want at most %d", used, tb.used.Load(), limit)
	}
}

// A shard behaves like a map under additions, drops and sweeps, with keys that collide on purpose.
func TestShardBehavesLikeAMap(t *testing.T) {
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
				s.add(k, kindSource).open = rnd.Uint32N(2)
			case rnd.IntN(2) == 0:
				e.open = 1 - e.open
			}
			if rnd.IntN(3) == 0 {
				s.sweep(0, false)
			}
			want = map[key]uint32{}
			for i := range s.entries {
				if e := &s.entries[i]; e.kind != kindNone {
					want[e.key] = e.open
				}
			}
			if len(want) != s.used {
				t.Fatalf("seed %d: %d entries, %d used: one is stored twice", seed, len(want), s.used)
			}
		}
	}
}

func TestEntryIsSmall(t *testing.T) {
	const most = 200 // octets of an entry and of the free space beside it
	var s shard
	worst := 0.0
	for i := range 10_000 {
		s.add(scattered(0, i), kindSource)
		if i > 100 {
			worst = max(worst, float64(len(s.entries))/float64(s.used))
		}
	}
	if size := worst * 56; size > most {
		t.Errorf("an entry takes up to %.0f octets", size)
	}
}

// scattered returns the i-th key of a set, anywhere in the table, as real keys are.
func scattered(set, i int) key {
	return hasher{}.sum([]byte{byte(set), byte(i >> 8), byte(i)})
}

// live makes e not idle until d after start.
func live(e *entry, d time.Duration) {
	e.denials = bucket(now("0s").add(d))
}

func TestRefilledEntriesAreDropped(t *testing.T) {
	for _, limit := range []int{100, 10_000} { // one shard, and many
		var tb table
		tb.init(limit)
		for i := range limit {
			e, mu := tb.findOrAdd(now("0s"), hasher{}.block(kindSource, Source(host(i))), kindSource, limit)
			live(e, time.Minute)
			mu.Unlock()
		}
		checkTable(t, &tb, limit)
		if e, _ := tb.findOrAdd(now("59s"), key{1, 1}, kindSource, limit); e != nil {
			t.Fatal("got an entry of a full table, want nil")
		}
		rejected := 0
		for i := range limit {
			e, mu := tb.findOrAdd(now("1m"), hasher{}.block(kindSource, Source(host(limit+i))), kindSource, limit)
			if e == nil {
				rejected++
				continue
			}
			e.holds++
			mu.Unlock()
		}
		checkTable(t, &tb, limit)
		if rejected > limit/100 {
			t.Errorf("%d of %d new sources got no entry among refilled ones", rejected, limit)
		}
	}
}

func TestTableEmptiesAfterAFlood(t *testing.T) {
	const flood = 1000
	var tb table
	tb.init(flood)
	for i := range flood {
		e, mu := tb.findOrAdd(now("0s"), scattered(1, i), kindSource, flood)
		live(e, time.Minute)
		mu.Unlock()
	}
	for i := range flood / 2 {
		_, mu := tb.findOrAdd(now("1m"), scattered(2, i), kindNetwork, flood)
		mu.Unlock()
	}
	for i := range flood {
		if e, _ := tb.find(scattered(1, i)); e != nil {
			t.Fatalf("entry %d of the flood is still there", i)
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
		"penalized": func(e *entry) { e.penaltyUntil = now("1h") },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			var tb table
			tb.init(10)
			kept := key{7, 7}
			e, mu := tb.findOrAdd(now("0s"), kept, kindSource, 10)
			use(e)
			mu.Unlock()
			for i := range 1000 {
				_, mu := tb.findOrAdd(now("0s"), scattered(1, i), kindNetwork, 10)
				mu.Unlock()
				checkTable(t, &tb, 10)
			}
			if e, _ := tb.find(kept); e == nil {
				t.Error("dropped")
			}
		})
	}
}

// An entry with only a penalty is dropped if the table is full, one at a time, so that penalties last as long as
// possible.
func TestPenaltiesMakeRoom(t *testing.T) {
	var tb table
	tb.init(100)
	for i := range 100 {
		e, mu := tb.findOrAdd(now("0s"), scattered(1, i), kindSource, 100)
		e.penaltyUntil = now("1h")
		mu.Unlock()
	}
	for i := range 50 {
		e, mu := tb.findOrAdd(now("0s"), scattered(2, i), kindSource, 100)
		if e == nil {
			t.Fatal("got no entry among those with only a penalty")
		}
		live(e, time.Hour)
		mu.Unlock()
	}
	checkTable(t, &tb, 100)
	left := 0
	for i := range 100 {
		if e, mu := tb.find(scattered(1, i)); e != nil {
			left++
			mu.Unlock()
		}
	}
	if left != 50 {
		t.Errorf("%d penalties left, want 50", left)
	}
}

func TestSharedEntryByFamily(t *testing.T) {
	var tb table
	tb.init(1)
	of := func(addr netip.Addr) *entry {
		e, mu := tb.findSharedByFamily(addr)
		mu.Unlock()
		return e
	}
	four, six := of(netip.MustParseAddr("192.0.2.1")), of(netip.MustParseAddr("2001:db8::1"))
	if four == six || of(netip.Addr{}) != six {
		t.Error("got one entry for both families, or none for the invalid address")
	}
	for _, e := range []*entry{four, six} {
		if e.kind != kindNetwork {
			t.Error("the shared entry is not of kind network")
		}
		if found, mu := tb.find(e.key); found != e {
			t.Error("the shared entry cannot be found again")
		} else {
			mu.Unlock()
		}
	}
}
