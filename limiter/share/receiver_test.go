package share

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// TestReceiverSteps: each step is a batch of a gateway, by its number, and what the receiver makes of it.
func TestReceiverSteps(t *testing.T) {
	type step struct {
		gateway string
		batch   uint64
		want    error
		gap     bool
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{"a", 1, nil, false}, {"a", 2, nil, false}, {"a", 3, nil, false}}},
		{"joined late", []step{{"a", 4, nil, false}, {"a", 5, nil, false}}},
		{"a repeat", []step{{"a", 1, nil, false}, {"a", 1, ErrDuplicate, false}, {"a", 2, nil, false}, {"a", 1, ErrDuplicate, false}}},
		{"a gap", []step{{"a", 1, nil, false}, {"a", 3, nil, true}, {"a", 2, ErrDuplicate, false}, {"a", 4, nil, false}}},
		{"two gateways", []step{{"a", 1, nil, false}, {"b", 1, nil, false}, {"b", 3, nil, true}, {"a", 2, nil, false}, {"a", 1, ErrDuplicate, false}}},
	}
	for _, tt := range tests {
		k := testKeys()
		r := NewReceiver(k, "r", boot(99))
		batches := map[string][]Entry{}
		for i, name := range []string{"a", "b"} {
			s := NewSender(k, name, boot(byte(i)), Known)
			for n := range 5 {
				batches[name] = append(batches[name], send(t, s, begin, fmt.Sprint(n+1)))
			}
		}
		for i, st := range tt.steps {
			b, err := r.Open(begin, batches[st.gateway][st.batch-1])
			if !errors.Is(err, st.want) || b.Gap != st.gap {
				t.Errorf("%s, step %d: got gap %v, error %v; want %v, %v", tt.name, i, b.Gap, err, st.gap, st.want)
			}
			if err == nil && (b.Gateway != st.gateway || b.Sequence != st.batch || texts(b) != fmt.Sprint(st.batch) || b.Own) {
				t.Errorf("%s, step %d: got %+v", tt.name, i, b)
			}
		}
	}
}

func TestStreamsHaveSequencesOfTheirOwn(t *testing.T) {
	k := testKeys()
	r := NewReceiver(k, "b", boot(2))
	denials, known := NewSender(k, "a", boot(1), Denials), NewSender(k, "a", boot(1), Known)
	for range 3 {
		open(t, r, begin, send(t, denials, begin, "x"))
	}
	if b := open(t, r, begin, send(t, known, begin, "y")); b.Gap || b.Stream != Known || b.Sequence != 1 {
		t.Errorf("got %+v", b)
	}
}

func TestOwnBatchesAreReceipts(t *testing.T) {
	k := testKeys()
	r := NewReceiver(k, "a", boot(1))
	if b := open(t, r, begin, send(t, NewSender(k, "a", boot(1), Denials), begin, "x")); !b.Own || texts(b) != "x" {
		t.Errorf("got %+v", b)
	}
	if b := open(t, r, begin, send(t, NewSender(k, "a", boot(2), Denials), begin, "x")); b.Own {
		t.Error("another process with the same name is this one")
	}
}

// TestNothingElseOpens: of a sealed batch, each octet but none may be changed.
func TestNothingElseOpens(t *testing.T) {
	k := testKeys()
	e := send(t, NewSender(k, "mx1", boot(1), Known), begin, "some", "records")
	try := func(what string, keys *Keys, e Entry) {
		t.Helper()
		r := NewReceiver(keys, "b", boot(2))
		if b, err := r.Open(begin, e); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: got %+v, %v", what, b, err)
		}
		if len(r.processes) != 0 {
			t.Errorf("%s: the receiver has kept something", what)
		}
	}
	try("wrong key", NewKeys([32]byte{3, 2, 1}), e)
	wrong := e
	wrong.Stream = Denials
	try("wrong stream", k, wrong)
	for i := range e.Data {
		for bit := range 8 {
			changed := e
			changed.Data = slices.Clone(e.Data)
			changed.Data[i] ^= 1 << bit
			try(fmt.Sprintf("bit %d of octet %d", bit, i), k, changed)
		}
		short := e
		short.Data = e.Data[:i]
		try(fmt.Sprintf("%d octets", i), k, short)
	}
	longer := e
	longer.Data = append(slices.Clone(e.Data), 0)
	try("an octet more", k, longer)
	longer.Data = make([]byte, 1<<20)
	try("zeros", k, longer)
	open(t, NewReceiver(k, "b", boot(2)), begin, e)
}

