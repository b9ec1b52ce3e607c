package bench

import (
	_ "embed" // the page's template
	"fmt"
	"html"
	"html/template"
	"io"
	"math"
	"slices"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"bars": (*page).bars, "latencies": (*page).latencies, "timeline": (*page).timeline,
	"swatch": swatch, "number": number, "percent": func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
}).Parse(pageText))

// page adds to a report what the template needs.
type page struct{ *Report }

// Page writes the report as one HTML page without external resources.
func (r *Report) Page(w io.Writer) error { return pageTemplate.Execute(w, &page{r}) }

// CurvesByName returns the curves of a work grouped by name, each group in the
// order of the targets.
func (p *page) CurvesByName(g Group) (sets [][]Curve) {
	for _, c := range g.Curves {
		i := slices.IndexFunc(sets, func(set []Curve) bool { return set[0].Name == c.Name })
		if i < 0 {
			sets = append(sets, []Curve{c})
			continue
		}
		sets[i] = append(sets[i], c)
	}
	for _, set := range sets {
		slices.SortStableFunc(set, func(a, b Curve) int { return p.Index(a.Target) - p.Index(b.Target) })
	}
	return sets
}

// Notes lists problems and disturbances of a work.
func (p *page) Notes(g Group) []string { return g.notes(p.Targets) }

// bars is a chart of one figure, a bar for each target, with the spread of the
// rounds as a thin line.
func (p *page) bars(g Group, r Row) template.HTML {
	const height, name = 24.0, 66.0
	c := newCanvas(470, height*float64(len(p.Targets))+6, g.Work+": "+r.label())
	highest := 0.0
	for _, cell := range r.Cells {
		highest = math.Max(highest, cell.High)
	}
	if highest == 0 {
		highest = 1
	}
	scale := (c.width - name - 120) / highest
	for i, t := range p.Targets {
		y := height*float64(i) + 4
		c.text(name-6, y+14, "tick", "end", t.Name)
		cell := r.Cells[t.Name]
		if cell == nil {
			c.text(name+4, y+14, "none", "start", "– "+g.absence(t.Name))
			continue
		}
		fmt.Fprintf(c, `<rect x="%g" y="%.1f" width="%.1f" height="16" rx="2" fill="%s"%s/>`,
			name, y, math.Max(1, cell.Median*scale), colour(i), disturbedStyle(g, t.Name))
		if len(cell.Values) > 1 {
			c.line(name+cell.Low*scale, y+8, name+cell.High*scale, y+8, "spread")
		}
		c.text(name+math.Max(cell.High, cell.Median)*scale+6, y+13, "value", "start", r.barLabel(cell, t.Name, p.Targets[0].Name, g.suffix(t.Name)))
	}
	return c.done()
}

// barLabel is the text at the end of a bar: the median and the ratio of the first
// target to it.
func (r *Row) barLabel(cell *Cell, target, first, suffix string) string {
	s := number(cell.Median) + suffix
	if ratio, ok := r.ratio(first, target); ok && target != first {
		s += fmt.Sprintf("  (×%.2f)", ratio)
	}
	return s
}

// disturbedStyle makes the bar of a disturbed target pale.
func disturbedStyle(g Group, target string) string {
	if g.suffix(target) != "" {
		return ` fill-opacity="0.45"`
	}
	return ""
}

// colour returns the colour of the i-th target.
func colour(i int) string { return colours[i%len(colours)] }

// Index returns the position of a target in the list.
func (p *page) Index(target string) int {
	for i, t := range p.Targets {
		if t.Name == target {
			return i
		}
	}
	return 0
}

// latencies is a chart of the latency curves of one name.
func (p *page) latencies(curves []Curve) template.HTML {
	c := newCanvas(620, 260, "latency of "+curves[0].Name)
	low, high := math.Inf(1), 0.0
	for _, k := range curves {
		for _, point := range k.Points {
			low, high = math.Min(low, point.Millis), math.Max(high, point.Millis)
		}
	}
	ys, place := logarithmic(math.Max(low, 0.01), math.Max(high, 0.02))
	var xs []tick
	for _, v := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		xs = append(xs, tick{rank(v), plainNumber(v) + " %"})
	}
	c.axes(xs, ys, "part of the attempts that took no longer", "milliseconds")
	for _, k := range curves {
		var points [][2]float64
		for _, point := range k.Points {
			if enough(k.Count, point.Percent) {
				points = append(points, [2]float64{c.x(rank(point.Percent)), c.y(place(point.Millis))})
			}
		}
		c.path(points, colour(p.Index(k.Target)), k.Target)
	}
	return c.done()
}

// rank is the position of a percentile on an axis that is stretched towards the
// slowest attempts: each quarter stands for nine tenths of the attempts beyond
// it.
func rank(percent float64) float64 {
	return math.Min(1, -math.Log10(math.Max(1e-4, 1-percent/100))/4)
}

// enough reports whether count attempts are enough for a percentile.
func enough(count int64, percent float64) bool {
	return percent == 100 && count < 10000 || float64(count)*(1-percent/100) >= 1 || percent <= 99
}

// timeline is a chart over time, a line for each name.
func (p *page) timeline(t TargetTimeline) template.HTML {
	c := newCanvas(620, 220, t.Target+": "+t.Name)
	highest, seconds := 0.0, 1
	for _, l := range t.Lines {
		seconds = max(seconds, len(l.Values))
		for _, v := range l.Values {
			highest = math.Max(highest, v)
		}
	}
	ys, end := linear(highest)
	xs, last := linear(float64(seconds - 1))
	c.axes(xs, ys, "seconds since it began", t.Unit)
	for i, l := range t.Lines {
		var points [][2]float64
		for s, v := range l.Values {
			points = append(points, [2]float64{c.x(float64(s) / last), c.y(v / end)})
		}
		c.path(points, colour(i), l.Name)
	}
	return c.done()
}

// swatch is a square in a colour, for legends.
func swatch(i int) template.HTML {
	return template.HTML(fmt.Sprintf(`<i style="background:%s"></i>`, html.EscapeString(colour(i))))
}
