package limiter

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The unacknowledged are bounded. Beyond that, all other buckets wait for them.
func TestUnacknowledgedAreBounded(t *testing.T) {
	l := newLimiter(t, policy())
	now := l.epoch.ticks(start)
	for n := range uint64(ownMax + 1000) {
		l.table.addUnacknowledged(now, key{0, n + 10}, spentDenial, 1)
	}
	s := &l.table.shards[0]
	if len(s.own) != ownMax || s.rest.unacknowledgedDenials != 1000 {
		t.Fatalf("%d buckets, %d others", len(s.own), s.rest.unacknowledgedDenials)
	}
	r := &rules{gateways: 2}
	if o := l.own(now, &entry{key: key{0, 1}, kind: kindSource}, r); o.unacknowledgedDenials != 1000 {
		t.Errorf("%d at another bucket", o.unacknowledgedDenials)
	}
	for n := range uint64(ownMax + 2000) {
		l.table.addUnacknowledged(0, key{0, n + 10}, spentDenial, -1)
	}
	if len(s.own) != 0 || s.rest.unacknowledgedDenials != 0 {
		t.Fatalf("%d buckets, %d others after all were acknowledged", len(s.own), s.rest.unacknowledgedDenials)
	}
	for n := range uint64(2 * ownMax) { // those that are never acknowledged make room
		l.table.addUnacknowledged(now.add(time.Duration(n)*time.Millisecond), key{0, n + 10}, spentDenial|spentLook, 1)
	}
	if len(s.own) > 30_000 {
		t.Errorf("%d buckets", len(s.own))
	}
}

// While a gateway is alone and has no room to count its part, its denials count as many times as there are gateways.
func TestAloneIsBounded(t *testing.T) {
	g := newGateways(t, 5, sharedPolicy(10))[0]
	g.setSharing("0s", Sharing{Gateways: 5, Alone: true})
	s := &g.table.shards[0]
	for n := range uint64(ownMax) {
		s.setOwn(key{0, n}, ownCounts{aloneDenials: bucket(maxTicks)})
	}
	g.run(t, `
		0s   ask a 192.0.2.1  = pass none
		0s   denied a
		1s   ask b 192.0.2.1  = wait 2s source
		1s   denied b
		2s   ask c 192.0.2.1  = refuse source
	`)
	if len(s.own) != ownMax {
		t.Errorf("%d buckets", len(s.own))
	}
}

// All calls of several gateways run concurrently, for the race detector.
func TestConcurrentSharing(t *testing.T) {
	p := defaultPolicy()
	p.TableMax = 200
	all := newGateways(t, 2, p)
	var clock atomic.Int64
	now := func() time.Time { return start.Add(time.Duration(clock.Add(int64(time.Millisecond)))) }
	var wg sync.WaitGroup
	for i, g := range all {
		other := all[1-i]
		for n := range 3 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(n), 5))
				for range 300 {
					client(g.Limiter, now, rnd)
				}
			})
		}
		wg.Go(func() {
			for n := range 200 {
				g.SetSharing(now(), Sharing{Gateways: 1 + n%4, Alone: n%3 == 0, Global: 0.5})
				b := g.take()
				if err := other.ApplyShared(now().Add(-50*time.Millisecond), b); err != nil {
					t.Error(err)
				}
				g.Acknowledge(b)
				if n%20 == 0 {
					if err := other.MergeBuckets(now(), g.Buckets(now())); err != nil {
						t.Error(err)
					}
					if err := other.MergeShared(now(), g.Snapshot(now())); err != nil {
						t.Error(err)
					}
				}
				g.Entered()
			}
		})
	}
	wg.Wait()
	for _, g := range all {
		if o := g.openEverywhere(); o != (open{}) {
			t.Errorf("%+v is open", o)
		}
		h := history{l: g.Limiter}
		h.checkAllIdle(t, now().Add(48*time.Hour))
	}
}
