package monitor

import (
	"fmt"
	"strings"
)

// muninConfig describes the graph to Munin. No field has a warning or critical:
// Munin draws, it does not wake anybody.
const muninConfig = `graph_title Logins at postern
graph_args --base 1000 --lower-limit 0
graph_vlabel logins in five minutes
graph_category mail
graph_info What became of the logins that clients asked for, against what is usual at this time of the week. Served is the per cent of the known users' logins that went well.
accepted.label accepted
accepted.draw AREA
accepted.min 0
denied.label denied
denied.draw STACK
denied.min 0
refused.label refused by postern
refused.draw STACK
refused.min 0
void.label cut short
void.draw STACK
void.min 0
expected.label expected
expected.draw LINE2
expected.min 0
served.label known users served, per cent
served.draw LINE1
served.min 0
served.max 100
`

// MuninConfig answers Munin's config.
func MuninConfig() string { return muninConfig }

// Munin answers Munin's fetch.
func (s State) Munin() string {
	var b strings.Builder
	for _, m := range s.measures(Limits{}) {
		if strings.Contains(muninConfig, m.name+".label ") {
			fmt.Fprintf(&b, "%s.value %s\n", m.name, m.value)
		}
	}
	return b.String()
}

// MuninUnknown answers Munin's fetch where no State could be had: a gap in the
// graph rather than a zero.
func MuninUnknown() string {
	var b strings.Builder
	for line := range strings.Lines(muninConfig) {
		if name, _, ok := strings.Cut(line, ".label "); ok {
			fmt.Fprintf(&b, "%s.value U\n", name)
		}
	}
	return b.String()
}
