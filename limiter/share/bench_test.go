package share

import (
	"testing"
	"time"
)

// fill adds 2 KB of events to s, as they come from a limiter.
func fill(s *Sender, t time.Time) {
	for range 4 {
		s.Add(t, Record{Type: RecordEvents, Data: make([]byte, 500)})
	}
}

// BenchmarkSeal seals a batch of 2 KB.
func BenchmarkSeal(b *testing.B) {
	s := NewSender(testKeys(), "mx1", boot(1), Denials)
	fill(s, begin)
	b.SetBytes(2000)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Next(begin, engineBegin); !ok {
			b.Fatal("nothing to send")
		}
	}
}

// BenchmarkOpen opens a batch of 2 KB of a known process.
func BenchmarkOpen(b *testing.B) {
	k := testKeys()
	s, r := NewSender(k, "mx1", boot(1), Denials), NewReceiver(k, "mx2", boot(2))
	fill(s, begin)
	e := sendNext(b, s, begin)
	b.SetBytes(2000)
	b.ReportAllocs()
	open(b, r, begin, e)
	p := r.processes[origin{"mx1", boot(1)}]
	for b.Loop() {
		p.last = [Streams]uint64{}
		if _, err := r.Open(begin, e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenForgery refuses a batch of 2 KB that another key has sealed.
func BenchmarkOpenForgery(b *testing.B) {
	s, r := NewSender(NewKeys([32]byte{9}), "mx1", boot(1), Denials), NewReceiver(testKeys(), "mx2", boot(2))
	fill(s, begin)
	e := sendNext(b, s, begin)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Open(begin, e); err == nil {
			b.Fatal("it opens")
		}
	}
}

// BenchmarkGlobal asks for the part of one of 64 gateways after a heartbeat.
func BenchmarkGlobal(b *testing.B) {
	s := newTestSite(64)
	s.run(10)
	m := s.members[0]
	b.ReportAllocs()
	for b.Loop() {
		m.Heartbeat(s.at, s.name(1), boot(1), beat)
		m.Global(s.at)
	}
}

// BenchmarkSnapshot seals and opens the known table of 500,000 accounts: 32 MB.
func BenchmarkSnapshot(b *testing.B) {
	k, data := testKeys(), noise(32<<20, 1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		m := Manifest{Kind: SnapshotKnown, Made: engineBegin}
		sealed, err := k.SealManifest(&m, data)
		if err != nil {
			b.Fatal(err)
		}
		if m, err = k.OpenManifest(engineBegin, SnapshotKnown, sealed); err != nil {
			b.Fatal(err)
		}
		opened := make([]byte, 0, m.Length)
		for i := range m.Chunks() {
			if opened, err = k.OpenChunk(&m, i, opened, k.SealChunk(&m, i, data)); err != nil {
				b.Fatal(err)
			}
		}
		if err := m.Check(opened); err != nil {
			b.Fatal(err)
		}
	}
}
