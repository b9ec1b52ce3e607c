package eventlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

var sampleStart = time.Unix(1_000_000, 0)

// direct is the forwarder of clients that connect themselves.
var direct netip.AddrPort

// groupNumber is a group of a source of its own.
func groupNumber(n int) (group, netip.Addr) {
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	return groupOf(netip.AddrPortFrom(addr, 1), direct, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}, slog.LevelInfo, false), addr
}

// TestSamplerRate: a burst, and then so many lines a second. A clock that goes back
// gives nothing away.
func TestSamplerRate(t *testing.T) {
	s, n := newSampler(), 0
	write := func(at time.Duration, lines int) (written int) {
		for range lines {
			n++
			if g, addr := groupNumber(n); s.allow(sampleStart.Add(at), g, addr) {
				written++
			}
		}
		return written
	}
	for _, step := range []struct {
		at          time.Duration
		lines, want int
	}{
		{0, 4000, sampledBurst},
		{time.Second, 500, sampledPerSecond},
		{1500 * time.Millisecond, 500, sampledPerSecond / 2},
		{0, 10, 0}, {1500 * time.Millisecond, 10, 0}, // back in time
	} {
		if got := write(step.at, step.lines); got != step.want {
			t.Errorf("after %v: got %d of %d lines, want %d", step.at, got, step.lines, step.want)
		}
	}
	const dropped = 1000 + 300 + 400 + 20
	closed, others := s.report(sampleStart, false)
	if len(closed) != 0 || others != dropped || s.total() != dropped {
		t.Errorf("got %d closed, %d others, %d in all, want %d others", len(closed), others, s.total(), dropped)
	}
	if _, others := s.report(sampleStart, false); others != 0 {
		t.Errorf("the second report: got %d others, want 0", others)
	}
}

// TestSamplerWritesFirstLines of sources while one source floods: the flood gets its
// first lines, and leaves room for the others.
func TestSamplerWritesFirstLines(t *testing.T) {
	s := newSampler()
	flood, floodAddr := groupNumber(0)
	written := 0
	for i := range 10 * sampledPerSecond {
		at := sampleStart.Add(time.Duration(i) * time.Millisecond)
		for range 10 {
			if s.allow(at, flood, floodAddr) {
				written++
			}
		}
		if g, addr := groupNumber(i + 1); !s.allow(at, g, addr) {
			t.Fatalf("the first line of source %d was left out", i+1)
		}
	}
	if written != 1+furtherLines {
		t.Errorf("the flood has %d lines, want %d", written, 1+furtherLines)
	}
	closed, others := s.report(sampleStart.Add(groupLasts), false)
	if len(closed) != 1 || closed[0].lines != uint64(100*sampledPerSecond-written) || closed[0].rip != floodAddr || others != 0 {
		t.Fatalf("got %+v and %d others", closed, others)
	}
	if from, to := closed[0].from, closed[0].to; !from.Equal(sampleStart.Add(2*time.Millisecond)) || to.Sub(sampleStart) != (10*sampledPerSecond-1)*time.Millisecond {
		t.Errorf("left out from %v to %v", from, to)
	}
	if !s.allow(sampleStart.Add(groupLasts), flood, floodAddr) {
		t.Error("the first line of the next group was left out")
	}
}

// TestSamplerGroups: what differs in one part has a first line of its own. All
// addresses of a source are one.
func TestSamplerGroups(t *testing.T) {
	at, v := netip.MustParseAddrPort("[2001:db8::1]:1"), limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}
	first := groupOf(at, direct, v, slog.LevelInfo, false)
	if got := groupOf(netip.MustParseAddrPort("[2001:db8::2]:2"), direct, v, slog.LevelInfo, false); got != first {
		t.Errorf("another address of the source: got %+v, want %+v", got, first)
	}
	waits := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource, Wait: time.Second}
	for name, other := range map[string]group{
		"source": groupOf(netip.MustParseAddrPort("[2001:db8:0:1::1]:1"), direct, v, slog.LevelInfo, false),
		"rule":   groupOf(at, direct, limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RulePair}, slog.LevelInfo, false),
		"action": groupOf(at, direct, waits, slog.LevelInfo, false), "level": groupOf(at, direct, v, slog.LevelWarn, false),
		"client": groupOf(at, direct, limiter.Verdict{Action: v.Action, Rule: v.Rule, Known: true}, slog.LevelInfo, false), "forwarder": groupOf(at, at, v, slog.LevelInfo, false), "mode": groupOf(at, direct, v, slog.LevelInfo, true),
	} {
		if other == first {
			t.Errorf("another %s is the same group", name)
		}
	}
}

// TestSamplerIsBounded in memory, in lines and in closing lines, by a million sources
// with two lines each.
func TestSamplerIsBounded(t *testing.T) {
	s := newSampler()
	const sources, seconds = 1_000_000, 100
	written, most := 0, 0
	var counted uint64
	for i := range sources {
		at := sampleStart.Add(time.Duration(i) * seconds * time.Second / sources)
		g, addr := groupNumber(i)
		for range 2 {
			if s.allow(at, g, addr) {
				written++
			}
		}
		most = max(most, len(s.groups))
		if i%(sources/10) == 0 {
			closed, others := s.report(at, false)
			counted += others
			for _, l := range closed {
				counted += l.lines
			}
			if len(closed) > closingMax {
				t.Errorf("%d closing lines at once, want at most %d", len(closed), closingMax)
			}
		}
	}
	if most > groupsMax || written > sampledBurst+sampledPerSecond*seconds {
		t.Errorf("%d groups, %d lines", most, written)
	}
	closed, others := s.report(sampleStart, true)
	for counted += others; len(closed) > 0; closed = closed[1:] {
		counted += closed[0].lines
	}
	if len(s.groups) != 0 || counted != s.total() || counted != uint64(2*sources-written) {
		t.Errorf("%d groups are left; %d lines counted, %d in all, want %d", len(s.groups), counted, s.total(), 2*sources-written)
	}
}

