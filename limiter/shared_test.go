package limiter

import (
	"math"
	"slices"
	"testing"
	"time"
)

// What is accepted or denied at one gateway is known at all.
func TestKnownAtOneGatewayIsKnownAtAll(t *testing.T) {
	all := newGateways(t, 3, defaultPolicy())
	all[0].run(t, `
		0s  ask a 192.0.2.1 u/x@d+
		0s  accepted a
	`)
	exchange(t, "0s", all...)
	for _, g := range all[1:] {
		g.run(t, `
			1s  ask b 192.0.2.1 u/x    = pass none
			1s  ask c 203.0.113.1 u/x  = pass none
			1s  ask d 203.0.113.2 u@d+ = pass none
		`)
		for _, name := range []string{"b", "c", "d"} {
			if !g.tickets[name].Verdict().Known {
				t.Errorf("%s is a stranger", name)
			}
		}
	}
	for _, other := range all[1:] {
		requireSameKnown(t, at("1s"), other.Limiter, all[0].Limiter)
	}
	if b := all[1].take(); len(b) != 0 {
		t.Errorf("events of another gateway are published again: %x", b)
	}
}

// A credential that was denied is not known again because of a login before, however late that is reported. Nor is an
// account that was forgotten.
func TestLateAcceptancesDoNotUndoDenials(t *testing.T) {
	p := defaultPolicy()
	all := newGateways(t, 2, p)
	a, b := all[0], all[1]
	a.run(t, `
		0s  ask k 192.0.2.1 u/y
		0s  accepted k
		1s  ask k 192.0.2.1 u/x
		1s  accepted k
		1s  ask k 192.0.2.1 v/x
		1s  accepted k
	`)
	exchange(t, "1s", all...)
	a.run(t, `
		2s  ask k 198.51.100.1 u/y
		2s  accepted k
		2s  ask l 198.51.100.1 v/x
		2s  accepted l
	`)
	late := a.take()
	b.run(t, `
		3s  ask k 192.0.2.1 u/y
		3s  denied k
		3s  forget v    = true
	`)
	if err := b.ApplyShared(at("2s"), late); err != nil {
		t.Fatal(err)
	}
	b.run(t, `
		4s  ask k 203.0.113.1 u/y
		4s  ask l 198.51.100.1 v/x
	`)
	if k := b.tickets["k"]; k.Verdict().Known || !k.Traits().Former {
		t.Errorf("got %+v, %+v", k.Verdict(), k.Traits())
	}
	if k := b.tickets["l"]; k.Verdict().Known {
		t.Errorf("got %+v", k.Verdict())
	}
	a.run(t, `
		5s  ask k 203.0.113.9 u/y
		5s  accepted k
	`)
	if err := b.ApplyShared(at("5s"), a.take()); err != nil {
		t.Fatal(err)
	}
	b.run(t, "6s  ask k 203.0.113.7 u/y")
	if !b.tickets["k"].Verdict().Known {
		t.Error("a credential that was accepted later is not known")
	}
}

// A login clears its pair at all gateways. What was denied before does not count if it is reported later; what was
// denied after it does.
func TestClearsByTime(t *testing.T) {
	p := defaultPolicy()
	p.Source, p.Network, p.Account = Rate{}, Rate{}, Rate{}
	p.Pair = Rate{3, 3 * time.Minute}
	for _, tc := range []struct {
		name   string
		denied string // by the first gateway
		order  string // in which the second one applies denials and the clear
		want   string
	}{
		{"in order", "1s", "dc", "pass none"},
		{"late denial", "1s", "cd", "pass none"},
		{"denied after the clear", "4s", "cd", "wait 2s pair"},
		{"late clear", "4s", "dc", "wait 2s pair"},
		{"late clear, soon after", "3.5s", "dc", "wait 2s pair"},
	} {
		all := newGateways(t, 3, p)
		first, second, third := all[0], all[1], all[2]
		for _, g := range all { // so that each has the pair
			g.run(t, `
				0s  ask z 192.0.2.1 u/0
				0s  denied z
			`)
			g.take()
			g.table.forgetOwn()
		}
		first.run(t, tc.denied+" ask a 192.0.2.1 u/1")
		first.run(t, tc.denied+" denied a")
		third.run(t, `
			3s  ask a 192.0.2.1 u/x
			3s  accepted a
		`)
		events := map[rune][]byte{'d': first.take(), 'c': third.known.Take(math.MaxInt)}
		for _, e := range tc.order {
			if err := second.ApplyShared(at(map[rune]string{'d': tc.denied, 'c': "3s"}[e]), events[e]); err != nil {
				t.Fatal(err)
			}
		}
		t.Log(tc.name)
		second.run(t, "5s ask b 192.0.2.1 u/2 = "+tc.want)
	}
}

