package monitor

import (
	"fmt"
	"strconv"
	"strings"
)

// measure is one number that monitoring systems draw.
type measure struct {
	name, value, unit string
	warning, critical string // ranges outside which it is bad
	min, max          string
}

// measures are the numbers of s.
func (s State) measures(l Limits) []measure {
	count := func(name string, n int) measure {
		return measure{name: name, value: strconv.Itoa(n), min: "0"}
	}
	return []measure{
		{"served", decimal(s.Known.Served()), "%", decimal(l.Warning) + ":", decimal(l.Critical) + ":", "0", "100"},
		{name: "greeted", value: decimal(s.Known.Greeted.Seconds()), unit: "s", min: "0"},
		count("accepted", s.Logins.Accepted), count("denied", s.Logins.Denied), count("refused", s.Logins.Refused), count("void", s.Logins.Void),
		{name: "expected", value: decimal(s.Logins.Expected), min: "0"},
		{name: "excess", value: decimal(100 * s.Excess), unit: "%"},
		{name: "backends", value: strconv.Itoa(s.Backends.Up), min: "0", max: strconv.Itoa(s.Backends.All)},
		{name: "connections", value: strconv.Itoa(s.Connections), min: "0", max: strconv.Itoa(s.MaxConnections)},
	}
}

// decimal writes a number as every monitoring system reads it.
func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 32) }

// Nagios is the line that Nagios and Icinga read, without its end, and the exit
// code that goes with it (Monitoring Plugins Development Guidelines).
func (s State) Nagios(l Limits) (string, Level) {
	level, text := s.Judge(l)
	var perf []string
	for _, m := range s.measures(l) {
		fields := []string{m.value + m.unit, m.warning, m.critical, m.min, m.max}
		perf = append(perf, fmt.Sprintf("'%s'=%s", m.name, strings.TrimRight(strings.Join(fields, ";"), ";")))
	}
	return fmt.Sprintf("POSTERN %v - %s | %s", level, oneLine(text), strings.Join(perf, " ")), level
}

// NagiosTrouble is the line where no State could be had.
func NagiosTrouble(level Level, text string) string {
	return fmt.Sprintf("POSTERN %v - %s", level, oneLine(text))
}

// Checkmk is the line of a local check of Checkmk's agent, without its end.
func (s State) Checkmk(l Limits) string {
	level, text := s.Judge(l)
	var perf []string
	for _, m := range s.measures(l) {
		perf = append(perf, m.name+"="+m.value)
	}
	return fmt.Sprintf(`%d "postern" %s %s`, level, strings.Join(perf, "|"), oneLine(text))
}

// CheckmkTrouble is the line where no State could be had.
func CheckmkTrouble(level Level, text string) string {
	return fmt.Sprintf(`%d "postern" - %s`, level, oneLine(text))
}

// oneLine keeps text from ending the line, or the part before the numbers.
func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "|", "/").Replace(text)
}
