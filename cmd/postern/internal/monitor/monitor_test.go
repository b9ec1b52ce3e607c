package monitor

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

var limits = Thresholds{Warning: 99, Critical: 95}

// healthy is a State without a problem.
func healthy() State {
	return State{
		Verdict: "normal", Since: time.Date(2026, 3, 29, 11, 5, 0, 0, time.UTC), Learned: 1,
		Known: Known{Good: 100, Greeted: 210 * time.Millisecond}, Logins: Logins{Accepted: 100, Denied: 3, Expected: 110.5},
		Backends: Backends{4, 4}, Connections: 50, MaxConnections: 1000,
	}
}

// about is an incident of a class.
func about(class, stage string) *Incident {
	return &Incident{ID: "i1", Class: class, Stage: stage, Since: time.Date(2026, 3, 29, 10, 50, 0, 0, time.UTC)}
}

func TestEvaluate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*State)
		level  Level
		text   string
	}{
		"no problem":          {func(*State) {}, OK, "known users 100.0 % served over 5 min, 4 of 4 backends up"},
		"learning":            {func(s *State) { s.Verdict, s.Learned = "learning", .25 }, OK, "known users 100.0 % served over 5 min, 4 of 4 backends up, detector has learned 25 %"},
		"no known users":      {func(s *State) { s.Known = Known{} }, OK, "no logins by known users over 5 min, 4 of 4 backends up"},
		"too few known users": {func(s *State) { s.Known = Known{Good: 2, Failed: 17} }, OK, "known users"},
		"notice":              {func(s *State) { s.Verdict = "notice" }, OK, "known users"},
		"attack, users served": {func(s *State) { s.Verdict = "attack" }, Warning,
			"attack since 11:05 UTC, known users 100.0 % served over 5 min"},
		"attack, users refused": {func(s *State) { s.Verdict, s.Known.Limited = "attack", 20 }, Critical,
			"only 83.3 % of known users served over 5 min (20 limited, 0 failed); attack since 11:05 UTC"},
		"some users limited": {func(s *State) { s.Known.Limited = 2 }, Warning, "only 98.0 % of known users served over 5 min (2 limited"},
		"few users slow":     {func(s *State) { s.Known.Slow = 5 }, OK, "known users 100.0 % served"},
		"many users slow":    {func(s *State) { s.Known.Slow = 6 }, Warning, "6 of 106 known users waited too long over 5 min"},
		"one backend down":   {func(s *State) { s.Backends.Up = 3 }, Warning, "1 of 4 backends down"},
		"not ready":          {func(s *State) { s.Backends.Up, s.Unready = 2, "no imap backend is up" }, Critical, "not ready: no imap backend is up"},
		"password database":  {func(s *State) { s.Verdict = "auth_fault" }, Critical, "known users' passwords are refused since 11:05 UTC"},
		"backend fault":      {func(s *State) { s.Verdict = "backend_fault" }, Warning, "backends are failing logins since 11:05 UTC"},
		"reconnect storm":    {func(s *State) { s.Verdict = "storm" }, Warning, "many sessions were lost"},
		"few passwords refused": {func(s *State) { s.Verdict, s.Incident = "auth_fault", about("auth_fault", "suspected") }, Warning,
			"known users' passwords are refused since 10:50 UTC"},
		"many passwords refused": {func(s *State) { s.Verdict, s.Incident = "auth_fault", about("auth_fault", "detected") }, Critical,
			"known users' passwords are refused since 10:50 UTC"},
		"slow spray":    {func(s *State) { s.Verdict = "slow_spray" }, Warning, "many sources guess passwords slowly since 11:05 UTC"},
		"account abuse": {func(s *State) { s.Verdict = "account_abuse" }, Warning, "many accounts are used far more than is their habit since 11:05 UTC"},
		"incident of the same class": {func(s *State) { s.Verdict, s.Incident = "attack", about("attack", "mitigating") }, Warning,
			"attack since 10:50 UTC, known users 100.0 % served over 5 min"},
		"incident that a person opened": {func(s *State) { s.Incident = about("storm", "detected") }, Warning, "incident i1: storm since 10:50 UTC, detected"},
		"incident and another verdict": {func(s *State) { s.Verdict, s.Incident = "backend_fault", about("attack", "mitigating") }, Warning,
			"backends are failing logins since 11:05 UTC; incident i1: attack since 10:50 UTC, mitigating"},
		"incident that is monitored": {func(s *State) { s.Incident = about("attack", "monitoring") }, OK,
			"known users 100.0 % served over 5 min, 4 of 4 backends up, incident i1 (attack) is over for now"},
		"incident that was closed while on": {func(s *State) { s.Verdict, s.Incident = "attack", about("attack", "resolved") }, Warning,
			"attack since 10:50 UTC, known users 100.0 % served over 5 min; incident i1 (attack) was closed, but is not over"},
		"suspected incident": {func(s *State) { s.Incident = about("notice", "suspected") }, OK, "known users 100.0 %"},
		"connections":        {func(s *State) { s.Connections = 860 }, Warning, "860 of 1000 connections in use"},
		"failure":            {func(s *State) { s.Failures = []string{"status page: disk full"} }, Warning, "status page: disk full"},
		"most severe first":  {func(s *State) { s.Failures, s.Unready = []string{"b"}, "a" }, Critical, "not ready: a; b"},
	} {
		s := healthy()
		tt.change(&s)
		if level, text := s.Evaluate(limits); level != tt.level || !strings.HasPrefix(text, tt.text) {
			t.Errorf("%s: got %v, %q; want %v, %q", name, level, text, tt.level, tt.text)
		}
	}
}

