package share

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// FuzzOpen: no entry opens but the one that was sealed, and what does not open changes nothing.
func FuzzOpen(f *testing.F) {
	k := testKeys()
	good := send(f, NewSender(k, "a", boot(1), Known), begin, "x", "y")
	f.Add(good.Data, uint8(Known))
	f.Add(send(f, NewSender(k, "a", boot(1), Denials), begin, "x").Data, uint8(Known))
	f.Add([]byte{1, 1, 1, 1, 'a'}, uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, stream uint8) {
		r := NewReceiver(k, "b", boot(2))
		e := Entry{Stream: Stream(stream), Appended: engineBegin, Data: data}
		b, err := r.Open(begin, e)
		if stream == uint8(Known) && bytes.Equal(data, good.Data) {
			if err != nil || texts(b) != "x y" {
				t.Errorf("got %+v, %v", b, err)
			}
			return
		}
		if stream == uint8(Denials) && err == nil {
			return // the other seed in its own stream
		}
		if !errors.Is(err, ErrSealed) || len(r.processes) != 0 || r.missed != [Streams]bool{} {
			t.Errorf("got %+v, %v", b, err)
		}
	})
}

// FuzzContents: contents that a faulty version has sealed are decoded within their bounds.
func FuzzContents(f *testing.F) {
	c := contents{gap: true, sealed: engineBegin, records: []Record{{RecordTick, []byte("tick"), time.Second}, {RecordSnapshot, nil, 0}}}
	f.Add(c.appendTo(nil))
	f.Add([]byte{0, 0, 200, 0, 0})
	k := testKeys()
	f.Fuzz(func(t *testing.T, plain []byte) {
		h := header{format: 1, stream: Known, gateway: []byte("a"), boot: boot(1), sealer: boot(1), sequence: 1}
		b := h.appendTo(nil)
		nonce := h.nonce()
		e := Entry{Stream: Known, Data: k.aead(&h).Seal(b, nonce[:], plain, b)}
		var c contents
		if _, err := c.parseTime(plain); err == nil {
			e.Appended = c.sealed
		}
		got, err := NewReceiver(k, "b", boot(2)).Open(begin, e)
		if err != nil {
			if !errors.Is(err, ErrFormat) && len(plain) <= contentsMax {
				t.Error(err)
			}
			return
		}
		again := contents{gap: got.Gap, sealed: e.Appended, records: got.Records}
		size := 0
		for _, r := range got.Records {
			if size += len(r.Data); r.Age < 0 || r.Age > ageMax || r.Type == 0 || r.Type >= recordTypeEnd {
				t.Errorf("got %+v", r)
			}
		}
		var decoded contents
		rest, err := decoded.parseTime(again.appendTo(nil))
		if err == nil {
			err = decoded.parseRecords(rest)
		}
		if err != nil || size > len(plain) || len(decoded.records) != len(got.Records) || decoded.skipped != 0 {
			t.Errorf("encoded again: got %+v, %v", decoded, err)
		}
	})
}

// FuzzManifest decodes the contents of a manifest, and opens them as a sealed one.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"format":1,"hash":"` + strings.Repeat("A", 43) + `=","kind":"known","id":7,"positions":[{"ms":1,"seq":2},{"ms":3,"seq":4}],"made":"2026-03-29T09:00:00Z","gateway":"a","length":600000}`))
	f.Add([]byte(`{"format":1,"length":-1}`))
	k := testKeys()
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := k.OpenManifest(engineBegin, SnapshotKnown, data); err == nil {
			t.Errorf("forged: %+v", m)
		}
		m, err := parseManifest(engineBegin, SnapshotKnown, data)
		if err != nil {
			return
		}
		if n := m.Chunks(); n < 0 || n > snapshotMax/ChunkSize || m.Kind != SnapshotKnown {
			t.Errorf("got %+v", m)
		}
		for _, i := range []int{-1, 0, m.Chunks()} {
			if _, err := k.OpenChunk(&m, i, nil, data); err == nil {
				t.Errorf("forged chunk %d", i)
			}
		}
	})
}

