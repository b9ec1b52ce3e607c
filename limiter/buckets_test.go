package limiter

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"
)

// A gateway that has read the snapshots of another knows what it knows.
func TestBucketsAndMerge(t *testing.T) {
	for _, n := range []uint64{1, 2} {
		h := newHistory(t, n, defaultPolicy())
		for range 600 {
			h.step(300*time.Millisecond, 30, Denied, Denied, Accepted, Void)
		}
		h.finish(Void)
		joins := newLimiter(t, defaultPolicy())
		joins.SetSharing(start, Sharing{Gateways: 2})
		data := h.l.Buckets(h.now)
		for range 2 { // it is idempotent
			if err := joins.MergeBuckets(h.now, data); err != nil {
				t.Fatal(err)
			}
			if err := joins.MergeShared(h.now, h.l.Snapshot(h.now)); err != nil {
				t.Fatal(err)
			}
		}
		want := h.l.relative(h.now)
		for k, e := range want { // how often they have logged in is not shared
			if e.kind == kindUse {
				delete(want, k)
			}
		}
		got := joins.relative(h.now)
		for k := range want {
			if got[k] != want[k] {
				t.Errorf("entry\n\t%+v, want\n\t%+v", got[k], want[k])
			}
		}
		if len(got) != len(want) || len(want) < 50 {
			t.Errorf("%d entries, want %d", len(got), len(want))
		}
		if g, w := joins.Stats(h.now).Known, h.l.Stats(h.now).Known; g != w {
			t.Errorf("%d known accounts, want %d", g, w)
		}
		if !bytes.Equal(h.l.Buckets(h.now.Add(48*time.Hour)), newLimiter(t, policy()).Buckets(start)) {
			t.Error("something is spent after two days")
		}
	}
}

// A snapshot of buckets never lowers what is spent, and an old one adds nothing that has refilled.
func TestMergeBucketsTakesTheMost(t *testing.T) {
	all := newGateways(t, 2, sharedPolicy(10))
	a, b := all[0], all[1]
	for range 3 {
		a.run(t, "0s ask a 192.0.2.1")
		a.run(t, "0s denied a")
		a.Acknowledge(a.take())
	}
	b.run(t, "0s ask a 192.0.2.1")
	b.run(t, "0s denied a")
	b.Acknowledge(b.take())
	data, before := a.Buckets(at("0s")), b.Buckets(at("0s"))
	for _, s := range []struct {
		data []byte
		want string
	}{{before, "wait 2s source"}, {data, "wait 8s source"}, {before, "wait 8s source"}} {
		if err := b.MergeBuckets(at("0s"), s.data); err != nil {
			t.Fatal(err)
		}
		b.run(t, "1s ask b 192.0.2.1 = "+s.want)
		b.run(t, "1s void b")
	}
	fresh := newGateways(t, 2, sharedPolicy(10))[0]
	if err := fresh.MergeBuckets(at("0s"), data); err != nil {
		t.Fatal(err)
	}
	fresh.run(t, "4m ask b 192.0.2.1 = pass none")
}

func TestMergeBucketsRefusesDamage(t *testing.T) {
	h := newHistory(t, 1, defaultPolicy())
	for range 50 {
		h.step(time.Second, 30, Denied)
	}
	data := h.l.Buckets(h.now)
	wrong := [][]byte{nil, {}, data[:len(bucketsMagic)-1], data[:len(bucketsMagic)], data[:len(data)-1], append(slices.Clone(data), 0), bytes.Replace(data, []byte("buckets 1"), []byte("buckets 2"), 1)}
	for _, b := range wrong {
		l := newLimiter(t, defaultPolicy())
		if err := l.MergeBuckets(start, b); err == nil || l.table.used.Load() != 0 {
			t.Errorf("%d octets: error %v, %d entries", len(b), err, l.table.used.Load())
		}
	}
}

// A snapshot of the known, of another gateway, reaches the former process of an upgrade, and no other gateway.
func TestMergeSharedIsNotPublishedToGateways(t *testing.T) {
	former, next := handOverScript(t, defaultPolicy(), "", "0s")
	denials, known := next.ShareFeeds()
	other := runScript(t, defaultPolicy(), `
		0s  ask a 192.0.2.1 u/x
		0s  accepted a
		0s  ask b 192.0.2.1 v/x
		0s  accepted b
	`)
	next.SetSharing(at("0s"), Sharing{Gateways: 2})
	next.ForgetAccount(at("0s"), "v")
	known.Take(math.MaxInt)
	if err := next.MergeShared(at("1s"), other.Snapshot(at("1s"))); err != nil {
		t.Fatal(err)
	}
	deliver(t, at("1s"), former.own, next.own)
	for _, l := range []*Limiter{former.Limiter, next.Limiter} {
		if n := l.Stats(at("1s")).Known; n != 1 {
			t.Errorf("%d known accounts, want 1: v was forgotten", n)
		}
	}
	if denials.Take(1000) != nil || known.Take(1000) != nil {
		t.Error("the snapshot is published to gateways")
	}
	if err := next.Merge(at("2s"), other.Snapshot(at("1s"))); err != nil {
		t.Fatal(err)
	}
	var ops []op
	if err := eachEvent(known.Take(1000), func(e *event) { ops = append(ops, e.op) }); err != nil || !slices.Equal(ops, []op{opSince}) {
		t.Errorf("got %v, %v", ops, err)
	}
}

