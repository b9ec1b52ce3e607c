package statuspage

import (
	"bytes"
	_ "embed" // index.html
	"html/template"
	"strings"
	"time"
)

//go:embed index.html
var indexHTML string

// index is the template of index.html. html/template escapes whatever an
// operator wrote.
var index = template.Must(template.New("index.html").Funcs(template.FuncMap{
	"human":   human,
	"machine": stamp,
	"incident": func(zone *time.Location, i Incident) map[string]any {
		return map[string]any{"Zone": zone, "Incident": i}
	},
	"words": func(h Health) string { return strings.ReplaceAll(string(h), "_", " ") },
}).Parse(indexHTML))

// human writes a time for people, in the zone of the page.
func human(zone *time.Location, t time.Time) string {
	return t.In(zone).Format("2 January 2006, 15:04 MST")
}

// html is index.html.
func (p Page) html() ([]byte, error) {
	var b bytes.Buffer
	err := index.Execute(&b, map[string]any{
		"Page": p, "Headline": p.headline(), "Indicator": p.indicator(), "Open": p.open(), "Past": p.past(),
	})
	return b.Bytes(), err
}