// TestNagiosFormat follows the guidelines: one line, one bar, numbers with units and
// ranges.
func TestNagiosFormat(t *testing.T) {
	s := healthy()
	line, level := s.Nagios(limits)
	const want = "POSTERN OK - known users 100.0 % served over 5 min, 4 of 4 backends up | 'served'=100%;99:;95:;0;100 'greeted'=0.21s;;;0 'accepted'=100;;;0 " +
		"'denied'=3;;;0 'refused'=0;;;0 'void'=0;;;0 'expected'=110.5;;;0 'excess'=0% 'backends'=4;;;0;4 'connections'=50;;;0;1000"
	if line != want || level != OK {
		t.Errorf("got  %v %s\nwant %s", level, line, want)
	}
	s.Failures = []string{"a | b\nc"}
	line, level = s.Nagios(limits)
	if strings.Count(line, "|") != 1 || strings.Contains(line, "\n") || level != Warning {
		t.Errorf("got %v %q", level, line)
	}
	perf := regexp.MustCompile(`^'[a-z]+'=-?[0-9.]+(s|%|B|c)?(;[0-9.:~@]*){0,2}(;[0-9.]*){0,2}$`)
	for _, field := range strings.Fields(strings.SplitN(line, " | ", 2)[1]) {
		if !perf.MatchString(field) {
			t.Errorf("%s is not performance data", field)
		}
	}
	if got := NagiosError(Unknown, "no answer"); got != "POSTERN UNKNOWN - no answer" {
		t.Errorf("got %q", got)
	}
}

func TestCheckmkFormat(t *testing.T) {
	s := healthy()
	s.Verdict = "attack"
	const want = `1 "postern" served=100|greeted=0.21|accepted=100|denied=3|refused=0|void=0|expected=110.5|excess=0|backends=4|connections=50 ` +
		"attack since 11:05 UTC, known users 100.0 % served over 5 min"
	if got := s.Checkmk(limits); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := CheckmkError(Critical, "no\nanswer"); got != `2 "postern" - no answer` {
		t.Errorf("got %q", got)
	}
}

// TestMuninFieldsMatch: config and fetch have the same fields.
func TestMuninFieldsMatch(t *testing.T) {
	described := regexp.MustCompile(`(?m)^(\w+)\.label`).FindAllStringSubmatch(MuninConfig(), -1)
	for name, text := range map[string]string{"fetch": healthy().Munin(), "no data": MuninNoData()} {
		fetched := regexp.MustCompile(`(?m)^(\w+)\.value (U|[0-9.]+)$`).FindAllStringSubmatch(text, -1)
		if len(fetched) != len(described) || len(fetched) != strings.Count(text, "\n") {
			t.Errorf("%s: got\n%s", name, text)
		}
		for _, f := range fetched {
			if !strings.Contains(MuninConfig(), f[1]+".label") {
				t.Errorf("%s: %s is not described", name, f[1])
			}
		}
	}
	if !strings.Contains(healthy().Munin(), "accepted.value 100\n") || !strings.Contains(MuninNoData(), "accepted.value U\n") {
		t.Error("accepted.value: want 100, and U without data")
	}
}
