package share

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestSuccessorSendsWhatIsNotConfirmed: receivers take each record once, whether or not the batch of the former process
// has reached the engine.
func TestSuccessorSendsWhatIsNotConfirmed(t *testing.T) {
	for _, arrives := range []bool{false, true} {
		k := testKeys()
		former, next := NewSender(k, "a", boot(1), Denials), NewSender(k, "a", boot(2), Denials)
		r := NewReceiver(k, "b", boot(3))
		open(t, r, begin, send(t, former, begin, "one"))
		former.Add(begin, events("two"))
		unconfirmed := sendNext(t, former, begin)
		former.Add(begin.Add(time.Second), events("three"))
		if err := next.Import(begin.Add(time.Hour), former.Export(begin.Add(2*time.Second))); err != nil {
			t.Fatal(err)
		}
		if next.Waiting() != 2 {
			t.Errorf("%d records wait, want 2", next.Waiting())
		}
		at := begin.Add(time.Hour + time.Second)
		if arrives {
			open(t, r, begin, unconfirmed)
		}
		again := sendNext(t, next, at)
		again2 := sendNext(t, next, at)
		next.Sent(again2.Appended)
		b, err := r.Open(at, again)
		if arrives != errors.Is(err, ErrDuplicate) || !arrives && (err != nil || b.Gap || texts(b) != "two" || b.Boot != boot(1) || b.Records[0].Age != 3*time.Second) {
			t.Errorf("the former batch arrives %v: got %+v, %v", arrives, b, err)
		}
		for _, late := range []Entry{unconfirmed, again2} {
			if b, err := r.Open(at, late); err == nil {
				t.Errorf("got it twice: %+v", b)
			}
		}
		b = open(t, r, at, send(t, next, at, "four"))
		if texts(b) != "three four" || b.Gap || b.Boot != boot(2) || b.Sequence != 1 || b.Records[0].Age != 2*time.Second {
			t.Errorf("got %+v", b)
		}
		if former.Waiting() != 2 {
			t.Error("the export has changed the former sender")
		}
	}
}

// TestUnconfirmedBatchSurvivesTwoUpgrades and is that of the first process all the same.
func TestUnconfirmedBatchSurvivesTwoUpgrades(t *testing.T) {
	k := testKeys()
	s := NewSender(k, "old-name", boot(1), Known)
	s.lose(1)
	s.Add(begin, events("x"))
	first := sendNext(t, s, begin)
	for i := range byte(2) {
		next := NewSender(k, "a", boot(2+i), Known)
		if err := next.Import(begin, s.Export(begin)); err != nil {
			t.Fatal(err)
		}
		s = next
	}
	if s.Lost() != 1 {
		t.Errorf("%d lost, want 1", s.Lost())
	}
	r := NewReceiver(k, "b", boot(9))
	b := open(t, r, begin, sendNext(t, s, begin))
	if b.Gateway != "old-name" || b.Boot != boot(1) || b.Sequence != 1 || !b.Gap {
		t.Errorf("got %+v", b)
	}
	if _, err := r.Open(begin, first); !errors.Is(err, ErrDuplicate) {
		t.Error(err)
	}
}

func TestSuccessorKnowsWhatWasReceived(t *testing.T) {
	k := testKeys()
	former := NewReceiver(k, "a", boot(1))
	other, own := NewSender(k, "b", boot(9), Denials), NewSender(k, "a", boot(1), Denials)
	received := []Entry{send(t, other, begin, "x"), send(t, own, begin, "y")}
	for _, e := range received {
		open(t, former, begin, e)
	}
	mine := send(t, own, begin, "z") // not read back before the upgrade
	next := NewReceiver(k, "a", boot(2))
	if err := next.Import(begin, former.Export(begin)); err != nil {
		t.Fatal(err)
	}
	for _, e := range received {
		if _, err := next.Open(begin, e); !errors.Is(err, ErrDuplicate) {
			t.Error(err)
		}
	}
	if b := open(t, next, begin, mine); !b.Own || b.Gap {
		t.Errorf("got %+v", b)
	}
	if b := open(t, next, begin, send(t, other, begin, "u")); b.Own || b.Gap {
		t.Errorf("got %+v", b)
	}
	if b := open(t, next, begin, send(t, NewSender(k, "a", boot(2), Denials), begin, "v")); !b.Own {
		t.Errorf("got %+v", b)
	}
}

