package monitor

import (
	"fmt"
	"strings"
)

// muninConfig describes the graph. No field has warning or critical levels: alerts
// are for the other monitoring systems.
const muninConfig = `graph_title Logins at postern
graph_args --base 1000 --lower-limit 0
graph_vlabel logins in five minutes
graph_category mail
graph_info Login attempts by result, and the number expected at this time of the week. Served is the percentage of known users' logins that were accepted.
accepted.label accepted
accepted.draw AREA
accepted.min 0
denied.label denied
denied.draw STACK
denied.min 0
refused.label refused by postern
refused.draw STACK
refused.min 0
void.label not completed
void.draw STACK
void.min 0
expected.label expected
expected.draw LINE2
expected.min 0
served.label known users served (%)
served.draw LINE1
served.min 0
served.max 100
`

// MuninConfig returns the answer to Munin's command config.
func MuninConfig() string { return muninConfig }

// Munin returns the answer to Munin's command fetch.
func (s State) Munin() string {
	var b strings.Builder
	for _, m := range s.values(Thresholds{}) {
		if strings.Contains(muninConfig, m.name+".label ") {
			fmt.Fprintf(&b, "%s.value %s\n", m.name, m.value)
		}
	}
	return b.String()
}

// MuninNoData returns the answer to Munin's command fetch when no State is
// available. The graph then has a gap instead of zeros.
func MuninNoData() string {
	var b strings.Builder
	for line := range strings.Lines(muninConfig) {
		if name, _, ok := strings.Cut(line, ".label "); ok {
			fmt.Fprintf(&b, "%s.value U\n", name)
		}
	}
	return b.String()
}
