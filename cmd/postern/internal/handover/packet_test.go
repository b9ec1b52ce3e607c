package handover

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// packet returns a packet with a header as given.
func packet(kind Kind, flags byte, files, left int, part string) []byte {
	return append(header{kind: kind, flags: flags, files: files, left: left}.appendTo(nil), part...)
}

// random returns n octets that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// split returns the packets of a message without descriptors.
func split(kind Kind, payload []byte) [][]byte {
	var packets [][]byte
	for first := true; ; first = false {
		h, n := nextPart(kind, first, 0, len(payload))
		packets = append(packets, append(h.appendTo(nil), payload[:n]...))
		payload = payload[n:]
		if h.flags&flagLast != 0 {
			return packets
		}
	}
}

// malformed are packets that are refused, and a part of the error. Of several, the last is refused.
var malformed = map[string]struct {
	packets [][]byte
	want    string
}{
	"short":               {[][]byte{{1, 3, 0}}, "got 3 octets, want at least 8"},
	"unknown flag":        {[][]byte{packet(1, flagFirst|flagLast|4, 0, 0, "")}, "want no unknown bits"},
	"unknown octet":       {[][]byte{{1, 3, 0, 1, 0, 0, 0, 0}}, "want no unknown bits"},
	"too many files":      {[][]byte{packet(1, flagFirst|flagLast, 65, 0, "")}, "got 65 descriptors announced, want at most 64"},
	"too long":            {[][]byte{packet(1, flagFirst, 0, MaxPayload+1, "x")}, "got a message of 1073741825 octets, want at most 1073741824"},
	"longer than allowed": {[][]byte{packet(1, flagFirst, 0, 101, "x")}, "got 101 octets, want at most 100"},
	"last too short":      {[][]byte{packet(1, flagFirst|flagLast, 0, 2, "x")}, "got 1 octets of payload, want 2"},
	"last too long":       {[][]byte{packet(1, flagFirst|flagLast, 0, 2, "xyz")}, "got 3 octets of payload, want 2"},
	"empty before last":   {[][]byte{packet(1, flagFirst, 0, 2, "")}, "got 0 octets of payload, want 1 to 1"},
	"full before last":    {[][]byte{packet(1, flagFirst, 0, 2, "xy")}, "got 2 octets of payload, want 1 to 1"},
	"no first":            {[][]byte{packet(1, flagLast, 0, 1, "x")}, "want the first of a message"},
	"two firsts":          {[][]byte{packet(1, flagFirst, 0, 2, "x"), packet(2, flagFirst|flagLast, 0, 1, "y")}, "got the first of kind 2, want the rest of kind 1"},
	"other kind":          {[][]byte{packet(1, flagFirst, 0, 2, "x"), packet(2, flagLast, 0, 1, "y")}, "got kind 2 with 1 octets left and 0 descriptors, want kind 1, 1 and 0"},
	"gap":                 {[][]byte{packet(1, flagFirst, 0, 3, "x"), packet(1, flagLast, 0, 1, "z")}, "got kind 1 with 1 octets left and 0 descriptors, want kind 1, 2 and 0"},
	"missing files":       {[][]byte{packet(1, flagFirst|flagLast, 1, 1, "x")}, "got 0 descriptors, want 1"},
}

func TestJoinRefusesMalformedPackets(t *testing.T) {
	for name, c := range malformed {
		t.Run(name, func(t *testing.T) {
			j := joiner{max: 100}
			for _, p := range c.packets[:len(c.packets)-1] {
				if _, complete, err := j.add(p, nil); complete || err != nil {
					t.Fatalf("before: got complete %v and error %v, want neither", complete, err)
				}
			}
			_, complete, err := j.add(c.packets[len(c.packets)-1], nil)
			if complete || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got complete %v and error %v, want %q", complete, err, c.want)
			}
		})
	}
}

func TestJoinReturnsWhatWasSplit(t *testing.T) {
	for _, n := range []int{0, 1, maxPart, maxPart + 1, 3 * maxPart} {
		packets, j := split(7, random(n)), joiner{max: n}
		for i, p := range packets {
			if len(p) > maxPacket {
				t.Errorf("%d octets: got a packet of %d, want at most %d", n, len(p), maxPacket)
			}
			m, complete, err := j.add(p, nil)
			if err != nil || complete != (i == len(packets)-1) {
				t.Fatalf("%d octets, packet %d of %d: got complete %v and error %v", n, i+1, len(packets), complete, err)
			}
			if complete && (m.Kind != 7 || !bytes.Equal(m.Payload, random(n))) {
				t.Errorf("%d octets: got kind %d and %d octets, want what was split", n, m.Kind, len(m.Payload))
			}
		}
	}
}

// FuzzJoin checks that a message has what its packets carried and announced, for any packets.
// The input is a row of packets, each after its length in two octets and the number of its descriptors in one.
func FuzzJoin(f *testing.F) {
	const largest = 1 << 12
	for _, name := range slices.Sorted(maps.Keys(malformed)) {
		f.Add(row(malformed[name].packets))
	}
	f.Add(row([][]byte{packet(1, flagFirst, 0, 3, "a"), packet(1, 0, 0, 2, "b"), packet(1, flagLast, 0, 1, "c"), packet(2, flagFirst|flagLast, 0, 0, "")}))
	f.Add([]byte{0, 9, 1, 5, 3, 1, 0, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, data []byte) {
		j := joiner{max: largest}
		var carried []byte
		var files []*os.File
		for len(data) >= 3 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-3)
			came := make([]*os.File, data[2]%(MaxFiles+1))
			for i := range came {
				came[i] = new(os.File)
			}
			p := data[3 : 3+n]
			data = data[3+n:]
			m, complete, err := j.add(p, came)
			if err != nil {
				return
			}
			if p[1]&flagFirst != 0 {
				carried, files = nil, came
			}
			carried = append(carried, p[headerSize:]...)
			switch {
			case len(carried) > largest:
				t.Fatalf("got %d octets, want at most %d", len(carried), largest)
			case complete == j.begun:
				t.Fatalf("got complete %v and begun %v, want one of them", complete, j.begun)
			case complete && (m.Kind != Kind(p[0]) || !bytes.Equal(m.Payload, carried) || !slices.Equal(m.Files, files)):
				t.Fatalf("got %v, want what the packets carried: %x and %d descriptors", m, carried, len(files))
			case !complete && (j.left <= 0 || len(carried)+j.left > largest):
				t.Fatalf("got %d octets of a message and %d left, want 1 to %d in all", len(carried), j.left, largest)
			}
		}
	})
}

// row encodes packets without descriptors as FuzzJoin has them.
func row(packets [][]byte) []byte {
	var b []byte
	for _, p := range packets {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(append(b, 0), p...)
	}
	return b
}
