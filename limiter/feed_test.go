package limiter

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestApplyRefusesDamagedEvents(t *testing.T) {
	former, next := handOverScript(t, defaultPolicy(), "", "0s")
	former.run(t, `
		0s  connect v 192.0.2.1
		0s  ask a 192.0.2.1 u/x
		0s  denied a
	`)
	events := former.own.feeds[next.own].Take(math.MaxInt)
	var wrong [][]byte
	for _, b := range []byte{0, byte(opCount), 255} {
		wrong = append(wrong, append(slices.Clone(events), 1, b))
	}
	wrong = append(wrong, events[:len(events)-1], append(slices.Clone(events), 200, 200, 200), append(slices.Clone(events), 2, byte(opGlobal), 0))
	for _, b := range wrong {
		if err := next.Apply(at("0s"), 1, b); err == nil {
			t.Errorf("%x: no error", b)
		}
		if n := next.table.used.Load(); n != 0 {
			t.Fatalf("%x: %d entries", b, n)
		}
	}
	if err := next.Apply(at("0s"), 1, events); err != nil {
		t.Error(err)
	}
	requireSame(t, at("0s"), next.Limiter, former.Limiter)
}

func TestTakeReturnsWholeEvents(t *testing.T) {
	former, next := handOverScript(t, policy(), "", "0s")
	f := former.own.feeds[next.own]
	select {
	case <-f.Ready():
		t.Error("ready without an event")
	default:
	}
	for i := range 100 {
		former.run(t, fmt.Sprintf("0s connect v 192.0.2.%d", i+1))
	}
	batches, total := 0, 0
	for {
		<-f.Ready() // as long as there are events
		b := f.Take(100)
		if len(b) == 0 || len(b) > 100 {
			t.Fatalf("got %d octets", len(b))
		}
		if err := eachEvent(b, func(*event) { total++ }); err != nil {
			t.Fatal(err)
		}
		if batches++; total == 100 {
			break
		}
	}
	if batches < 20 || f.Take(100) != nil {
		t.Errorf("%d batches", batches)
	}
	former.run(t, "0s connect v 192.0.2.101")
	if b := f.Take(1); len(b) == 0 {
		t.Error("an event longer than what was asked for stays for ever")
	}
}

func TestFeedOverflows(t *testing.T) {
	l := newLimiter(t, policy())
	f := l.Feed()
	e := event{op: opMerged, record: make([]byte, 400)}
	for i := 0; !f.Overflowed(); i++ {
		if l.publish(&e); i > feedMax/400 {
			t.Fatal("no end")
		}
	}
	if b := f.Take(100); b != nil {
		t.Errorf("got %d octets", len(b))
	}
	l.publish(&e)
	if b := f.Take(100); b != nil || !f.Overflowed() {
		t.Errorf("got %d octets after an overflow", len(b))
	}
	f.Close()
}
