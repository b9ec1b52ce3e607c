package bench

import (
	_ "embed" // the page's template
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"bars": (*page).bars, "latencies": (*page).latencies, "timeline": (*page).timeline,
	"swatch": swatch, "number": number, "percent": func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
}).Parse(pageText))

// page is a report as the template sees it.
type page struct{ *Report }

// Page writes the report as one HTML page that needs nothing else.
func (r *Report) Page(w io.Writer) error { return pageTemplate.Execute(w, &page{r}) }

// CurvesByName returns a work's curves, those of one name together, in the
// order in which targets are listed.
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

// Notes says what has to be known about a work's figures.
func (p *page) Notes(g Group) []string { return g.notes(p.Targets) }
