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

// index is the template of index.html. html/template escapes what operators
// write.
var index = template.Must(template.New("index.html").Funcs(template.FuncMap{
	"displayTime": displayTime,
	"rfc3339":     rfc3339,
	"incident": func(zone *time.Location, i Incident) map[string]any {
		return map[string]any{"Zone": zone, "Incident": i}
	},
	"text": func(h Health) string { return strings.ReplaceAll(string(h), "_", " ") },
}).Parse(indexHTML))

// displayTime formats a time for people, in the time zone of the page.
func displayTime(zone *time.Location, t time.Time) string {
	return t.In(zone).Format("2 January 2006, 15:04 MST")
}

// html returns index.html.
func (p Page) html() ([]byte, error) {
	var b bytes.Buffer
	err := index.Execute(&b, map[string]any{
		"Page": p, "Headline": p.headline(), "Indicator": p.indicator(), "Open": p.open(), "Resolved": p.resolved(),
	})
	return b.Bytes(), err
}