func TestRetiredIgnoresOtherGateways(t *testing.T) {
	all := newGateways(t, 2, defaultPolicy())
	a, b := all[0], all[1]
	a.run(t, `
		0s  ask a 192.0.2.1 u/x
		0s  denied a
		0s  ask a 192.0.2.2 v/x
		0s  accepted a
	`)
	b.run(t, `
		0s  ask a 192.0.2.1 u/y
		0s  denied a
	`)
	b.Retire()
	for _, err := range []error{
		b.ApplyShared(at("0s"), a.take()), b.MergeBuckets(at("0s"), a.Buckets(at("0s"))), b.MergeShared(at("0s"), a.Snapshot(at("0s"))),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if s := b.Stats(at("0s")); s.Known != 0 || b.table.used.Load() != 0 || len(b.table.shards[0].own) != 0 {
		t.Errorf("got %+v, %d entries", s, b.table.used.Load())
	}
}

// sharedEvents returns events of each op that gateways publish.
func sharedEvents(t testing.TB) (events, buckets []byte) {
	l, feed := fuzzed(t)
	defer feed.Close()
	_ = eachEvent(feed.Take(1<<20), func(e *event) {
		events = append(events, e.encoded(nil, true)...)
	})
	return events, l.Buckets(start)
}

// Any events of another gateway are refused as a whole or can be applied, in one mode or the other, and leave nothing
// open and all entries idle after a long time.
func FuzzApplyShared(f *testing.F) {
	events, _ := sharedEvents(f)
	f.Add(events, false, int64(0))
	e := event{op: opSettled, kind: kindPair, key: key{1, 2}, growth: 3, flags: spentDenial | spentLook | isNear}
	f.Add(e.appendTo(nil), true, int64(time.Hour))
	f.Fuzz(func(t *testing.T, events []byte, alone bool, ago int64) {
		l := newLimiter(t, defaultPolicy())
		l.SetSharing(start, Sharing{Gateways: 3, Alone: alone})
		denials, known := l.ShareFeeds()
		former := l.Feed()
		err := l.ApplyShared(start.Add(-time.Duration(ago)), events)
		if err != nil && (l.table.used.Load() != 0 || l.known.count.Load() != 0) {
			t.Fatalf("something was applied in spite of %v", err)
		}
		l.Acknowledge(events)
		if denials.Take(math.MaxInt) != nil || known.Take(math.MaxInt) != nil {
			t.Fatal("published to gateways")
		}
		if err := newLimiter(t, defaultPolicy()).Apply(start, 1, former.Take(math.MaxInt)); err != nil {
			t.Fatalf("a sibling: %v", err)
		}
		checkTable(t, &l.table, 2*l.rules.Load().TableMax)
		if o := l.openEverywhere(); o != (open{}) {
			t.Fatalf("%+v is open", o)
		}
		if err := newLimiter(t, defaultPolicy()).MergeBuckets(start, l.Buckets(start)); err != nil {
			t.Fatal(err)
		}
	})
}

// Any snapshot is refused as a whole, or can be merged; a snapshot of that can be merged again and changes nothing.
func FuzzMergeBuckets(f *testing.F) {
	_, buckets := sharedEvents(f)
	f.Add(buckets[len(bucketsMagic):])
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		l := newLimiter(t, defaultPolicy())
		l.SetSharing(start, Sharing{Gateways: 3})
		if err := l.MergeBuckets(start, append([]byte(bucketsMagic), body...)); err != nil {
			if l.table.used.Load() != 0 {
				t.Fatalf("something was merged in spite of %v", err)
			}
			return
		}
		checkTable(t, &l.table, 2*l.rules.Load().TableMax)
		if o := l.openEverywhere(); o != (open{}) {
			t.Fatalf("%+v is open", o)
		}
		again := newLimiter(t, defaultPolicy())
		again.SetSharing(start, Sharing{Gateways: 3})
		if err := again.MergeBuckets(start, l.Buckets(start)); err != nil {
			t.Fatal(err)
		}
		requireSame(t, start, again, l)
		h := history{l: l}
		h.checkAllIdle(t, start.Add(10*24*time.Hour))
	})
}
