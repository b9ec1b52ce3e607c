package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"postern/bench/machine"
)

// Report is everything that a run has found. Table, JSON and page are made from
// it.
type Report struct {
	Start       time.Time    `json:"begun"`
	Took        Duration     `json:"took"`
	Command     string       `json:"command"`
	Version     string       `json:"version"` // of the bench
	Machine     machine.Info `json:"machine"`
	Targets     []TargetInfo `json:"targets"`
	Running     bool         `json:"running,omitempty"` // the only target ran already
	Missing     []string     `json:"missing,omitempty"` // targets that could not be started, and why
	Interrupted string       `json:"interrupted,omitempty"`
	Groups      []Group      `json:"groups"`
	Goals       []GoalRow    `json:"goals,omitempty"`
}

// TargetInfo says what a target is.
type TargetInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	About   string `json:"about"`
}

// Duration prints in whole seconds as 1m35s, and is a number of seconds in JSON.
type Duration time.Duration

// String rounds to seconds.
func (d Duration) String() string { return time.Duration(d).Round(time.Second).String() }

// MarshalJSON writes seconds.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).Seconds()) }

// JSON writes the whole report.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

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
	Others   float64  `json:"others"` // the part of the machine that other programs used, median of the rounds
	Problems []string `json:"problems,omitempty"`
	Failed   string   `json:"failed,omitempty"`   // why no round could be measured
	LeftOut  bool     `json:"left_out,omitempty"` // not measured, for the reason in Failed

	// Of a running gateway: whether it held, round by round, and what its
	// refusals mean.
	Conclusions  []string      `json:"conclusions,omitempty"`
	Explanations []Explanation `json:"explanations,omitempty"`

	others []float64
}

// disturbedAbove is the part of the machine that other programs may use before
// figures are doubtful. Interrupts for our own traffic are among it.
const disturbedAbove = 0.10

// disturbed reports whether the figures are doubtful because other programs used
// the machine.
func (r *Rounds) disturbed() bool { return r.Others > disturbedAbove }

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

// add adds the value of another round.
func (c *Cell) add(v float64) {
	c.Values = append(c.Values, v)
	c.Median, c.Low, c.High = median(c.Values), slices.Min(c.Values), slices.Max(c.Values)
}

// Curve is the latencies at one target in all rounds.
type Curve struct {
	Name   string         `json:"name"`
	Target string         `json:"target"`
	Count  int64          `json:"count"`
	Points []LatencyPoint `json:"points"`
}

// LatencyPoint is one percentile of a latency.
type LatencyPoint struct {
	Percent float64 `json:"percent"`
	Millis  float64 `json:"ms"`
}

// TargetTimeline is a timeline of one target, of its last round.
type TargetTimeline struct {
	Target string `json:"target"`
	Timeline
}

// median returns the median of values and does not reorder them.
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

// measured reports whether any round was measured.
func (r *Report) measured() bool {
	return slices.ContainsFunc(r.Groups, func(g Group) bool {
		for _, rounds := range g.Rounds {
			if rounds.Done > 0 {
				return true
			}
		}
		return false
	})
}

// failure is the first reason why a round was not measured, nil if there is
// none.
func (r *Report) failure() error {
	for _, g := range r.Groups {
		for _, rounds := range g.Rounds {
			if rounds.Failed != "" {
				return fmt.Errorf("%s: %s", g.Work, rounds.Failed)
			}
		}
	}
	return nil
}

// row returns a row of a work, nil if there is none.
func (r *Report) row(work, figure string) *Row {
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

// Others returns which part of the machine other programs used, in the quietest
// and in the busiest work.
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
