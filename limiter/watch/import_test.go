package watch

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch/internal/codec"
)

// withChecksum returns data with its last four octets replaced by the checksum of the others.
func withChecksum(data []byte) []byte {
	body := len(data) - 4
	binary.LittleEndian.PutUint32(data[body:], crc32.Checksum(data[:body], castagnoli))
	return data
}

// TestRefusesInvalidExports: the error says what is wrong, and nothing changes.
func TestRefusesInvalidExports(t *testing.T) {
	w := New(Config{})
	w.Attempt(monday, Attempt{Account: "anna", Outcome: Denied})
	good := w.Export(monday)
	change := func(at int, to string) []byte {
		data := append([]byte(nil), good...)
		copy(data[at:], to)
		return data
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "got \"\", want \"postern watch export 3\""},
		{"another version", change(len(exportPrefix), "7"), "got \"postern watch export 7\", want \"postern watch export 3\""},
		{"a snapshot", w.Snapshot(monday), "got \"postern watch 2\""},
		{"a changed bit", change(1000, "x"), "checksum"},
		{"cut", good[:len(good)-1], "checksum"},
		{"cut, with a checksum", withChecksum(append([]byte(nil), good[:len(good)-9]...)), "ends too early"},
		{"longer", withChecksum(append(append([]byte(nil), good...), 0)), "number of octets"},
		{"another key", New(Config{Key: [16]byte{1}}).Export(monday), "another key"},
	} {
		err := w.Import(monday, c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if minute, _ := w.Partial(monday); minute.Stranger.Denied != 1 {
		t.Errorf("got %+v: a refused export has changed the watch", minute)
	}
}

// TestImportAfterClockWasSetBack: the watch goes on with the time of the process that takes over.
func TestImportAfterClockWasSetBack(t *testing.T) {
	w := New(Config{})
	if err := w.Import(monday, New(Config{}).Export(monday.AddDate(1, 0, 0))); err != nil {
		t.Fatal(err)
	}
	w.Tick(monday)
	if r := w.Tick(monday.Add(tick)); !r.Ticked || !r.State.Time.Equal(monday.Add(tick)) {
		t.Errorf("got %+v", r)
	}
}

// FuzzImport: no export makes Import or what follows it panic. The data are changes of a valid export: four octets say
// where, and four are written there. The memory of guesses, which is most of it and means nothing, is left out.
func FuzzImport(f *testing.F) {
	base := filledWatch()
	clear(base.habits.table[2:])
	data := base.Export(base.latest)
	before := codec.Encoder([]byte(exportHeader(exportVersion)+"the key:"), base.location)
	before.Times(&base.latest, &base.started)
	base.counts.code(before)
	header, start, size := len(exportHeader(exportVersion))+8, len(before.Data()), 2*guessBlocks*8*len(guessBlock{})
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(_ *testing.T, changes []byte) {
		changed := append([]byte(nil), data...)
		for ; len(changes) >= 8; changes = changes[8:] {
			at := header + int(binary.LittleEndian.Uint32(changes))%(len(data)-size-header-8)
			if at >= start {
				at += size
			}
			copy(changed[at:], changes[4:8])
		}
		w := New(Config{})
		if w.Import(base.latest, withChecksum(changed)) != nil {
			return
		}
		exercise(w, base.latest)
	})
}

// exercise calls all methods of w, with attempts of all kinds, for some ticks and hours.
func exercise(w *Watch, t time.Time) {
	for _, after := range []time.Duration{0, tick, 2 * tick, 30 * time.Minute, 50 * time.Minute, 51 * time.Minute, 3 * time.Hour, 200 * time.Hour} {
		at := t.Add(after)
		for o := range numOutcomes {
			for known := range 4 {
				a := Attempt{Account: "anna", Outcome: o, Known: known&1 != 0, Worked: known&2 != 0, Credential: 5}
				a.Source, a.Network = blocks(uint32(o), 1)
				w.Attempt(at, a)
			}
		}
		w.Held(at, netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.0/24"))
		w.Tick(at)
		w.Partial(at)
	}
	w.Relearn(t)
}
