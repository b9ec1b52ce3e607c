package share

import (
	"encoding/hex"
	"testing"
	"time"
)

// TestWireFormat: these are the octets that other versions read.
func TestWireFormat(t *testing.T) {
	k := testKeys()
	s := NewSender(k, "mx1", boot(1), Known)
	s.lose(1)
	s.Add(begin, Record{Type: RecordDecision, Data: []byte("decision")})
	s.Add(begin.Add(250*time.Millisecond), Record{Type: RecordSnapshot})
	sendNext(t, s, begin)
	got := sendNext(t, s, begin.Add(300*time.Millisecond)).Data
	header := "01000103" + "6d7831" + "01b00000000000000000000000000000" + "0000000000000001" + "00000001"
	plain := "01" + "ac9fc9c6d333" + "06" + "ac02" + "08" + hex.EncodeToString([]byte("decision")) + "07" + "32" + "00"
	h, size, _ := parseHeader(got)
	nonce := h.nonce()
	opened, err := k.aead(&h).Open(nil, nonce[:], got[size:], got[:size])
	if err != nil || hex.EncodeToString(got[:size]) != header || hex.EncodeToString(opened) != plain {
		t.Errorf("got %x, %x, %v\nwant %s, %s", got[:size], opened, err, header, plain)
	}
	if sealed, want := hex.EncodeToString(got[size:]), "833980e495f601ab1c8067d19f60abd328bbda8b77f3fce86c88e51e50f7e472384468f237b9"; sealed != want {
		t.Errorf("got sealed %s, want %s", sealed, want)
	}
	if site, want := k.site, "1c09427b"; site != want {
		t.Errorf("got site %s, want %s", site, want)
	}
}
