package watch

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"
)

// learnedForHours returns a simulation after eight hours.
func learnedForHours() *simulation {
	w := newSimulation(7, 5, monday, oslo)
	for range 3000 {
		w.tick()
	}
	return w
}

// TestRefusesInvalidSnapshots: the error says what is wrong, and what was learned does not change.
func TestRefusesInvalidSnapshots(t *testing.T) {
	w := learnedForHours()
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
		{"another version", resum(change(len(snapshotMagic)-2, '9')), "of this version"},
		{"short", good[:30_000], "octets, want"},
		{"a cut section", resum(append([]byte(nil), good[:len(good)-1]...)), "octets, want"},
		{"long", resum(append(append([]byte(nil), good...), 0)), "octets, want"},
		{"a changed bit", change(1000, good[1000]^1), "checksum"},
		{"not a number", resum(change(len(snapshotMagic), nan...)), "out of range"},
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

// FuzzRestore: no data makes Restore panic. With what it accepts, no figure of a state is NaN or infinite.
func FuzzRestore(f *testing.F) {
	w := learnedForHours()
	f.Add(w.Snapshot(w.now))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4 { // a valid checksum, so that more is accepted
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