// TestForgeriesTakeNoMemory: 50,000 batches of as many processes, none of which opens, leave nothing.
func TestForgeriesTakeNoMemory(t *testing.T) {
	k := testKeys()
	r := NewReceiver(k, "b", boot(2))
	good := send(t, NewSender(k, "a", boot(1), Known), begin, "x")
	open(t, r, begin, good)
	n := 50_000
	if testing.Short() {
		n = 10_000
	}
	forged := good
	forged.Data = slices.Clone(good.Data)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		forged.Data[5], forged.Data[6], forged.Data[7] = byte(i), byte(i>>8), byte(i>>16)|1
		if _, err := r.Open(begin, forged); !errors.Is(err, ErrSealed) {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if len(r.processes) != 1 || after.HeapAlloc > before.HeapAlloc+1<<20 {
		t.Errorf("%d processes, %d octets more", len(r.processes), int64(after.HeapAlloc)-int64(before.HeapAlloc))
	}
	if _, err := r.Open(begin, good); !errors.Is(err, ErrDuplicate) {
		t.Error("the receiver has forgotten the gateway")
	}
}

// TestProcessesAreBounded: even of processes that have the key, only so many are remembered, those seen latest.
func TestProcessesAreBounded(t *testing.T) {
	k := testKeys()
	r := NewReceiver(k, "b", boot(2))
	at := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second) }
	var first, second Entry
	for i := range processesMax + 1 {
		e := send(t, NewSender(k, "a", Boot{byte(i), byte(i >> 8), 1}, Known), at(i), "x")
		open(t, r, at(i), e)
		switch i {
		case 0:
			first = e
		case 1:
			second = e
		}
	}
	if len(r.processes) != processesMax {
		t.Errorf("%d processes, want %d", len(r.processes), processesMax)
	}
	if _, err := r.Open(begin, second); !errors.Is(err, ErrDuplicate) {
		t.Errorf("of one that is remembered: %v", err)
	}
	// A copy that somebody appends now is not taken all the same.
	first.Appended = engineAt(at(processesMax))
	if _, err := r.Open(begin, first); !errors.Is(err, ErrStale) {
		t.Errorf("of the one that is forgotten: %v", err)
	}
}

// TestCopiesAreRefused: batches of a process that has ended, or was replaced by a newer one of its gateway, are appended
// again by somebody who can write to the engine.
func TestCopiesAreRefused(t *testing.T) {
	k := testKeys()
	var copies []Entry
	old := NewSender(k, "a", boot(1), Known)
	for i := range 3 {
		copies = append(copies, send(t, old, begin.Add(time.Duration(i)*time.Second), "old"))
	}
	restarted := begin.Add(time.Minute)
	current := send(t, NewSender(k, "a", boot(2), Known), restarted, "new")
	appendAll := func(r *Receiver, at time.Time) (taken int) {
		for _, e := range copies {
			e.Appended = engineAt(at)
			if _, err := r.Open(at, e); err == nil {
				taken++
			} else if !errors.Is(err, ErrDuplicate) && !errors.Is(err, ErrStale) {
				t.Error(err)
			}
		}
		return taken
	}
	receivesAll := NewReceiver(k, "b", boot(3))
	for _, e := range append(slices.Clone(copies), current) {
		open(t, receivesAll, begin, e)
	}
	if n := appendAll(receivesAll, restarted.Add(time.Second)); n != 0 {
		t.Errorf("%d copies are taken by a receiver that has the batches", n)
	}
	fresh := func() *Receiver {
		r := NewReceiver(k, "c", boot(4))
		open(t, r, restarted, current)
		return r
	}
	if n := appendAll(fresh(), begin.Add(staleAfter+3*time.Second)); n != 0 {
		t.Errorf("%d copies are taken by a receiver that is new, %v later", n, staleAfter)
	}
	// This is the bound: a receiver that has started within the time takes each copy once.
	r := fresh()
	if n := appendAll(r, begin.Add(staleAfter)); n != 3 {
		t.Errorf("%d copies are taken, want 3", n)
	}
	if n := appendAll(r, begin.Add(staleAfter)); n != 0 {
		t.Errorf("%d copies are taken again", n)
	}
}

// TestFormats: a receiver that does not read a format says so, keeps nothing of the batch, and reports a gap.
func TestFormats(t *testing.T) {
	k := testKeys()
	r := NewReceiver(k, "old", boot(1))
	s := NewSender(k, "new", boot(2), Known)
	s.format = 2
	e := send(t, s, begin, "x")
	if b, err := r.Open(begin, e); !errors.Is(err, ErrFormat) || len(r.processes) != 0 {
		t.Errorf("got %+v, %v", b, err)
	}
	reads2 := NewReceiver(k, "new", boot(3))
	reads2.newest = 2
	if b := open(t, reads2, begin, e); texts(b) != "x" {
		t.Errorf("got %+v", b)
	}
	s.SetFormat(1)
	e = send(t, s, begin, "y")
	if b := open(t, r, begin, e); texts(b) != "y" || !b.Gap {
		t.Errorf("got %+v", b)
	}
	if b := open(t, reads2, begin, e); texts(b) != "y" || b.Gap {
		t.Errorf("got %+v", b)
	}
	s.SetFormat(99)
	if s.format != FormatNewest {
		t.Errorf("writes format %d", s.format)
	}
}

