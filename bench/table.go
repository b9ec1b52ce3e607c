package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Table writes the figures for a terminal, one a row. Behind the value of every
// target but the first stands the ratio of the first to it.
func (r *Report) Table(w io.Writer) error {
	for _, missing := range r.Missing {
		fmt.Fprintf(w, "Not measured: %s.\n", missing)
	}
	if r.Interrupted != "" {
		fmt.Fprintf(w, "This run is incomplete: %s.\n", r.Interrupted)
	}
	for _, g := range r.Groups {
		if _, err := fmt.Fprintf(w, "\n%s\n", g.Work); err != nil {
			return err
		}
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(tw, "\t")
		for _, t := range r.Targets {
			fmt.Fprintf(tw, "%s%s\t", t.Name, g.suffix(t.Name))
		}
		fmt.Fprintln(tw)
		for _, row := range g.Informative() {
			fmt.Fprintf(tw, "%s\t", row.label())
			for i, t := range r.Targets {
				fmt.Fprintf(tw, "%s\t", row.text(t.Name, r.Targets[0].Name, i > 0))
			}
			fmt.Fprintln(tw)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		for _, note := range g.notes(r.Targets) {
			fmt.Fprintf(w, "  %s\n", note)
		}
		g.writeConclusions(w, r.Targets)
	}
	return nil
}

// writeConclusions writes what the refusals of a running gateway mean, and whether it
// held.
func (g *Group) writeConclusions(w io.Writer, targets []TargetInfo) {
	for _, t := range targets {
		r := g.Rounds[t.Name]
		if r == nil {
			continue
		}
		for _, e := range r.Explanations {
			fmt.Fprintf(w, "  %s, %d × %s\n      for example %s\n", e.Who, e.Count, e.What, e.Example)
		}
		if len(r.Conclusions) > 0 {
			fmt.Fprintf(w, "  %s\n", notMeasured)
		}
		for _, c := range r.Conclusions {
			fmt.Fprintf(w, "  Conclusion: %s\n", c)
		}
	}
}

// label is the name and the unit of a row.
func (r *Row) label() string {
	if r.Unit == "" {
		return r.Figure
	}
	return r.Figure + ", " + r.Unit
}

// text is the content of a cell: median, spread, and the ratio of the first
// target to it.
func (r *Row) text(target, first string, ratio bool) string {
	c := r.Cells[target]
	if c == nil {
		return "–"
	}
	s := number(c.Median)
	if spread := c.spread(); spread >= 0.01 {
		s += fmt.Sprintf(" ±%.0f%%", 100*spread)
	}
	if of, ok := r.ratio(first, target); ratio && ok {
		s += fmt.Sprintf(" (%.2f)", of)
	}
	return s
}

// spread is the largest distance of a round from the median, as a part of it.
func (c *Cell) spread() float64 {
	if c.Median == 0 || len(c.Values) < 2 {
		return 0
	}
	return max(c.High-c.Median, c.Median-c.Low) / math.Abs(c.Median)
}

// ratio returns the figure of one target as a multiple of another's.
func (r *Row) ratio(of, to string) (float64, bool) {
	a, b := r.Cells[of], r.Cells[to]
	if a == nil || b == nil || b.Median == 0 {
		return 0, false
	}
	return a.Median / b.Median, true
}

// number prints three significant digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// suffix marks the name of a target that was disturbed.
func (g *Group) suffix(target string) string {
	if r := g.Rounds[target]; r != nil && r.disturbed() {
		return " ~"
	}
	return ""
}

// absence says why a target has no figure.
func (g *Group) absence(target string) string {
	if r := g.Rounds[target]; r != nil && r.Failed != "" {
		return "failed"
	}
	return "not measured"
}

// notes lists problems and disturbances of a group.
func (g *Group) notes(targets []TargetInfo) (notes []string) {
	var disturbed []string
	for _, t := range targets {
		r := g.Rounds[t.Name]
		if r == nil {
			continue
		}
		if r.LeftOut {
			notes = append(notes, r.Failed)
			continue
		}
		if r.disturbed() {
			disturbed = append(disturbed, fmt.Sprintf("%.0f %% (%s)", 100*r.Others, t.Name))
		}
		if len(r.Problems) > 0 {
			notes = append(notes, fmt.Sprintf("! %s: %s", t.Name, strings.Join(r.Problems, "; ")))
		}
	}
	if len(disturbed) > 0 {
		notes = append(notes, "~ disturbed, other programs used this part of the machine: "+strings.Join(disturbed, ", "))
	}
	return notes
}

// Informative returns all rows but that of the accepted logins if every target
// accepted all.
func (g *Group) Informative() (rows []Row) {
	for _, r := range g.Rows {
		for _, c := range r.Cells {
			if r.Figure != acceptedFigure || c.Low != 100 {
				rows = append(rows, r)
				break
			}
		}
	}
	return rows
}
