package monitor

import (
	"fmt"
	"strconv"
	"strings"
)

// value is one number of the performance data.
type value struct {
	name, value, unit string
	warning, critical string // ranges outside which the level is Warning or Critical
	min, max          string
}

// values returns the performance data of s.
func (s State) values(l Thresholds) []value {
	count := func(name string, n int) value {
		return value{name: name, value: strconv.Itoa(n), min: "0"}
	}
	return []value{
		{"served", decimal(s.Known.served()), "%", decimal(l.Warning) + ":", decimal(l.Critical) + ":", "0", "100"},
		{name: "greeted", value: decimal(s.Known.Greeted.Seconds()), unit: "s", min: "0"},
		count("accepted", s.Logins.Accepted), count("denied", s.Logins.Denied), count("refused", s.Logins.Refused), count("void", s.Logins.Void),
		{name: "expected", value: decimal(s.Logins.Expected), min: "0"},
		{name: "excess", value: decimal(100 * s.Excess), unit: "%"},
		{name: "backends", value: strconv.Itoa(s.Backends.Up), min: "0", max: strconv.Itoa(s.Backends.All)},
		{name: "connections", value: strconv.Itoa(s.Connections), min: "0", max: strconv.Itoa(s.MaxConnections)},
	}
}

// decimal formats a number without an exponent.
func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 32) }

// Nagios returns the output of a plugin for Nagios and Icinga, without a line end,
// and its level (Monitoring Plugins Development Guidelines).
func (s State) Nagios(l Thresholds) (string, Level) {
	level, text := s.Evaluate(l)
	var perf []string
	for _, m := range s.values(l) {
		fields := []string{m.value + m.unit, m.warning, m.critical, m.min, m.max}
		perf = append(perf, fmt.Sprintf("'%s'=%s", m.name, strings.TrimRight(strings.Join(fields, ";"), ";")))
	}
	return fmt.Sprintf("POSTERN %v - %s | %s", level, oneLine(text), strings.Join(perf, " ")), level
}

// NagiosError returns the output of a plugin that could not get a State.
func NagiosError(level Level, text string) string {
	return fmt.Sprintf("POSTERN %v - %s", level, oneLine(text))
}

// Checkmk returns the output of a local check for Checkmk's agent, without a line
// end.
func (s State) Checkmk(l Thresholds) string {
	level, text := s.Evaluate(l)
	var perf []string
	for _, m := range s.values(l) {
		perf = append(perf, m.name+"="+m.value)
	}
	return fmt.Sprintf(`%d "postern" %s %s`, level, strings.Join(perf, "|"), oneLine(text))
}

// CheckmkError returns the output of a local check that could not get a State.
func CheckmkError(level Level, text string) string {
	return fmt.Sprintf(`%d "postern" - %s`, level, oneLine(text))
}

// oneLine replaces characters that would end the line or begin the performance
// data.
func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "|", "/").Replace(text)
}