// Operations at an earlier time than the latest never lower what is spent, nor the end of a penalty or a repeat.
func TestEarlierTimesLowerNothing(t *testing.T) {
	p := defaultPolicy()
	all := newGateways(t, 2, p)
	a, b := all[0], all[1]
	a.run(t, `
		0s  ask a 192.0.2.1 u/1
		0s  denied a
		0s  ask b 192.0.2.1 u/2
		0s  denied b
	`)
	early := a.take()
	b.run(t, `
		40s  ask a 192.0.2.1 u/1
		40s  denied a
	`)
	before := b.relative(at("41s"))
	if err := b.ApplyShared(start, early); err != nil {
		t.Fatal(err)
	}
	for k, was := range before {
		is := b.relative(at("41s"))[k]
		if is.denials < was.denials || is.looks < was.looks || is.connects < was.connects || is.penaltyUntil < was.penaltyUntil {
			t.Errorf("got\n\t%+v, before\n\t%+v", is, was)
		}
	}
	b.run(t, `
		59s  ask c 192.0.2.1 u/2  = repeat 8s repeat
		62s  ask d 192.0.2.1 u/1  = repeat 8s repeat
	`)
}

// An event of a later version is skipped, and so is what gateways do not share.
func TestUnknownSharedEventsAreSkipped(t *testing.T) {
	p := sharedPolicy(10)
	all := newGateways(t, 2, p)
	a, b := all[0], all[1]
	a.run(t, `
		0s  ask a 192.0.2.1
		0s  denied a
	`)
	known := a.take()
	held := event{op: opHeld, kind: kindSource, key: key{1, 2}, flags: heldDenial}
	opened := event{op: opOpened, kind: kindSource, key: key{1, 2}, growth: 1, flags: spentDenial}
	events := slices.Concat([]byte{3, byte(opCount), 1, 2}, held.appendTo(nil), known, []byte{1, 255}, opened.appendTo(nil), []byte{2, byte(opCleared), 200})
	if err := b.ApplyShared(start, events); err != nil {
		t.Fatal(err)
	}
	requireSame(t, at("1s"), b.Limiter, a.Limiter)
	if o := b.openEverywhere(); o != (open{}) {
		t.Errorf("%+v is open", o)
	}
	for _, damaged := range [][]byte{events[:len(events)-1], append(slices.Clone(events), 0xff)} {
		if err := b.ApplyShared(start, damaged); err == nil {
			t.Error("no error for damaged events")
		}
	}
	requireSame(t, at("1s"), b.Limiter, a.Limiter)
}

// The new process of an upgrade publishes for both to other gateways, and what these did to the former one.
func TestUpgradeOfOneOfSeveralGateways(t *testing.T) {
	p := sharedPolicy(4)
	former, next := handOverScript(t, p, `
		0s  ask a 192.0.2.1  = pass none
		0s  ask b 192.0.2.2  = pass none
		0s  denied b
	`, "1s")
	other := newGateways(t, 2, p)[1]
	ownDenials, ownKnown := next.ShareFeeds()
	gateway := gatewayRunner{next.scriptRunner, ownDenials, ownKnown}
	gateway.setSharing("1s", Sharing{Gateways: 2})
	former.SetSharing(at("1s"), Sharing{Gateways: 2})
	former.run(t, "2s denied a")
	deliver(t, at("2s"), former.own, next.own)
	if o := next.inside(kindSource, Source(host(0))); o.holds != 0 {
		t.Error("a hold remains")
	}
	events := gateway.take()
	if err := other.ApplyShared(at("2s"), events); err != nil {
		t.Fatal(err)
	}
	other.run(t, `
		3s  ask a 192.0.2.1  = wait 2s source
		3s  denied a
	`)
	key := next.hasher.block(kindSource, Source(next.attempt("192.0.2.1", "").Addr))
	if n := next.table.shard(key).own[key].unacknowledgedDenials; n != 1 {
		t.Errorf("%d denials of the former process are unacknowledged, want 1", n)
	}
	next.Acknowledge(events)
	if n := len(next.table.shard(key).own); n != 0 {
		t.Errorf("%d are unacknowledged after the acknowledgement", n)
	}
	if err := next.ApplyShared(at("3s"), other.take()); err != nil {
		t.Fatal(err)
	}
	deliver(t, at("3s"), former.own, next.own)
	for _, g := range []siblingRunner{former, next} {
		g.run(t, `
			4s  ask c 192.0.2.1  = wait 4s source
			4s  void c
		`)
		deliver(t, at("4s"), former.own, next.own)
	}
	if b := gateway.take(); len(b) != 0 {
		t.Errorf("what another gateway did is published to gateways: %x", b)
	}
}

