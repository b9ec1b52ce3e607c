package share

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSealsAgainUntilSent(t *testing.T) {
	k := testKeys()
	s, r := NewSender(k, "a", boot(1), Denials), NewReceiver(k, "b", boot(2))
	if _, ok := s.Next(begin, engineBegin); ok || s.Waiting() != 0 {
		t.Fatal("an empty batch")
	}
	s.Add(begin, events("one"))
	s.Add(begin.Add(40*time.Millisecond), events("two"))
	nonces := map[string]bool{}
	var last Entry
	for i := range 5 {
		at := begin.Add(time.Duration(i+1) * 100 * time.Millisecond)
		last = sendNext(t, s, at)
		h, size, ok := parseHeader(last.Data)
		nonce := h.nonce()
		if !ok || h.sequence != 1 || h.attempt != uint32(i) || nonces[string(nonce[:])] {
			t.Errorf("attempt %d has header %+v of %d octets", i, h, size)
		}
		nonces[string(nonce[:])] = true
		s.Add(at, events(fmt.Sprint("later", i)))
	}
	if s.Waiting() != 7 {
		t.Errorf("%d records wait, want 7", s.Waiting())
	}
	last.Age = 2 * time.Second
	b := open(t, r, begin, last)
	if texts(b) != "one two" || b.Records[0].Age != 2500*time.Millisecond || b.Records[1].Age != 2460*time.Millisecond {
		t.Errorf("got %+v", b)
	}
	s.Sent(last.Appended)
	if got := texts(open(t, r, begin, send(t, s, begin.Add(time.Second)))); got != "later0 later1 later2 later3 later4" {
		t.Errorf("got %s", got)
	}
	if s.Waiting() != 0 {
		t.Errorf("%d records wait, want none", s.Waiting())
	}
}

func TestAgeIncludesTheTimeToAppend(t *testing.T) {
	k := testKeys()
	s, r := NewSender(k, "a", boot(1), Denials), NewReceiver(k, "b", boot(2))
	e := send(t, s, begin, "x")
	e.Appended, e.Age = e.Appended.Add(150*time.Millisecond), -time.Hour // the engine's clock has been set back
	if b := open(t, r, begin, e); b.Records[0].Age != 150*time.Millisecond {
		t.Errorf("age %v, want 150ms", b.Records[0].Age)
	}
}

