package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// host returns the i-th address of the test networks: 250 to a /24.
func host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i / 250 / 256), byte(i / 250), byte(i%250 + 1)})
}

// checkTable fails if what the table says of itself does not agree.
func checkTable(t *testing.T, tb *table, limit int) {
	t.Helper()
	if len(tb.ring) > limit {
		t.Fatalf("%d entries, at most %d are allowed", len(tb.ring), limit)
	}
	if len(tb.entries) != len(tb.ring) || tb.count[ofSource]+tb.count[ofNetwork] != len(tb.ring) {
		t.Fatalf("map %d, ring %d, counted %v", len(tb.entries), len(tb.ring), tb.count)
	}
	for _, e := range tb.ring {
		if tb.entries[e.key] != e {
			t.Fatalf("%v is in the ring and not in the map", e.key)
		}
	}
}

func TestRefilledEntriesAreDropped(t *testing.T) {
	p, tb := policy(), newTable()
	p.TableMax = 100
	for i := range p.TableMax {
		tb.find(start, keyOf(ofSource, host(i)), &p).denials.spend(start, p.Source)
	}
	full := at("1m") // the token each spent has come back
	for i := range p.TableMax {
		e := tb.find(full, keyOf(ofSource, host(1000+i)), &p)
		if e == nil {
			t.Fatalf("no room for newcomer %d among refilled entries", i)
		}
		e.denials.holds++
		checkTable(t, &tb, p.TableMax)
	}
	for i := range p.TableMax {
		if tb.entries[keyOf(ofSource, host(i))] != nil {
			t.Errorf("%v is still there", host(i))
		}
	}
}

func TestTableShrinksAfterAFlood(t *testing.T) {
	p, tb := policy(), newTable()
	for i := range p.TableMax {
		tb.find(start, keyOf(ofSource, host(i)), &p).denials.spend(start, p.Source)
	}
	for i := range p.TableMax / 2 {
		tb.find(at("1m"), keyOf(ofSource, host(p.TableMax+i)), &p)
	}
	if n := len(tb.ring); n > sweepSteps {
		t.Errorf("%d entries left of a flood that is over", n)
	}
	checkTable(t, &tb, p.TableMax)
}

func TestLiveEntriesAreKept(t *testing.T) {
	uses := map[string]func(*entry, Policy){
		"spent":     func(e *entry, p Policy) { e.denials.spend(start, p.Source) },
		"connected": func(e *entry, p Policy) { e.connects.spend(start, p.Connect) },
		"held":      func(e *entry, _ Policy) { e.denials.holds++ },
		"open":      func(e *entry, _ Policy) { e.open++ },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			p, tb := policy(), newTable()
			p.TableMax = 10
			kept := tb.find(start, keyOf(ofSource, host(0)), &p)
			use(kept, p)
			for i := range 1000 {
				tb.find(start, keyOf(ofNetwork, host(250*i)), &p)
				checkTable(t, &tb, p.TableMax)
			}
			if tb.find(start, kept.key, &p) != kept {
				t.Error("dropped")
			}
		})
	}
}

func TestFullTableHasNoRoom(t *testing.T) {
	p, tb := policy(), newTable()
	p.TableMax = 10
	for i := range p.TableMax {
		tb.find(start, keyOf(ofSource, host(i)), &p).open++
	}
	for i := range 100 {
		if tb.find(start, keyOf(ofSource, host(10+i)), &p) != nil {
			t.Fatal("an entry beyond the last")
		}
	}
	first := tb.entries[keyOf(ofSource, host(0))]
	if tb.find(start, first.key, &p) != first {
		t.Error("a full table loses its own")
	}
	first.open--
	found := false
	for range p.TableMax {
		found = found || tb.find(start, keyOf(ofSource, host(10)), &p) != nil
	}
	if !found {
		t.Error("the room that came free is not found")
	}
	checkTable(t, &tb, p.TableMax)
}

