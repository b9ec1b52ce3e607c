package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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
	if s.Sharing != nil {
		if err := printSharing(w, now, s.Sharing); err != nil {
			return err
		}
	}
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

// printSharing prints how the gateway counts together with others, as of the time now.
func printSharing(w io.Writer, now time.Time, s *monitor.Sharing) error {
	receipt := "none yet"
	if s.ReceiptAge > 0 {
		receipt = rounded(seconds(s.ReceiptAge)) + " ago"
	}
	fmt.Fprintf(w, "sharing: %s for %s; engine: %s; last receipt: %s; part of LIMIT_GLOBAL: %.0f %%\n",
		s.Mode, rounded(now.Sub(s.Since)), eventlog.StripControl(s.Engine), receipt, 100*s.GlobalPart)
	fmt.Fprintf(w, "records: %d sent, %d received, %d lost; batches rejected: %d%s\n", s.Sent.Records, s.Received.Records, s.Lost.Records, s.Rejected.Batches, errorsText(s.Errors))
	if s.LastError != "" {
		fmt.Fprintln(w, "last error: "+eventlog.StripControl(s.LastError))
	}
	if s.Warning != "" {
		fmt.Fprintln(w, "warning: "+eventlog.StripControl(s.Warning))
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "GATEWAY\tVERSION\tMODE\tSEEN\tROLE")
	for _, m := range s.Members {
		seen, role := rounded(seconds(m.SeenAgo))+" ago", "-"
		if m.Own {
			seen = "this one"
		}
		if m.Leads {
			role = "alerts people"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", eventlog.StripControl(m.Name), eventlog.StripControl(m.Version), eventlog.StripControl(string(m.Mode)), seen, role)
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// errorsText lists errors of the engine by their reasons, with a separator before it.
func errorsText(errors map[string]uint64) string {
	var texts []string
	for _, reason := range slices.Sorted(maps.Keys(errors)) {
		if errors[reason] > 0 {
			texts = append(texts, fmt.Sprintf("%d %s", errors[reason], eventlog.StripControl(reason)))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return "; errors of the engine: " + strings.Join(texts, ", ")
}

// seconds is s as a duration.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// rounded is d in seconds, or in minutes from an hour on.
func rounded(d time.Duration) string {
	if d < time.Hour {
		return max(d, 0).Round(time.Second).String()
	}
	text := d.Round(time.Minute).String()
	return text[:len(text)-len("0s")]
}