func TestBatchSizes(t *testing.T) {
	octets := func(n int) Record { return Record{Type: RecordTick, Data: make([]byte, n)} }
	tests := []struct {
		name    string
		records []Record
		want    []int // records in each batch
	}{
		{"little", []Record{octets(10), octets(0), octets(2000)}, []int{3}},
		{"many", []Record{octets(12000), octets(12000), octets(12000), octets(5)}, []int{2, 2}},
		{"one larger than a batch", []Record{octets(10), octets(64 << 10), octets(10)}, []int{1, 1, 1}},
		{"the largest", []Record{octets(recordMax), octets(recordMax)}, []int{1, 1}},
		{"with a heartbeat", []Record{octets(64 << 10), {Type: RecordHeartbeat, Data: make([]byte, 400)}, octets(1)}, []int{2, 1}},
		{"a heartbeat goes first", []Record{octets(20000), octets(20000), {Type: RecordHeartbeat}}, []int{2, 1}},
	}
	for _, tt := range tests {
		k := testKeys()
		s, r := NewSender(k, "a", boot(1), Known), NewReceiver(k, "b", boot(2))
		var got []int
		for _, rec := range tt.records {
			if !s.Add(begin, rec) {
				t.Errorf("%s: a record is lost", tt.name)
			}
		}
		for s.Waiting() > 0 {
			e := send(t, s, begin)
			got = append(got, len(open(t, r, begin, e).Records))
			if len(e.Data) > recordMax+batchMax {
				t.Errorf("%s: a batch of %d octets", tt.name, len(e.Data))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %v records, want %v", tt.name, got, tt.want)
		}
	}
}

func TestOldestRecordsAreLost(t *testing.T) {
	k := testKeys()
	s, r := NewSender(k, "a", boot(1), Denials), NewReceiver(k, "b", boot(2))
	s.Add(begin, events("sent"))
	first := sendNext(t, s, begin) // and not confirmed: these records cannot be lost
	for i := range waitingMax + 3 {
		s.Add(begin, events(fmt.Sprint(i)))
	}
	if s.Lost() != 3 || s.Waiting() != waitingMax+1 {
		t.Errorf("%d lost, %d wait", s.Lost(), s.Waiting())
	}
	if b := open(t, r, begin, first); b.Gap || texts(b) != "sent" {
		t.Errorf("got %+v", b)
	}
	s.Sent(first.Appended)
	next := 3
	for s.Waiting() > 0 {
		b := open(t, r, begin, send(t, s, begin))
		if b.Gap != (next == 3) {
			t.Errorf("gap before record %d: %v", next, b.Gap)
		}
		for _, rec := range b.Records {
			if string(rec.Data) != fmt.Sprint(next) {
				t.Fatalf("got record %s, want %d", rec.Data, next)
			}
			next++
		}
	}
	if next != waitingMax+3 {
		t.Errorf("got records up to %d", next)
	}
}

func TestOctetsThatWaitAreBounded(t *testing.T) {
	s := NewSender(testKeys(), "a", boot(1), Denials)
	big := Record{Type: RecordTick, Data: make([]byte, 100<<10)}
	for range 60 {
		s.Add(begin, big)
	}
	if want := waitingOctets / (100 << 10); s.Waiting() != want || s.Lost() != uint64(60-want) {
		t.Errorf("%d wait, %d lost, want %d and %d", s.Waiting(), s.Lost(), want, 60-want)
	}
	if s.Add(begin, Record{Type: RecordTick, Data: make([]byte, recordMax+1)}) || s.Lost() != uint64(60-40+1) {
		t.Errorf("a record that is too large: %d lost", s.Lost())
	}
	for s.Waiting() > 0 {
		send(t, s, begin)
	}
	if s.octets != 0 {
		t.Errorf("%d octets wait, want none", s.octets)
	}
}

func TestOnlyNewestHeartbeatWaits(t *testing.T) {
	k := testKeys()
	s, r := NewSender(k, "a", boot(1), Known), NewReceiver(k, "b", boot(2))
	for i := range 100 {
		s.Add(begin.Add(time.Duration(i)*time.Second), Record{Type: RecordHeartbeat, Data: []byte{byte(i)}})
	}
	b := open(t, r, begin, send(t, s, begin.Add(100*time.Second)))
	if len(b.Records) != 1 || b.Records[0].Data[0] != 99 || b.Records[0].Age != time.Second || s.Lost() != 0 {
		t.Errorf("got %+v", b)
	}
}

// TestFollowsTheClockOfTheEngine: when it is set, one batch is stale, and the next ones follow.
func TestFollowsTheClockOfTheEngine(t *testing.T) {
	k := testKeys()
	s, r := NewSender(k, "a", boot(1), Denials), NewReceiver(k, "b", boot(2))
	open(t, r, begin, send(t, s, begin, "x"))
	for _, step := range []time.Duration{time.Hour, -24 * time.Hour, 0} {
		s.Add(begin, events("lost"))
		e := sendNext(t, s, begin)
		e.Appended = e.Appended.Add(step)
		s.Sent(e.Appended)
		if _, err := r.Open(begin, e); err == nil {
			t.Errorf("clock set by %v: the first batch opens", step)
		}
		s.Add(begin, events("y"))
		e = sendNext(t, s, begin)
		e.Appended = e.Appended.Add(step)
		s.Sent(e.Appended)
		if b := open(t, r, begin, e); !b.Gap || texts(b) != "y" || b.Records[0].Age != 0 {
			t.Errorf("clock set by %v: got %+v", step, b)
		}
	}
}

// TestSendersHaveKeysOfTheirOwn: two streams, processes or sealers with the same sequence and attempt never seal under one
// key, so no nonce is used twice.
func TestSendersHaveKeysOfTheirOwn(t *testing.T) {
	k := testKeys()
	seen := map[string]string{}
	base := header{stream: Denials, gateway: []byte("a"), boot: boot(1), sealer: boot(1)}
	stream, gateway, other, sealer := base, base, base, base
	stream.stream, gateway.gateway, other.boot, sealer.sealer = Known, []byte("b"), boot(2), boot(2)
	longer := base
	longer.gateway = append([]byte("a"), base.boot[:1]...)
	for name, h := range map[string]header{"base": base, "stream": stream, "gateway": gateway, "boot": other, "sealer": sealer, "longer": longer} {
		nonce := h.nonce()
		sealed := string(k.aead(&h).Seal(nil, nonce[:], []byte("same contents of the batch"), nil))
		if seen[sealed] != "" {
			t.Errorf("%s and %s have the same key", name, seen[sealed])
		}
		seen[sealed] = name
	}
}

func TestReaderOfTheEngineSeesNoRecord(t *testing.T) {
	s := NewSender(testKeys(), "mx1", boot(1), Known)
	e := send(t, s, begin, strings.Repeat("secret", 50))
	if bytes.Contains(e.Data, []byte("secret")) || !bytes.Contains(e.Data, []byte("mx1")) {
		t.Errorf("got %q", e.Data)
	}
}

func TestSenderRefusesBadNames(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an empty name is accepted")
		}
	}()
	NewSender(testKeys(), "", boot(1), Known)
}
