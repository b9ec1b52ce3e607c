package share

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// begin is the time at which all tests begin. The clock of the engine is an hour ahead.
var (
	begin       = time.Date(2026, 3, 29, 8, 0, 0, 0, time.UTC)
	engineBegin = begin.Add(time.Hour)
)

// testKeys returns the keys of a site.
func testKeys() *Keys { return NewKeys([32]byte{1, 2, 3}) }

// boot returns the boot number n.
func boot(n byte) Boot { return Boot{n, 0xB0} }

// engineAt returns the time of the engine at time t.
func engineAt(t time.Time) time.Time { return engineBegin.Add(t.Sub(begin)) }

// events returns a record of events with text as data.
func events(text string) Record { return Record{Type: RecordEvents, Data: []byte(text)} }

// send returns an entry with the texts, sealed by s at time t and appended at once.
func send(tb testing.TB, s *Sender, t time.Time, texts ...string) Entry {
	tb.Helper()
	for _, text := range texts {
		s.Add(t, events(text))
	}
	e := sendNext(tb, s, t)
	s.Sent(e.Appended)
	return e
}

// sendNext returns an entry with the next batch of s, appended at once and not confirmed.
func sendNext(tb testing.TB, s *Sender, t time.Time) Entry {
	tb.Helper()
	b, ok := s.Next(t, engineAt(t))
	if !ok {
		tb.Fatal("nothing to send")
	}
	return Entry{Stream: s.stream, Appended: engineAt(t), Data: b}
}

// open opens e, which must succeed.
func open(tb testing.TB, r *Receiver, t time.Time, e Entry) Batch {
	tb.Helper()
	b, err := r.Open(t, e)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// texts returns the data of the records of b.
func texts(b Batch) string {
	var all []string
	for _, r := range b.Records {
		all = append(all, string(r.Data))
	}
	return strings.Join(all, " ")
}

func TestCheckGateway(t *testing.T) {
	for _, name := range []string{"a", "mx1.example.org", "Gate_2-b", strings.Repeat("x", 64)} {
		if err := CheckGateway(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 65), "a b", "é", "a/b", "a:b", "a\n", "{a}"} {
		if err := CheckGateway(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestBootText(t *testing.T) {
	b := Boot{0xAB, 1, 15: 0xEF}
	text, err := b.MarshalText()
	if err != nil || string(text) != "ab0100000000000000000000000000ef" || b.String() != "ab010000" {
		t.Errorf("got %s, %v, %v", text, b, err)
	}
	var again Boot
	if err := again.UnmarshalText(text); err != nil || again != b {
		t.Errorf("got %v, %v", again, err)
	}
	for _, bad := range []string{"", "ab", strings.Repeat("x", 32), strings.Repeat("0", 34)} {
		if err := again.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestNamesInTheEngine(t *testing.T) {
	k := testKeys()
	site := k.site
	if len(site) != 8 || site == NewKeys([32]byte{9}).site {
		t.Errorf("site %q", site)
	}
	m := &Manifest{Kind: SnapshotKnown, ID: 7}
	got := fmt.Sprint(k.Name(Denials.String()), " ", k.Name(Known.String()), " ", k.ManifestName(SnapshotKnown), " ", k.ChunkName(m, 12))
	want := strings.ReplaceAll("postern:{S}:denials postern:{S}:known postern:{S}:snapshot:known postern:{S}:snapshot:known:7:12", "S", site)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if name := Stream(9).String(); name != "stream 9" {
		t.Error(name)
	}
}
