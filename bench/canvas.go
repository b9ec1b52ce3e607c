package bench

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// colours are those of the targets, in their order. They differ in brightness
// too, for colour-blind readers and for print.
var colours = []string{"#0b5394", "#e69138", "#6aa84f", "#a64d79", "#7f7f7f", "#45818e"}

// canvas builds an SVG drawing: a chart inside margins with labels.
type canvas struct {
	strings.Builder
	width, height, left, top, right, bottom float64
}

// newCanvas starts a drawing. The title describes it to screen readers.
func newCanvas(width, height float64, title string) *canvas {
	c := &canvas{width: width, height: height, left: 62, top: 14, right: 30, bottom: 40}
	fmt.Fprintf(c, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, html.EscapeString(title))
	return c
}

// done returns the drawing.
func (c *canvas) done() template.HTML {
	return template.HTML(c.String() + "</svg>") // #nosec: all text has been escaped
}

// text writes a label; anchor is start, middle or end.
func (c *canvas) text(x, y float64, class, anchor, label string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, html.EscapeString(label))
}

// line adds a straight line.
func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`, x1, y1, x2, y2, class)
}

// path adds a line through points.
func (c *canvas) path(points [][2]float64, colour, title string) {
	fmt.Fprintf(c, `<polyline fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round" points="`, colour)
	for _, p := range points {
		fmt.Fprintf(c, "%.1f,%.1f ", p[0], p[1])
	}
	fmt.Fprintf(c, `"><title>%s</title></polyline>`, html.EscapeString(title))
}

// x and y convert a value between 0 and 1 to a position inside the margins.
func (c *canvas) x(v float64) float64 { return c.left + v*(c.width-c.left-c.right) }
func (c *canvas) y(v float64) float64 { return c.height - c.bottom - v*(c.height-c.top-c.bottom) }

// tick is a labelled position on an axis, between 0 and 1.
type tick struct {
	at    float64
	label string
}

// axes adds the axes with their ticks and labels.
func (c *canvas) axes(xs, ys []tick, xLabel, yLabel string) {
	for _, t := range ys {
		c.line(c.x(0), c.y(t.at), c.x(1), c.y(t.at), "grid")
		c.text(c.x(0)-6, c.y(t.at)+4, "tick", "end", t.label)
	}
	for _, t := range xs {
		c.line(c.x(t.at), c.y(0), c.x(t.at), c.y(0)+4, "axis")
		c.text(c.x(t.at), c.y(0)+16, "tick", "middle", t.label)
	}
	c.line(c.x(0), c.y(0), c.x(1), c.y(0), "axis")
	c.text(c.x(0.5), c.height-6, "label", "middle", xLabel)
	fmt.Fprintf(c, `<text transform="translate(14 %.1f) rotate(-90)" class="label" text-anchor="middle">%s</text>`, c.y(0.5), html.EscapeString(yLabel))
}

// niceStep returns a round number such that at most five steps reach highest.
func niceStep(highest float64) float64 {
	if highest <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(highest/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if highest/(step*m) <= 5 {
			return step * m
		}
	}
	return step * 10
}

// linear returns ticks from 0 to highest and the value at the end of the axis.
func linear(highest float64) (ticks []tick, end float64) {
	step := niceStep(highest)
	end = math.Max(step, math.Ceil(highest/step)*step)
	for v := 0.0; v <= end+step/2; v += step {
		ticks = append(ticks, tick{v / end, plainNumber(v)})
	}
	return ticks, end
}

// logarithmic returns ticks at the powers of ten around low and high, and a
// function that gives the position of a value.
func logarithmic(low, high float64) (ticks []tick, place func(float64) float64) {
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	if to <= from {
		to = from + 1
	}
	place = func(v float64) float64 {
		return math.Min(1, math.Max(0, (math.Log10(math.Max(v, 1e-9))-from)/(to-from)))
	}
	for e := from; e <= to; e++ {
		v := math.Pow(10, e)
		ticks = append(ticks, tick{place(v), plainNumber(v)})
	}
	return ticks, place
}

// plainNumber prints v without trailing zeros.
func plainNumber(v float64) string {
	if v >= 1e6 {
		return fmt.Sprintf("%g M", v/1e6)
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), ".")
}
