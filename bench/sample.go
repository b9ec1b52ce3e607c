package bench

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Better says which values of a figure are good.
type Better string

const (
	lower   Better = "lower"
	higher  Better = "higher"
	neither Better = "" // as the share of what was offered
)

// sample is what one round at one target has found.
type sample struct {
	figures   []figure
	curves    []curve
	timelines []Timeline
	problems  []string

	conclusion   string        // on a running gateway
	explanations []Explanation // of its refusals
}

// figure is one number.
type figure struct {
	name, unit string
	better     Better
	value      float64
}

// curve is a distribution of latencies.
type curve struct {
	name    string
	latency *hdrhistogram.Histogram
}

// Timeline is a chart over time.
type Timeline struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Lines []Line `json:"lines"`
}

// Line is one line of a timeline, with a value for every second.
type Line struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// figure adds a number: a row of the table. All targets and rounds of a work
// must use the same name.
func (s *sample) figure(name, unit string, better Better, value float64) {
	s.figures = append(s.figures, figure{name, unit, better, value})
}

// latency adds the latencies of r: a curve of the report.
func (s *sample) latency(name string, r *results) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.curves = append(s.curves, curve{name, r.latency})
}

// timeline adds a chart over time. The report shows that of the last round.
func (s *sample) timeline(name, unit string, lines ...Line) {
	s.timelines = append(s.timelines, Timeline{name, unit, lines})
}

// problem adds a note on what went wrong. The figures count all the same.
func (s *sample) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// has reports whether s contains a figure.
func (s *sample) has(name string) bool {
	return slices.ContainsFunc(s.figures, func(f figure) bool { return f.name == name })
}
