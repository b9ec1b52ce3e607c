package watch

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"
)

// TestSnapshotTakenUp: a watch that was restored goes on as the one it was taken from.
func TestSnapshotTakenUp(t *testing.T) {
	w := newWorld(7, 5, monday, oslo)
	for w.now.Before(monday.AddDate(0, 0, 9)) {
		w.tick()
	}
	data := w.Snapshot(w.now)
	again := New(Config{Location: w.location})
	if err := again.Restore(w.now, data); err != nil {
		t.Fatal(err)
	}
	if second := again.Snapshot(w.now); string(second) != string(data) {
		t.Error("a snapshot of what was restored is another")
	}
	for range 1000 {
		at := w.now.Add(time.Second)
		a := Attempt{Outcome: Denied}
		a.Source, a.Network = blocks(w.rand.Uint32N(5000), 1)
		w.Attempt(at, a)
		again.Attempt(at, a)
		w.now = w.now.Add(tick)
		one, two := w.Tick(w.now).State, again.Tick(w.now).State
		if math.Abs(one.Expected.Suspects-two.Expected.Suspects) > 1e-9 || math.Abs(one.Expected.Logins-two.Expected.Logins) > 1e-9 ||
			one.Learned != two.Learned {
			t.Fatalf("they differ:\n%+v\n%+v", one, two)
		}
	}
}

// TestSnapshotsThatAreWrong: each is refused in words, and what was learned stays.
func TestSnapshotsThatAreWrong(t *testing.T) {
	w := newWorld(7, 5, monday, oslo)
	for w.now.Before(monday.AddDate(0, 0, 2)) {
		w.tick()
	}
	good := w.Snapshot(w.now)
	resum := func(data []byte) []byte {
		body := len(data) - 4
		binary.LittleEndian.PutUint32(data[body:], crc32.Checksum(data[:body], castagnoli))
		return data
	}
	change := func(at int, to ...byte) []byte {
		data := append([]byte(nil), good...)
		copy(data[at:], to)
		return data
	}
	nan := binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN()))
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "not a snapshot"},
		{"another version", resum(change(len(snapshotMagic)-2, '2')), "another version"},
		{"short", good[:len(good)-1], "octets long"},
		{"long", append(append([]byte(nil), good...), 0), "octets long"},
		{"a bit turned", change(1000, good[1000]^1), "checksum"},
		{"no number", resum(change(len(snapshotMagic), nan...)), "out of range"},
	} {
		err := w.Restore(w.now, c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if again := w.Snapshot(w.now); string(again) != string(good) {
			t.Fatalf("%s: changed what was learned", c.name)
		}
	}
}

// FuzzRestore: no octets make it panic, and whatever is restored can be judged by without a number that is none.
func FuzzRestore(f *testing.F) {
	w := newWorld(7, 5, monday, oslo)
	for range 3000 {
		w.tick()
	}
	f.Add(w.Snapshot(w.now))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4 { // or hardly anything would pass
			binary.LittleEndian.PutUint32(data[len(data)-4:], crc32.Checksum(data[:len(data)-4], castagnoli))
		}
		w := New(Config{})
		if err := w.Restore(monday, data); err != nil {
			return
		}
		for i := range 20 {
			now := monday.Add(time.Duration(i) * tick)
			w.Attempt(now, Attempt{Outcome: Denied})
			s := w.Tick(now).State
			for _, v := range []float64{s.Excess, s.Score, s.Busy, s.Expected.Logins, s.Learned, s.Drift} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%+v", s)
				}
			}
		}
	})
}
