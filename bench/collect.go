package bench

import (
	"errors"
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// collector combines the samples of one work.
type collector struct {
	group  Group
	curves []*merged
}

// merged is a curve of all rounds.
type merged struct {
	name, target string
	latency      *hdrhistogram.Histogram
}

func newCollector(w Work) *collector {
	return &collector{group: Group{Work: w.Name, About: w.about, Rounds: map[string]*Rounds{}}}
}

// add adds the sample of one round at a target. others is which part of the
// machine other programs used meanwhile.
func (c *collector) add(target string, s *sample, others float64, err error) {
	r := c.group.Rounds[target]
	if r == nil {
		r = &Rounds{}
		c.group.Rounds[target] = r
	}
	r.Problems = append(r.Problems, s.problems...)
	r.explain(s.explanations)
	if s.conclusion != "" {
		r.Conclusions = append(r.Conclusions, s.conclusion)
	}
	if err != nil {
		r.LeftOut = r.LeftOut || errors.Is(err, errNotOffered) || errors.Is(err, errLeftOut)
		if r.Failed = err.Error(); !r.LeftOut {
			r.Problems = append(r.Problems, "a round failed: "+r.Failed)
		}
		return
	}
	r.Done++
	r.others = append(r.others, others)
	r.Others = median(r.others)
	for _, f := range s.figures {
		c.row(f).cell(target).add(f.value)
	}
	for _, k := range s.curves {
		c.curve(k.name, target).Merge(k.latency)
	}
	if len(s.timelines) > 0 {
		c.group.Timelines = slices.DeleteFunc(c.group.Timelines, func(t TargetTimeline) bool { return t.Target == target })
	}
	for _, t := range s.timelines {
		c.group.Timelines = append(c.group.Timelines, TargetTimeline{target, t})
	}
}

// explain adds the explanations of one round to those of the others.
func (r *Rounds) explain(all []Explanation) {
	for _, e := range all {
		i := slices.IndexFunc(r.Explanations, func(x Explanation) bool { return x.Who == e.Who && x.What == e.What })
		if i < 0 {
			r.Explanations = append(r.Explanations, e)
			continue
		}
		r.Explanations[i].Count += e.Count
	}
	slices.SortFunc(r.Explanations, compareExplanations)
}

// row returns the row of a figure, a new one if needed.
func (c *collector) row(f figure) *Row {
	for i := range c.group.Rows {
		if c.group.Rows[i].Figure == f.name {
			return &c.group.Rows[i]
		}
	}
	c.group.Rows = append(c.group.Rows, Row{Figure: f.name, Unit: f.unit, Better: f.better, Cells: map[string]*Cell{}})
	return &c.group.Rows[len(c.group.Rows)-1]
}

// cell returns the cell of a target, a new one if needed.
func (r *Row) cell(target string) *Cell {
	if r.Cells[target] == nil {
		r.Cells[target] = &Cell{}
	}
	return r.Cells[target]
}

// curve returns the histogram of a target, a new one if needed.
func (c *collector) curve(name, target string) *hdrhistogram.Histogram {
	for _, m := range c.curves {
		if m.name == name && m.target == target {
			return m.latency
		}
	}
	m := &merged{name, target, newHistogram()}
	c.curves = append(c.curves, m)
	return m.latency
}

// finish returns the group with its curves.
func (c *collector) finish() Group {
	g := c.group
	for _, m := range c.curves {
		k := Curve{Name: m.name, Target: m.target, Count: m.latency.TotalCount()}
		for _, p := range percentiles {
			k.Points = append(k.Points, LatencyPoint{p, percentile(m.latency, p)})
		}
		g.Curves = append(g.Curves, k)
	}
	for _, r := range g.Rounds {
		r.Problems = countRepeats(r.Problems)
	}
	return g
}

// countRepeats replaces repeated texts by one with their number.
func countRepeats(all []string) (once []string) {
	times := map[string]int{}
	for _, s := range all {
		if times[s]++; times[s] == 1 {
			once = append(once, s)
		}
	}
	for i, s := range once {
		if n := times[s]; n > 1 {
			once[i] = fmt.Sprintf("%s (%d times)", s, n)
		}
	}
	return once
}
