package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
)

// prepareStatus declares the flags of `postern status`, which prints the state of the running postern and its processes.
func prepareStatus(flags *flag.FlagSet) func(context.Context, process) error {
	asJSON := flags.Bool("json", false, "print JSON")
	return func(ctx context.Context, p process) error {
		state, err := p.askState(ctx, checkTimeout)
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		if *asJSON {
			return json.NewEncoder(p.stdout).Encode(state)
		}
		return printStatus(p.stdout, time.Now(), state)
	}
}

// printStatus prints a state as of the time now.
func printStatus(w io.Writer, now time.Time, s monitor.State) error {
	ready := "ready"
	if s.Unready != "" {
		ready = "not ready: " + eventlog.StripControl(s.Unready)
	}
	fmt.Fprintf(w, "%s; detector: %s; backends up: %d of %d; connections: %d of %d\n\n",
		ready, eventlog.StripControl(s.Verdict), s.Backends.Up, s.Backends.All, s.Connections, s.MaxConnections)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "GENERATION\tPROCESS\tVERSION\tAGE\tSESSIONS\tBEFORE LOGIN\tENDS")
	for _, g := range s.Generations {
		ends := "-"
		if !g.Until.IsZero() {
			ends = "in " + rounded(g.Until.Sub(now))
		}
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%d\t%d\t%s\n", g.Number, g.PID, eventlog.StripControl(g.Version), rounded(now.Sub(g.Since)), g.Sessions, g.Prelogin, ends)
	}
	return table.Flush()
}

// rounded is d in seconds, or in minutes from an hour on.
func rounded(d time.Duration) string {
	if d < time.Hour {
		return max(d, 0).Round(time.Second).String()
	}
	text := d.Round(time.Minute).String()
	return text[:len(text)-len("0s")]
}
