package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"postern/limiter/watch/incident"
)

// listIncidents prints those that are remembered, one a line.
func (s surroundings) listIncidents(ctx context.Context, admin *adminClient, asJSON bool) error {
	var all []incident.Incident
	if err := admin.getJSON(ctx, incidentsPath, &all); err != nil {
		return err
	}
	if asJSON {
		return s.printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(s.stdout, "no incidents")
		return nil
	}
	t := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPHASE\tCLASS\tSTARTED\tENDED\tPUBLIC\tTAKEN ON BY")
	for _, i := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Phase, i.Class, moment(i.Started), moment(i.Ended), moment(i.Published), orDash(harmless(i.AckedBy)))
	}
	return t.Flush()
}

// showIncident prints one with its events.
func (s surroundings) showIncident(ctx context.Context, admin *adminClient, id string, asJSON bool) error {
	if id == "" {
		id = latest
	}
	var i incident.Incident
	if err := admin.getJSON(ctx, incidentsPath+"/"+url.PathEscape(id), &i); err != nil {
		return err
	}
	if asJSON {
		return s.printJSON(i)
	}
	fmt.Fprintf(s.stdout, "incident %s: %s, %s, since %s\n", i.ID, i.Class, i.Phase, moment(i.Started))
	for _, e := range i.Events {
		s.printEvent(e)
	}
	return nil
}

// printEvent prints one line about an event.
func (s surroundings) printEvent(e incident.Event) {
	line := fmt.Sprintf("%s  %-8s", moment(e.Time), e.Kind)
	for _, part := range []string{string(e.Class), string(e.To), harmless(e.Text)} {
		if part != "" {
			line += "  " + part
		}
	}
	if ev := e.Evidence; ev != nil {
		line += fmt.Sprintf("  excess %.1f %%, %.0f logins a minute (expected %.0f), known users %.1f %% served",
			100*ev.Excess, ev.Observed.Logins, ev.Expected.Logins, 100*ev.Served)
	}
	fmt.Fprintf(s.stdout, "%s  (%s)\n", line, harmless(e.By))
}

// harmless is what an operator wrote, in any script, without what could steer a
// terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// printJSON prints v for programs.
func (s surroundings) printJSON(v any) error {
	e := json.NewEncoder(s.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// moment writes a time in the zone of whoever reads.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