// TestUpgradeKeepsCountAndPart: a successor takes the place of the former process among the members, its own and those of
// others, although its own first heartbeat is not back yet.
func TestUpgradeKeepsCountAndPart(t *testing.T) {
	s := newTestSite(2)
	s.demand = []Heartbeat{{Known: 10}, {Known: 30}}
	s.run(10)
	s.want(t, "before", 0.25+0.125, 0.25+0.375)
	next := NewMembers(s.name(1), boot(101))
	if err := next.Import(s.at, s.members[1].Export(s.at)); err != nil {
		t.Fatal(err)
	}
	before := s.members[1]
	s.members[1] = next
	s.want(t, "just after", 0.25+0.125, 0.25+0.375)
	for i := range 100 {
		at := s.at.Add(time.Duration(i) * 100 * time.Millisecond)
		if i%10 == 5 {
			for g, m := range s.members {
				h, err := ParseHeartbeat(m.Announce(at, s.demand[g]).Data)
				if err != nil {
					t.Fatal(err)
				}
				for _, to := range s.members {
					to.Heartbeat(at, s.name(g), []Boot{boot(0), boot(101)}[g], h)
				}
			}
		}
		if i == 15 {
			next.Heartbeat(at, s.name(1), boot(1), before.List()[1].Heartbeat) // read back late
		}
		for g, m := range s.members {
			if n, part := m.Count(), m.Global(at); n != 2 || part < 0.37 || len(m.Conflicts()) != 0 {
				t.Fatalf("after %d00 ms: gateway %d has part %v of %d, conflicts %v", i, g, part, n, m.Conflicts())
			}
		}
	}
	if err := before.Import(s.at, before.Export(s.at)); err == nil {
		t.Error("a process has taken over from itself")
	}
}

// TestLeastDemandIsHandedOver: a successor does not grow earlier than the former process would have.
func TestLeastDemandIsHandedOver(t *testing.T) {
	m := NewMembers("a", boot(1))
	for s := range 10 {
		m.Announce(after(float64(s)), Heartbeat{Known: float64(s)})
	}
	next := NewMembers("a", boot(2))
	if err := next.Import(after(9), m.Export(after(9))); err != nil {
		t.Fatal(err)
	}
	if got, want := next.own.known.at(after(9)), m.own.known.at(after(9)); got != want || got > 5 {
		t.Errorf("got least demand %v, want %v", got, want)
	}
	if got := next.own.known.at(after(9.1 + growTime.Seconds())); got != 9 {
		t.Errorf("later %v, want 9", got)
	}
}

func TestImportOfDamagedData(t *testing.T) {
	name := `"gateway":"a","boot":"` + strings.Repeat("0", 32) + `"`
	big := `"` + strings.Repeat("A", recordMax*4/3+8) + `"`
	tests := []string{
		``, `{}`, `null`, `[]`, `{"format":2}`, `{"format":1,"stream":7}`, `{"format":1,"batch":{}}`, `{"format":1,"own":[{}]}`,
		`{"format":1,"batch":{` + name + `,"sequence":1,"records":[{"data":` + big + `},{"data":` + big + `}]}}`,
		`{"format":1,"batch":{` + name + `,"sequence":0,"records":[{"type":1}]}}`, `{"format":1,"batch":{` + name + `,"sequence":1}}`,
		`{"format":1,"waiting":[{"type":1,"data":` + big + `}]}`, `{"format":1,"processes":[{"gateway":"a b"}]}`,
		`{"format":1,"processes":[` + strings.Repeat(`{`+name+`},`, processesMax) + `{` + name + `}]}`,
		`{"format":1,"self":{` + name + `},"known":[-1,0]}`, `{"format":1,"self":{` + name + `},"members":[{` + name + `}]}`,
		`{"format":1,"self":{` + name + `},"members":[{` + name + `,"heartbeat":{"formats":[1,1]},"first":1,"at":2}]}`,
		`{"format":1,"self":{` + name + `},"former":[` + strings.Repeat(`"`+strings.Repeat("0", 32)+`",`, 16) + `"` + strings.Repeat("0", 32) + `"]}`,
	}
	for _, text := range tests {
		k := testKeys()
		s, r, m := NewSender(k, "a", boot(1), Known), NewReceiver(k, "a", boot(1)), NewMembers("a", boot(1))
		errs := []error{s.Import(begin, []byte(text)), r.Import(begin, []byte(text)), m.Import(begin, []byte(text))}
		fresh := []any{NewReceiver(k, "a", boot(1)), NewMembers("a", boot(1))}
		if errs[0] != nil && s.Waiting() != 0 || errs[1] != nil && !reflect.DeepEqual(fresh[0], r) || errs[2] != nil && !reflect.DeepEqual(fresh[1], m) {
			t.Errorf("%.60s has changed something", text)
		}
		if errs[0] == nil && errs[1] == nil && errs[2] == nil {
			t.Errorf("%.60s is imported", text)
		}
	}
	s := NewSender(testKeys(), "a", boot(1), Known)
	if err := s.Import(begin, NewSender(testKeys(), "a", boot(2), Denials).Export(begin)); err == nil {
		t.Error("the records of another stream are imported")
	}
}

func TestExportsAreBounded(t *testing.T) {
	r, k := NewReceiver(testKeys(), "a", boot(0)), testKeys()
	for i := range byte(50) { // upgrades
		open(t, r, begin, send(t, NewSender(k, "a", boot(i), Known), begin, "x"))
		next := NewReceiver(k, "a", boot(i+1))
		if err := next.Import(begin, r.Export(begin)); err != nil {
			t.Fatal(err)
		}
		r = next
	}
	m := NewMembers("a", boot(0))
	for i := range byte(50) {
		next := NewMembers("a", boot(i+1))
		if err := next.Import(begin, m.Export(begin)); err != nil {
			t.Fatal(err)
		}
		m = next
	}
	if len(r.own) != 51 || len(m.former) != formerMax || m.former[formerMax-1] != boot(49) {
		t.Errorf("%d own processes, former %s", len(r.own), fmt.Sprint(m.former))
	}
}
