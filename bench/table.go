package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Table writes the figures for a terminal: a row for each, the first target's
// value and, for every other target, its value and the ratio of the first to it.
func (r *Report) Table(w io.Writer) error {
	for _, missing := range r.Missing {
		fmt.Fprintf(w, "Not measured: %s.\n", missing)
	}
	if r.Interrupted != "" {
		fmt.Fprintf(w, "This run is not complete: %s.\n", r.Interrupted)
	}
	for _, g := range r.Groups {
		if _, err := fmt.Fprintf(w, "\n%s\n", g.Work); err != nil {
			return err
		}
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(tw, "\t")
		for _, t := range r.Targets {
			fmt.Fprintf(tw, "%s%s\t", t.Name, g.mark(t.Name))
		}
		fmt.Fprintln(tw)
		for _, row := range g.Telling() {
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
	}
	return nil
}

// label names a row.
func (r *Row) label() string {
	if r.Unit == "" {
		return r.Figure
	}
	return r.Figure + ", " + r.Unit
}

// text is a cell: median, spread, and the ratio of the first target to it.
func (r *Row) text(target, first string, ratio bool) string {
	c := r.Cells[target]
	if c == nil {
		return "–"
	}
	s := number(c.Median)
	if spread := c.spread(); spread >= 0.01 {
		s += fmt.Sprintf(" ±%.0f%%", 100*spread)
	}
	if of, ok := r.Ratio(first, target); ratio && ok {
		s += fmt.Sprintf(" (%.2f)", of)
	}
	return s
}

// spread is how far the rounds are from the median, as a part of it.
func (c *Cell) spread() float64 {
	if c.Median == 0 || len(c.Values) < 2 {
		return 0
	}
	return max(c.High-c.Median, c.Median-c.Low) / math.Abs(c.Median)
}

// Ratio returns the figure of one target as a multiple of another's.
func (r *Row) Ratio(of, to string) (float64, bool) {
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

// mark is put behind the name of a target that was disturbed.
func (g *Group) mark(target string) string {
	if r := g.Rounds[target]; r != nil && r.Disturbed() {
		return " ~"
	}
	return ""
}

// why says why a target has no figure.
func (g *Group) why(target string) string {
	switch r := g.Rounds[target]; {
	case r != nil && r.Failed != "":
		return "failed"
	}
	return "not measured"
}

// notes says what has to be known about a group's figures.
func (g *Group) notes(targets []About) (notes []string) {
	var disturbed []string
	for _, t := range targets {
		r := g.Rounds[t.Name]
		if r == nil {
			continue
		}
		if r.Not {
			notes = append(notes, r.Failed)
			continue
		}
		if r.Disturbed() {
			disturbed = append(disturbed, fmt.Sprintf("%.0f %% (%s)", 100*r.Others, t.Name))
		}
		if len(r.Problems) > 0 {
			notes = append(notes, fmt.Sprintf("! %s: %s", t.Name, strings.Join(r.Problems, "; ")))
		}
	}
	if len(disturbed) > 0 {
		notes = append(notes, "~ disturbed, others used so much of the machine meanwhile: "+strings.Join(disturbed, ", "))
	}
	return notes
}

// Telling returns the rows that tell something: all but that of the share of
// logins that were accepted, if every target accepted all.
func (g *Group) Telling() (rows []Row) {
	for _, r := range g.Rows {
		for _, c := range r.Cells {
			if r.Figure != acceptedShare || c.Low != 100 {
				rows = append(rows, r)
				break
			}
		}
	}
	return rows
}