// FuzzChunk: no chunk opens but the one that was sealed, in its place.
func FuzzChunk(f *testing.F) {
	k := testKeys()
	data := []byte("data of a snapshot")
	m := Manifest{Kind: SnapshotWatch, ID: 1, Made: engineBegin}
	if _, err := k.SealManifest(&m, data); err != nil {
		f.Fatal(err)
	}
	good := k.SealChunk(&m, 0, data)
	f.Add(good, 0)
	f.Add(good, 1)
	f.Add([]byte{}, -1)
	f.Fuzz(func(t *testing.T, sealed []byte, i int) {
		got, err := k.OpenChunk(&m, i, nil, sealed)
		if isGood := i == 0 && bytes.Equal(sealed, good); isGood != (err == nil) || isGood && !bytes.Equal(got, data) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// FuzzHeartbeat: what is decoded can be used and encoded again.
func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(`{"known":1.5,"strangers":2,"version":"1.0","mode":"shared","since":"2026-03-29T08:00:00Z","leads":true,"formats":[1,2],"former":["` + strings.Repeat("0a", 16) + `"]}`))
	f.Add([]byte(`{"formats":[1,255],"version":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseHeartbeat(data)
		if err != nil {
			return
		}
		m := NewMembers("a", boot(1))
		m.Heartbeat(begin, "a", boot(1), h)
		m.Heartbeat(begin, "b", boot(2), h)
		if part := m.Global(begin.Add(time.Minute)); !(part > 0 && part <= 1) || m.Format() < FormatOldest || m.Format() > FormatNewest {
			t.Errorf("part %v, format %d of %+v", part, m.Format(), h)
		}
		if _, err := ParseHeartbeat(h.record().Data); err != nil {
			t.Errorf("%v: %+v", err, h)
		}
	})
}

// FuzzImport: what is imported can be used and exported again.
func FuzzImport(f *testing.F) {
	k := testKeys()
	s, r, m := NewSender(k, "a", boot(1), Known), NewReceiver(k, "a", boot(1)), NewMembers("a", boot(1))
	open(f, r, begin, send(f, s, begin, "x"))
	s.Add(begin, events("y"))
	sendNext(f, s, begin)
	s.Add(begin, events("z"))
	m.Announce(begin, Heartbeat{Known: 3})
	m.Heartbeat(begin, "a", boot(1), beat)
	m.Heartbeat(begin, "b", boot(2), beat)
	for _, seed := range [][]byte{s.Export(begin), r.Export(begin), m.Export(begin), []byte(`{"format":1}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		later := begin.Add(time.Second)
		s, s2 := NewSender(k, "c", boot(3), Known), NewSender(k, "c", boot(4), Known)
		if err := s.Import(begin, data); err == nil {
			if err := s2.Import(begin, s.Export(later)); err != nil || s.Waiting() != s2.Waiting() && s.heartbeat.Type == 0 {
				t.Errorf("exported again: %d of %d records, %v", s2.Waiting(), s.Waiting(), err)
			}
			for n := s.Waiting() + 1; s.Waiting() > 0 && n > 0; n-- {
				open(t, NewReceiver(k, "b", boot(5)), begin, send(t, s, later))
			}
		}
		r, r2 := NewReceiver(k, "c", boot(3)), NewReceiver(k, "c", boot(4))
		if err := r.Import(begin, data); err == nil {
			if err := r2.Import(begin, r.Export(later)); err != nil {
				t.Error(err)
			}
			open(t, r2, begin, send(t, NewSender(k, "c", boot(6), Known), begin, "x"))
		}
		m, m2 := NewMembers("c", boot(3)), NewMembers("c", boot(4))
		if err := m.Import(begin, data); err == nil {
			if err := m2.Import(begin, m.Export(later)); err != nil {
				t.Error(err)
			}
			m2.Heartbeat(later, "c", boot(4), beat)
			if part := m2.Global(later); !(part > 0 && part <= 1) || m2.Count() < 1 || len(m2.Conflicts()) > m2.Count() {
				t.Errorf("part %v of %d", part, m2.Count())
			}
		}
	})
}