func TestOverflowByFamily(t *testing.T) {
	tb := newTable()
	four, six := tb.overflow(netip.MustParseAddr("192.0.2.1")), tb.overflow(netip.MustParseAddr("2001:db8::1"))
	if four == six {
		t.Error("both families share one entry")
	}
	if tb.overflow(netip.MustParseAddr("::ffff:192.0.2.1")) != four || tb.overflow(netip.Addr{}) != six {
		t.Error("mapped or invalid addresses are in the wrong family")
	}
	if four.key.kind != ofNetwork || six.key.kind != ofNetwork {
		t.Error("the overflow is judged as a source")
	}
}

// fill makes every entry of l's table one in use, and returns the visits that see to it.
func fill(l *Limiter, t time.Time) []*Visit {
	var visits []*Visit
	for i := 0; l.Stats(t).Sources < l.policy.TableMax; i++ {
		v, _ := l.Connect(t, netip.MustParseAddr(fmt.Sprintf("172.16.%d.%d", i/250, i%250+1)))
		visits = append(visits, v)
	}
	return visits
}

func TestFullTableShares(t *testing.T) {
	p := policy()
	p.TableMax, p.Global = 10, Rate{}
	l := newLimiter(t, p)
	visits := fill(l, start)

	// New sources come from anywhere, fail 40 times more often than one source may, and nobody is locked out.
	for i := range 400 {
		v, verdict := l.Connect(start, host(i*250))
		if verdict != pass || v.entry != l.table.overflow(host(0)) {
			t.Fatalf("connect %d: %v", i, verdict)
		}
		k := l.Ask(start, Attempt{Addr: host(i * 250)})
		if k.Verdict().Action == Refuse {
			t.Fatalf("ask %d: %v", i, k.Verdict())
		}
		k.Settle(start, Denied)
		visits = append(visits, v)
		checkTable(t, &l.table, p.TableMax)
	}
	k := l.Ask(start, Attempt{Addr: host(7)})
	if want := waiting(RuleNetwork, p.WaitMax); k.Verdict() != want {
		t.Errorf("verdict %v, want %v", k.Verdict(), want)
	}
	if shared := l.Stats(start).Shared; shared != 401 {
		t.Errorf("%d attempts shared, want 401", shared)
	}

	// What was taken is given back to where it was taken, whatever has room by then.
	for _, v := range visits {
		v.Leave(at("1s"))
	}
	later := l.Ask(at("1h"), Attempt{Addr: host(7)})
	if later.held[ofSource] == nil {
		t.Error("no entry for a source though there is room again")
	}
	k.Settle(at("1h"), Denied)
	later.Settle(at("1h"), Void)
	four := l.table.overflow(host(7))
	if four.open != 0 || four.prelogin != 0 || four.denials.holds != 0 || four.denials.spent(at("1h"), p.Network) != 1 {
		t.Errorf("the shared entry ends as %+v", four)
	}
}

func TestSharingPrefersTheNetwork(t *testing.T) {
	p := policy()
	p.TableMax = 2
	l := newLimiter(t, p)
	k := l.Ask(start, Attempt{Addr: host(0)}) // takes both places: a source and its network
	other := l.Ask(start, Attempt{Addr: host(1)})
	if other.held[ofSource] != nil || other.held[ofNetwork] != k.held[ofNetwork] {
		t.Error("a neighbour without room is not charged to its network")
	}
	v, _ := l.Connect(start, host(2))
	if v.entry != k.held[ofNetwork] {
		t.Error("a neighbour's visit is not counted with its network")
	}
	v.LoggedIn(start)
	if again, _ := l.Connect(start, host(2)); again.Belongs() {
		t.Error("a visit belongs because of someone in its network")
	}
}

// An attempt takes two entries. With one place left, the second must not push the first out.
func TestFindingTheNetworkKeepsTheSource(t *testing.T) {
	p := policy()
	for p.TableMax = 1; p.TableMax < 5; p.TableMax++ {
		l := newLimiter(t, p)
		for i := range 100 {
			k := l.Ask(start, Attempt{Addr: host(i * 250)})
			if e := k.held[ofSource]; e == nil || l.table.entries[e.key] != e {
				t.Fatalf("TableMax %d: the source of attempt %d is not in the table", p.TableMax, i)
			}
			k.Settle(start, Void)
		}
	}
}
