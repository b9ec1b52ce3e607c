package handover

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
)

// ends returns the two ends of a link, which the test closes.
func ends(t *testing.T) (a, b *Link) {
	t.Helper()
	a, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = FromFile(theirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// random returns n octets that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// receive returns the next message of l, which must be there or come.
func receive(t *testing.T, l *Link) Message {
	t.Helper()
	m, err := l.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMessagesOfAnySizeArriveWhole(t *testing.T) {
	a, b := ends(t)
	sizes := []int{0, 1, maxPart - 1, maxPart, maxPart + 1, 2 * maxPart, 2*maxPart + 1, 5 << 20}
	sent := make(chan error, 1)
	go func() {
		for i, n := range sizes {
			if err := a.Send(Kind(i), random(n)); err != nil {
				sent <- err
				return
			}
		}
		sent <- a.Close()
	}()
	for i, n := range sizes {
		m := receive(t, b)
		if m.Kind != Kind(i) || !bytes.Equal(m.Payload, random(n)) || m.Files != nil {
			t.Errorf("message %d: got kind %d, %d octets and %d files, want %d octets as sent", i, m.Kind, len(m.Payload), len(m.Files), n)
		}
	}
	if _, err := b.Receive(); err != io.EOF {
		t.Errorf("after the last message: got %v, want io.EOF", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestConcurrentMessagesDoNotMix(t *testing.T) {
	a, b := ends(t)
	const senders, each = 8, 20
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for range each {
				if err := a.Send(Kind(s), bytes.Repeat([]byte{byte(s)}, 100_000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range senders * each {
		m := receive(t, b)
		if want := bytes.Repeat([]byte{byte(m.Kind)}, 100_000); !bytes.Equal(m.Payload, want) {
			t.Fatalf("message of kind %d: got a payload with octets of others", m.Kind)
		}
	}
	group.Wait()
}

