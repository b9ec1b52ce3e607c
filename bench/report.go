package bench

import (
	"slices"
	"time"

	"postern/bench/machine"
)

// Report is everything a run has found. The table, the JSON and the page are
// made from it.
type Report struct {
	Begun       time.Time    `json:"begun"`
	Took        Duration     `json:"took"`
	Command     string       `json:"command"`
	Version     string       `json:"version"` // of the bench
	Machine     machine.Info `json:"machine"`
	Targets     []About      `json:"targets"`
	Missing     []string     `json:"missing,omitempty"` // targets that were wanted, and why they are not here
	Interrupted string       `json:"interrupted,omitempty"`
	Groups      []Group      `json:"groups"`
	Goals       []GoalRow    `json:"goals,omitempty"`
}

// About says what a target is.
type About struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	About   string `json:"about"`
}

// Duration prints as a person would say it, and in JSON as seconds.
type Duration time.Duration

// String rounds to seconds.
func (d Duration) String() string { return time.Duration(d).Round(time.Second).String() }

// MarshalJSON writes seconds.
func (d Duration) MarshalJSON() ([]byte, error) { return secondsJSON(time.Duration(d)), nil }

// Group is what one work has found.
type Group struct {
	Work      string             `json:"work"`
	About     string             `json:"about"`
	Rows      []Row              `json:"rows"`
	Rounds    map[string]*Rounds `json:"rounds"` // by target
	Curves    []Curve            `json:"curves,omitempty"`
	Timelines []TargetTimeline   `json:"timelines,omitempty"`
}

// Rounds says how the rounds at one target went.
type Rounds struct {
	Done     int      `json:"done"`
	Others   float64  `json:"others"` // the part of the machine that others used, median of the rounds
	Problems []string `json:"problems,omitempty"`
	Failed   string   `json:"failed,omitempty"`   // why no round could be measured
	Not      bool     `json:"left_out,omitempty"` // it was not tried, for the reason in Failed

	others []float64
}

// quiet is the part of the machine that others may use without disturbing:
// interrupts for our own traffic, the odd daemon.
const quiet = 0.10

// Disturbed reports whether others used so much of the machine that the figures
// are doubtful.
func (r *Rounds) Disturbed() bool { return r.Others > quiet }

// Row is one figure of all targets.
type Row struct {
	Figure string           `json:"figure"`
	Unit   string           `json:"unit"`
	Better Better           `json:"better"`
	Cells  map[string]*Cell `json:"cells"` // by target
}

// Cell is one figure of one target.
type Cell struct {
	Values []float64 `json:"values"` // of every round
	Median float64   `json:"median"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
}

// add takes the value of another round.
func (c *Cell) add(v float64) {
	c.Values = append(c.Values, v)
	c.Median, c.Low, c.High = median(c.Values), slices.Min(c.Values), slices.Max(c.Values)
}

// Curve is the latencies at one target, all rounds together.
type Curve struct {
	Name   string         `json:"name"`
	Target string         `json:"target"`
	Count  int64          `json:"count"`
	Points []LatencyPoint `json:"points"`
}

// LatencyPoint says which latency a part of the attempts did not exceed.
type LatencyPoint struct {
	Percent float64 `json:"percent"`
	Millis  float64 `json:"ms"`
}

// TargetTimeline is what happened at one target, in the last round.
type TargetTimeline struct {
	Target string `json:"target"`
	Timeline
}

// median returns the middle of values, which it leaves in their order.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Row returns a row of a work, nil if there is none.
func (r *Report) Row(work, figure string) *Row {
	for _, g := range r.Groups {
		if g.Work != work {
			continue
		}
		for i := range g.Rows {
			if g.Rows[i].Figure == figure {
				return &g.Rows[i]
			}
		}
	}
	return nil
}

// Others returns how much of the machine others used in the quietest and in the
// busiest work, as parts of it.
func (r *Report) Others() (span [2]float64) {
	span[0] = 1
	for _, g := range r.Groups {
		for _, at := range g.Rounds {
			if at.Done > 0 {
				span[0], span[1] = min(span[0], at.Others), max(span[1], at.Others)
			}
		}
	}
	span[0] = min(span[0], span[1])
	return span
}
