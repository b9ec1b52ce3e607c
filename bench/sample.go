package bench

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Better says which way a figure is good.
type Better string

// The ways.
const (
	Lower   Better = "lower"
	Higher  Better = "higher"
	Neither Better = "" // it is no merit, as a share of what was offered
)

// Sample is what one round at one target found.
type Sample struct {
	figures   []figure
	curves    []curve
	timelines []Timeline
	problems  []string
}

// figure is one number.
type figure struct {
	name, unit string
	better     Better
	value      float64
}

// curve is the latencies of one thing.
type curve struct {
	name    string
	latency *hdrhistogram.Histogram
}

// Timeline is what happened, second by second.
type Timeline struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Lines []Line `json:"lines"`
}

// Line is one line of a timeline: a value for every second.
type Line struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// Figure adds a number: a row of the table. All targets and rounds of a work
// must name a figure alike.
func (s *Sample) Figure(name, unit string, better Better, value float64) {
	s.figures = append(s.figures, figure{name, unit, better, value})
}

// Latency adds the latencies that a tally has counted: a curve of the report.
func (s *Sample) Latency(name string, t *Tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.curves = append(s.curves, curve{name, t.latency})
}

// Timeline adds what happened second by second: a chart of the report, which
// shows the last round.
func (s *Sample) Timeline(name, unit string, lines ...Line) {
	s.timelines = append(s.timelines, Timeline{name, unit, lines})
}

// Problem notes what went wrong, for all to see. The figures count still.
func (s *Sample) Problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// has reports whether a figure is there already.
func (s *Sample) has(name string) bool {
	for _, f := range s.figures {
		if f.name == name {
			return true
		}
	}
	return false
}