// From an export on, the former process records nothing for other gateways, and what it has recorded can be taken.
func TestExportEndsTheFeedsForGateways(t *testing.T) {
	g := newGateways(t, 2, sharedPolicy(10))[0]
	g.run(t, `
		0s  ask a 192.0.2.1
		0s  ask b 192.0.2.1
		0s  denied a
	`)
	_, feed := g.Export(at("1s"))
	defer feed.Close()
	g.run(t, "1s denied b")
	if n := 0; eachEvent(g.take(), func(*event) { n++ }) != nil || n != 1 {
		t.Errorf("%d events for gateways, want 1", n)
	}
	if b := feed.Take(math.MaxInt); len(b) == 0 {
		t.Error("no event for the sibling")
	}
	g.denials.Close()
	g.denials, g.known = g.ShareFeeds() // the hand-over has failed
	g.run(t, `
		2s  ask c 192.0.2.1
		2s  denied c
	`)
	if b := g.take(); len(b) == 0 {
		t.Error("no event for gateways after they were asked for again")
	}
}

// A feed for gateways that nobody takes from loses old events, not new ones.
func TestSharedFeedOverflows(t *testing.T) {
	l := newLimiter(t, policy())
	denials, known := l.ShareFeeds()
	for n := uint64(1); !denials.Overflowed(); n++ {
		l.publish(&event{op: opReleased, kind: kindPair, key: key{n, n}})
		if n > sharedFeedMax {
			t.Fatal("no end")
		}
	}
	l.publish(&event{op: opReleased, kind: kindPair, key: key{1, 1}})
	n := 0
	if err := eachEvent(denials.Take(math.MaxInt), func(*event) { n++ }); err != nil || n != 2 {
		t.Errorf("%d events, %v; want 2", n, err)
	}
	if known.Overflowed() || known.Take(1000) != nil {
		t.Error("the feed of the known has recorded denials")
	}
}

// A login from a new place counts in the usage of its account at all gateways, so that a stolen account goes before users
// only once.
func TestLoginFromNewPlaceCountsInUsageEverywhere(t *testing.T) {
	all := newGateways(t, 2, defaultPolicy())
	a, b := all[0], all[1]
	a.run(t, `
		0s  ask a 192.0.2.1 u/x
		0s  accepted a
	`)
	exchange(t, "0s", all...)
	account := b.hasher.account("u")
	if used := b.Limiter.known.usage(account); used != 0 {
		t.Errorf("usage %v after the first login, want 0", used)
	}
	a.run(t, `
		1s  ask a 198.51.100.1 u/x
		1s  enter a
		1s  accepted a
	`)
	exchange(t, "1s", all...)
	if got, want := b.Limiter.known.usage(account), a.Limiter.known.usage(account); got == 0 || got != want {
		t.Errorf("usage %v at the other gateway, want %v", got, want)
	}
}

// Clears of pairs without an entry are kept for a bounded number of them, and for a bounded time.
func TestClearsWithoutEntryAreBounded(t *testing.T) {
	l := newGateways(t, 2, defaultPolicy())[0].Limiter
	r, now := l.rules.Load(), l.epoch.ticks(start)
	count := func() (n int) {
		for i := range l.table.shards {
			n += len(l.table.shards[i].cleared)
		}
		return n
	}
	for i := range uint64(3 * clearsMax) {
		l.noteClear(now, r, key{i, i + 100}, kindPair)
	}
	if n := count(); n != clearsMax {
		t.Errorf("%d clears are kept, want %d", n, clearsMax)
	}
	for i := range uint64(3 * clearsMax) {
		l.noteClear(now.add(clearTime), r, key{i, i + 100_000}, kindPair)
	}
	expired := 0
	for i := range l.table.shards {
		for _, at := range l.table.shards[i].cleared {
			if at <= now {
				expired++
			}
		}
	}
	if expired > clearsMax/10 { // a few are checked with each addition
		t.Errorf("%d of %d clears are kept for longer than clearTime while there are others", expired, clearsMax)
	}
	if l.noteClear(now, r, key{}, kindPair); count() > clearsMax {
		t.Errorf("%d clears are kept, want at most %d", count(), clearsMax)
	}
}
