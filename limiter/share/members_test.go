package share

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// beat is a heartbeat of a gateway that reads format 1.
var beat = Heartbeat{Formats: [2]uint8{1, 1}}

// after returns the time so many seconds after begin.
func after(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

func TestCount(t *testing.T) {
	m := NewMembers("a", boot(1))
	if m.Count() != 1 || m.Global(begin) != 1 || m.Format() != FormatOldest {
		t.Errorf("at first %d members", m.Count())
	}
	want := func(at float64, n int) {
		t.Helper()
		if m.Count() != n {
			t.Errorf("after %v s: %d members, want %d", at, m.Count(), n)
		}
	}
	for s := range 200 {
		at := float64(s)
		m.Heartbeat(after(at), "a", boot(1), beat)
		if s >= 10 && s < 20 {
			m.Heartbeat(after(at), "b", boot(2), beat)
		}
		switch {
		case s < 10 || s > 79:
			want(at, 1)
		default: // counts at once, and until 60 s after its last heartbeat
			want(at, 2)
		}
	}
}

// TestNobodyLeavesWhileTheEngineIsDown: a time without any heartbeat does not count.
func TestNobodyLeavesWhileTheEngineIsDown(t *testing.T) {
	m := NewMembers("a", boot(1))
	for _, name := range []string{"a", "b", "c"} {
		m.Heartbeat(after(0), name, Boot{name[0]}, beat)
	}
	m.Heartbeat(after(600), "b", Boot{'b'}, beat)
	if m.Count() != 4 { // and this process, which has not seen itself
		t.Errorf("%d members", m.Count())
	}
	for s := range 57 {
		m.Heartbeat(after(601+float64(s)), "b", Boot{'b'}, beat)
	}
	if m.Count() != 4 {
		t.Errorf("%d members before a minute has passed", m.Count())
	}
	for s := range 10 {
		m.Heartbeat(after(660+float64(s)), "b", Boot{'b'}, beat)
	}
	if m.Count() != 2 {
		t.Errorf("%d members after it, want 2", m.Count())
	}
}

func TestRestartedGatewayCountsOnce(t *testing.T) {
	m := NewMembers("a", boot(1))
	for s := range 30 {
		m.Heartbeat(after(float64(s)), "a", boot(1), beat)
		if s < 10 {
			m.Heartbeat(after(float64(s)), "b", boot(2), beat)
		} else if s > 11 {
			m.Heartbeat(after(float64(s)), "b", boot(3), beat)
		}
		if n := m.Count(); n > 3 || s > 16 && n != 2 {
			t.Errorf("after %d s: %d members", s, n)
		}
	}
	if c := m.Conflicts(); len(c) != 0 {
		t.Errorf("conflicts: %v", c)
	}
}

func TestUpgradedGatewayCountsOnce(t *testing.T) {
	m := NewMembers("a", boot(1))
	m.Heartbeat(after(0), "a", boot(1), beat)
	m.Heartbeat(after(0), "b", boot(2), beat)
	next := beat
	next.Former = []Boot{boot(2)}
	m.Heartbeat(after(1), "b", boot(3), next)
	m.Heartbeat(after(2), "b", boot(2), beat) // late
	if m.Count() != 2 || m.List()[1].Boot != boot(3) {
		t.Errorf("%+v", m.List())
	}
}

func TestConflictOfNames(t *testing.T) {
	m := NewMembers("a", boot(1))
	for s := range 120 {
		at := float64(s)
		m.Heartbeat(after(at), "a", boot(1), beat)
		m.Heartbeat(after(at), "b", boot(2), beat)
		if s >= 10 && s < 60 {
			m.Heartbeat(after(at+.5), "b", boot(3), beat)
		}
		c, n := fmt.Sprint(m.Conflicts()), m.Count()
		switch {
		case s < 10 || s > 119:
			if c != "[]" || n != 2 {
				t.Errorf("after %d s: conflicts %s, %d members", s, c, n)
			}
		case s > 16 && s < 60:
			if c != "[b]" || n != 3 {
				t.Errorf("after %d s: conflicts %s, %d members", s, c, n)
			}
		}
	}
	// With the own name, too.
	m.Heartbeat(after(121), "a", boot(9), beat)
	for s := range 10 {
		m.Heartbeat(after(122+float64(s)), "a", boot(1), beat)
		m.Heartbeat(after(122+float64(s)), "a", boot(9), beat)
	}
	if c := m.Conflicts(); fmt.Sprint(c) != "[a]" {
		t.Errorf("conflicts %v, want a", c)
	}
}

// TestFormatThatAllRead: senders write the newest format of the member that reads the least.
func TestFormatThatAllRead(t *testing.T) {
	m := NewMembers("a", boot(1))
	next := Heartbeat{Formats: [2]uint8{1, 7}}
	m.Heartbeat(after(0), "b", boot(2), next)
	m.Heartbeat(after(0), "a", boot(1), next)
	if got := m.Format(); got != FormatNewest {
		t.Errorf("got format %d, want %d", got, FormatNewest)
	}
	m.Heartbeat(after(0), "c", boot(3), beat)
	if got := m.Format(); got != 1 {
		t.Errorf("got format %d, want 1", got)
	}
}

func TestMembersAreBounded(t *testing.T) {
	m := NewMembers("a", boot(1))
	for i := range 2 * membersMax {
		m.Heartbeat(begin, fmt.Sprint("g", i), boot(2), beat)
	}
	if m.Count() > membersMax+1 {
		t.Errorf("%d members", m.Count())
	}
}

func TestListIsSorted(t *testing.T) {
	m := NewMembers("b", boot(1))
	h := Heartbeat{Known: 3, Version: "1.2", Leads: true, Formats: [2]uint8{1, 1}}
	m.Heartbeat(after(1), "c", boot(3), h)
	m.Heartbeat(after(2), "a", boot(2), beat)
	m.Heartbeat(after(3), "b", boot(1), beat)
	list := m.List()
	if len(list) != 3 || list[0].Gateway != "a" || !list[1].Own || list[2].Heartbeat.Version != "1.2" || !list[2].Seen.Equal(after(1)) {
		t.Errorf("got %+v", list)
	}
}

func TestHeartbeatIsEncoded(t *testing.T) {
	m := NewMembers("a", boot(1))
	m.former = []Boot{boot(7)}
	r := m.Announce(begin, Heartbeat{Known: 12.5, Strangers: 3, Version: "1.0 <&>", Mode: "shared", Since: begin, Leads: true})
	h, err := ParseHeartbeat(r.Data)
	if err != nil || r.Type != RecordHeartbeat {
		t.Fatal(err)
	}
	if h.Known != 12.5 || h.Strangers != 3 || h.Version != "1.0 <&>" || h.Mode != "shared" || !h.Since.Equal(begin) || !h.Leads ||
		h.Formats != [2]uint8{FormatOldest, FormatNewest} || !h.isFormer(boot(7)) {
		t.Errorf("got %+v", h)
	}
	// What is out of range is brought into it.
	long := strings.Repeat("é\xFF", 100)
	for _, h := range []Heartbeat{
		{Known: math.NaN(), Strangers: math.Inf(1), Version: long, Mode: long, Since: time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Known: -1, Strangers: math.Inf(-1)},
	} {
		if _, err := ParseHeartbeat(m.Announce(begin, h).Data); err != nil {
			t.Error(err)
		}
	}
}

func TestBadHeartbeatsAreRefused(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `[]`, `{"formats":[0,1]}`, `{"formats":[2,1]}`, `{"formats":[1,1],"known":-1}`, `{"formats":[1,1],"strangers":1e10}`,
		`{"formats":[1,1],"known":1e999}`, `{"formats":[1,1],"former":["x"]}`, `{"formats":[1,1],"version":"` + strings.Repeat("x", 65) + `"}`,
		`{"formats":[1,1]}` + strings.Repeat(" ", heartbeatMax),
		`{"formats":[1,1],"former":[` + strings.Repeat(`"00000000000000000000000000000000",`, 16) + `"00000000000000000000000000000000"]}`,
	} {
		if h, err := ParseHeartbeat([]byte(text)); err == nil {
			t.Errorf("%.40q gives %+v", text, h)
		}
	}
	if _, err := ParseHeartbeat([]byte(`{"formats":[1,1],"later":{"a":1}}`)); err != nil {
		t.Error(err)
	}
}