func TestUnknownRecordsAreSkipped(t *testing.T) {
	k := testKeys()
	s, r := NewSender(k, "a", boot(1), Known), NewReceiver(k, "b", boot(2))
	s.Add(begin, events("x"))
	s.Add(begin, Record{Type: recordTypeEnd, Data: []byte("later version")})
	s.Add(begin, Record{Type: 255})
	s.Add(begin, Record{Type: RecordSnapshot})
	if b := open(t, r, begin, sendNext(t, s, begin)); b.Skipped != 2 || len(b.Records) != 2 || b.Records[1].Type != RecordSnapshot {
		t.Errorf("got %+v", b)
	}
}

// TestDamagedContentsAreReported: contents that open and cannot be decoded come from a fault in another version.
func TestDamagedContentsAreReported(t *testing.T) {
	k := testKeys()
	ms := contents{sealed: engineBegin}
	good := ms.appendTo(nil)
	for name, plain := range map[string][]byte{
		"none": {}, "no time": {0}, "long time": {0, 255, 255, 255, 255, 255, 255, 255, 255, 1},
		"no age": append(slices.Clone(good), 1), "no length": append(slices.Clone(good), 1, 0), "no data": append(slices.Clone(good), 1, 0, 9, 1),
		"long data": append(slices.Clone(good), 1, 0, 255, 255, 255, 1),
	} {
		h := header{format: 1, stream: Known, gateway: []byte("a"), boot: boot(1), sealer: boot(1), sequence: 1}
		b := h.appendTo(nil)
		nonce := h.nonce()
		e := Entry{Stream: Known, Appended: engineBegin, Data: k.aead(&h).Seal(b, nonce[:], plain, b)}
		r := NewReceiver(k, "b", boot(2))
		if got, err := r.Open(begin, e); !errors.Is(err, ErrFormat) || len(r.processes) != 0 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// TestDeliversOnceAndInOrder: whatever the engine loses, repeats and reorders, the records of each sender are delivered at
// most once and in order, and each loss is followed by a gap.
func TestDeliversOnceAndInOrder(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		k := testKeys()
		r := NewReceiver(k, "r", boot(200))
		var bus []Entry
		for g := range 3 {
			for _, stream := range []Stream{Denials, Known} {
				s := NewSender(k, fmt.Sprint("g", g), boot(byte(g)), stream)
				for n := 0; n < 60; {
					for range rng.IntN(4) {
						s.Add(begin, events(fmt.Sprint(n)))
						n++
					}
					if _, ok := s.Next(begin, engineBegin); !ok {
						continue
					}
					for range 1 + rng.IntN(3) { // not confirmed at once: sent again
						bus = append(bus, sendNext(t, s, begin))
					}
					s.Sent(engineBegin)
				}
			}
		}
		deliverDisordered(t, rng, r, bus)
	}
}

// deliverDisordered delivers entries to r with losses, repeats and in another order, and checks what it opens.
func deliverDisordered(t *testing.T, rng *rand.Rand, r *Receiver, bus []Entry) {
	t.Helper()
	for range len(bus) { // neighbours change places, so sequences do
		i := rng.IntN(len(bus) - 1)
		bus[i], bus[i+1] = bus[i+1], bus[i]
	}
	next := map[string]int{}
	for i := 0; i < len(bus); i++ {
		if rng.IntN(10) == 0 {
			continue // lost
		}
		b, err := r.Open(begin, bus[i])
		if err != nil {
			if !errors.Is(err, ErrDuplicate) {
				t.Fatal(err)
			}
			continue
		}
		from := fmt.Sprint(b.Gateway, b.Stream)
		for j, rec := range b.Records {
			var n int
			fmt.Sscan(string(rec.Data), &n)
			want, known := next[from]
			if n < want || known && n > want && (j > 0 || !b.Gap) {
				t.Fatalf("%s: got record %d, want %d; gap %v", from, n, want, b.Gap)
			}
			next[from] = n + 1
		}
		if rng.IntN(4) == 0 {
			i = max(i-rng.IntN(5), 0) - 1 // read again from an earlier ID
			i = max(i, -1)
		}
	}
	if len(next) != 6 {
		t.Errorf("got records of %d senders, want 6", len(next))
	}
}