// TestSamplerClosesTheWorst: where there are too many for closing lines, the sources
// with most lines left out have one.
func TestSamplerClosesTheWorst(t *testing.T) {
	s := newSampler()
	const more = 10
	for i := range closingMax + more {
		g, addr := groupNumber(i)
		for range 1 + furtherLines + i {
			s.allow(sampleStart.Add(time.Duration(i)*time.Second), g, addr)
		}
	}
	closed, others := s.report(sampleStart, true)
	if len(closed) != closingMax || closed[0].lines != closingMax+more-1 || closed[closingMax-1].lines != more || others != more*(more-1)/2 {
		t.Errorf("%d closed, %d others", len(closed), others)
	}
}

// countLines counts the lines of a log in text by event, rule and account.
func countLines(t *testing.T, log string) map[string]int {
	t.Helper()
	got := map[string]int{}
	for line := range strings.Lines(log) {
		_, f, err := testbed.ParseLine("text", strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimSpace(fmt.Sprintln(f["event"], f["account"], f["rule"], f["lines"]))]++
	}
	return got
}

// TestLogSampling logs strangers and the known at the same time: all logins of the
// known are written, and of the strangers' those that the sampler allows.
func TestLogSampling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(&out, "text", slog.LevelInfo)
		const flood = 2 * sampledPerSecond
		for range flood {
			denied, known, accepted := testAttempt("x"), testAttempt("kari"), testAttempt("anna")
			known.Verdict.Known, accepted.Outcome = true, limiter.Accepted
			l.Attempt(denied)
			l.Attempt(known)
			l.Attempt(accepted)
			l.Record(testRecord(""))
			l.Record(testRecord("anna"))
		}
		l.ReportDropped() // no group is over
		<-time.After(groupLasts)
		l.ReportDropped()
		l.ReportDropped() // has nothing to report
		left := fmt.Sprintf("%d", flood-1-furtherLines)
		want := map[string]int{
			"login anna source": flood, "login kari source": flood, "connection anna none": flood,
			"login x source": 1 + furtherLines, "connection  none": 1 + furtherLines,
			"left_out  source " + left: 1, "left_out  none " + left: 1,
		}
		if got := countLines(t, out.String()); !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if got := l.Dropped(); got != 2*(flood-1-furtherLines) {
			t.Errorf("%d lines counted as dropped", got)
		}
	})
}

// TestLeftOutAtOtherPrograms: lines left out about logins at other programs are counted
// apart from those of clients that connect.
func TestLeftOutAtOtherPrograms(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, "text", slog.LevelInfo)
	asked := testAttempt("x")
	asked.Listener = "policy"
	for range 3 + furtherLines {
		l.Attempt(testAttempt("x"))
		l.Attempt(asked)
	}
	out.Reset()
	l.ReportAll()
	var got []string
	for line := range strings.Lines(out.String()) {
		_, f, err := testbed.ParseLine("text", strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f["listener"]+" "+f["lines"])
	}
	slices.Sort(got)
	if want := []string{" 2", "policy 2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLogReportsAllAtTheEnd, also windows that are not over.
func TestLogReportsAllAtTheEnd(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, "text", slog.LevelInfo)
	for range 3 + furtherLines {
		l.Attempt(testAttempt("x"))
	}
	out.Reset()
	l.ReportAll()
	_, f, err := testbed.ParseLine("text", strings.TrimSpace(out.String()))
	if err != nil || f["event"] != "left_out" || f["lines"] != "2" || f["rip"] != "192.0.2.7" || f["rule"] != "source" || f["action"] != "tarpit" || f["enforced"] != "true" {
		t.Errorf("got %s (%v)", &out, err)
	}
}

// TestLogSamplesNeighbours: who is known by the network alone may guess as often as a
// stranger, and whether a password worked before changes nothing.
func TestLogSamplesNeighbours(t *testing.T) {
	for _, worked := range []bool{false, true} {
		var out bytes.Buffer
		l := New(&out, "text", slog.LevelInfo)
		for range 10 * furtherLines {
			a := testAttempt("x")
			a.Verdict.Known, a.Traits.NetworkOnly, a.Traits.Worked = true, true, worked
			l.Attempt(a)
		}
		if got, want := countLines(t, out.String()), map[string]int{"login x source": 1 + furtherLines}; !maps.Equal(got, want) {
			t.Errorf("worked %v: got %v, want %v", worked, got, want)
		}
	}
}

// TestLogDropsWithoutAGroup: what no group counts is reported at once.
func TestLogDropsWithoutAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(&out, "text", slog.LevelInfo)
		for i := range sampledBurst + 7 {
			a := testAttempt("x")
			_, addr := groupNumber(i)
			a.Client = netip.AddrPortFrom(addr, 1)
			l.Attempt(a)
		}
		l.ReportDropped()
		if got, want := countLines(t, out.String()), map[string]int{"login x source": sampledBurst, "log_dropped   7": 1}; !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// TestLogBelowLevelIsNotSampled: lines that are not written use no tokens.
func TestLogBelowLevelIsNotSampled(t *testing.T) {
	l := New(&bytes.Buffer{}, "json", slog.LevelError)
	for range 2 * sampledBurst {
		l.Record(testRecord(""))
	}
	if n := l.Dropped(); n != 0 {
		t.Errorf("%d lines counted as dropped", n)
	}
}
