package bench

import (
	"fmt"
	"html"
	"html/template"
	"math"
)

// bars draws one figure of all targets, a bar each, with the spread of the
// rounds as a thin line.
func (p *page) bars(g Group, r Row) template.HTML {
	const height, name = 24.0, 66.0
	c := newCanvas(470, height*float64(len(p.Targets))+6, g.Work+": "+r.label())
	most := 0.0
	for _, cell := range r.Cells {
		most = math.Max(most, cell.High)
	}
	if most == 0 {
		most = 1
	}
	scale := (c.width - name - 120) / most
	for i, t := range p.Targets {
		y := height*float64(i) + 4
		c.text(name-6, y+14, "tick", "end", t.Name)
		cell := r.Cells[t.Name]
		if cell == nil {
			c.text(name+4, y+14, "none", "start", "– "+g.why(t.Name))
			continue
		}
		fmt.Fprintf(c, `<rect x="%g" y="%.1f" width="%.1f" height="16" rx="2" fill="%s"%s/>`,
			name, y, math.Max(1, cell.Median*scale), colour(i), disturbedStyle(g, t.Name))
		if len(cell.Values) > 1 {
			c.line(name+cell.Low*scale, y+8, name+cell.High*scale, y+8, "spread")
		}
		c.text(name+math.Max(cell.High, cell.Median)*scale+6, y+13, "value", "start", r.value(cell, t.Name, p.Targets[0].Name, g.mark(t.Name)))
	}
	return c.done()
}

// value is what stands behind a bar: the median and how the first target
// compares.
func (r *Row) value(cell *Cell, target, first, mark string) string {
	s := number(cell.Median) + mark
	if ratio, ok := r.Ratio(first, target); ok && target != first {
		s += fmt.Sprintf("  (×%.2f)", ratio)
	}
	return s
}

// disturbedStyle makes a bar pale that others have disturbed.
func disturbedStyle(g Group, target string) string {
	if g.mark(target) != "" {
		return ` fill-opacity="0.45"`
	}
	return ""
}

// colour is that of the i-th target.
func colour(i int) string { return colours[i%len(colours)] }

// Index returns a target's place in the order.
func (p *page) Index(target string) int {
	for i, t := range p.Targets {
		if t.Name == target {
			return i
		}
	}
	return 0
}

// latencies draws the curves of one name: which part of the attempts took no
// longer than what.
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

// rank places a percentile on an axis that gives the slowest attempts room:
// every step of it is a tenth of the attempts that are left.
func rank(percent float64) float64 {
	return math.Min(1, -math.Log10(math.Max(1e-4, 1-percent/100))/4)
}

// enough reports whether a percentile means something for so many attempts.
func enough(count int64, percent float64) bool {
	return percent == 100 && count < 10000 || float64(count)*(1-percent/100) >= 1 || percent <= 99
}

// timeline draws what happened second by second, a line for each name.
func (p *page) timeline(t TargetTimeline) template.HTML {
	c := newCanvas(620, 220, t.Target+": "+t.Name)
	most, seconds := 0.0, 1
	for _, l := range t.Lines {
		seconds = max(seconds, len(l.Values))
		for _, v := range l.Values {
			most = math.Max(most, v)
		}
	}
	ys, end := linear(most)
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

// swatch is a mark in a colour, for legends.
func swatch(i int) template.HTML {
	return template.HTML(fmt.Sprintf(`<i style="background:%s"></i>`, html.EscapeString(colour(i))))
}
