package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// operatorTimeout is how long the running postern may take to do what an operator
// asks for.
const operatorTimeout = 30 * time.Second

// incidentHelp lists what can be done about incidents.
const incidentHelp = `list incidents, and act on them:

  list                    all that are remembered, the latest first
  show [ID]               one with all its events; without ID the latest
  ack                     I am working on it: no more reminders
  note TEXT               add TEXT to the record, not to the status page
  hold                    do not publish it automatically
  publish [TEXT]          publish it now, with TEXT if there is one
  mitigate                users are served again
  reclassify CLASS        it is an attack, slow_spray, account_abuse, auth_fault, ...
  false-alarm [TEXT]      it was none; the detector takes it for usual from now on
  resolve [TEXT]          it is over; while the trouble is on, asks or needs -force
  open CLASS TEXT         report one that the detector does not see, or takes for
                          less: this takes over one that is suspected`

// prepareIncident declares the flags of `postern incident`.
func prepareIncident(flags *flag.FlagSet) func(context.Context, process) error {
	id := flags.String("incident", "", "`ID` of the incident; without it the open one")
	asJSON := flags.Bool("json", false, "list, show: print JSON")
	force := flags.Bool("force", false, "resolve: although the trouble is still on; it causes no alert until it has been quiet")
	return func(ctx context.Context, p process) error {
		verb, rest := "list", p.args
		if len(rest) > 0 {
			verb, rest = rest[0], rest[1:]
		}
		var do func(*admin.Client) error
		switch verb {
		case "list":
			do = func(c *admin.Client) error { return p.listIncidents(ctx, c, *asJSON) }
		case "show":
			if len(rest) > 0 {
				*id = rest[0]
			}
			do = func(c *admin.Client) error { return p.showIncident(ctx, c, *id, *asJSON) }
		default:
			command, err := commandOf(verb, rest)
			if err != nil {
				return err
			}
			if *force && command.Action != incident.ActResolve {
				return wrongUsage("%s: got -force, which is for resolve only", verb)
			}
			command.Incident, command.By, command.Force = *id, operatorName(p.environ), *force
			do = func(c *admin.Client) error { return p.sendCommand(ctx, c, command) }
		}
		client, err := p.operatorClient()
		if err == nil {
			err = do(client)
		}
		if err != nil {
			return fmt.Errorf("incident: %w", err)
		}
		return nil
	}
}

// operatorClient returns a client of the running postern with the admin token.
func (p process) operatorClient() (*admin.Client, error) {
	c, err := config.Load(p.environ)
	return admin.NewOperatorClient(c, err, operatorTimeout)
}

// commandOf makes a command of a verb and what follows it.
func commandOf(verb string, rest []string) (c incident.Command, err error) {
	c.Action = incident.Action(verb)
	if !slices.Contains(incident.Actions(), c.Action) {
		return c, wrongUsage("got %q, want list, show or one of %q", verb, incident.Actions())
	}
	if c.Action == incident.ActReclassify || c.Action == incident.ActOpen {
		if len(rest) == 0 {
			return c, wrongUsage("%s: got nothing, want one of %q", verb, watch.Classes())
		}
		if !slices.Contains(watch.Classes(), watch.Class(rest[0])) {
			return c, wrongUsage("%s: got %q, want one of %q", verb, rest[0], watch.Classes())
		}
		c.Class, rest = watch.Class(rest[0]), rest[1:]
	}
	c.Text = strings.Join(rest, " ")
	if c.Action == incident.ActNote && c.Text == "" {
		return c, wrongUsage("note: got nothing, want a text")
	}
	return c, nil
}

// operatorName is the user who types, through sudo as well.
func operatorName(environ []string) string {
	for _, name := range []string{"SUDO_USER", "LOGNAME", "USER"} {
		for _, v := range environ {
			if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
				return value
			}
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "operator"
}

// sendCommand sends a command and prints the events that follow from it. If the
// command needs force, it asks a user at a terminal.
func (p process) sendCommand(ctx context.Context, client *admin.Client, c incident.Command) error {
	var events []incident.Event
	err := p.withForce(string(c.Action), func(force bool) error {
		c.Force = c.Force || force
		return client.PostJSON(ctx, admin.IncidentsPath, c, &events)
	})
	if err != nil {
		return err
	}
	for _, e := range events {
		p.printEvent(e)
	}
	return nil
}

// listIncidents prints those that are remembered, one a line.
func (p process) listIncidents(ctx context.Context, client *admin.Client, asJSON bool) error {
	var all []incident.Incident
	if err := client.GetJSON(ctx, admin.IncidentsPath, &all); err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(p.stdout, "no incidents")
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPHASE\tCLASS\tSTARTED\tENDED\tPUBLIC\tACKNOWLEDGED BY")
	for _, i := range all {
		by := eventlog.StripControl(i.AckedBy)
		if by == "" {
			by = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Phase, i.Class, localTime(i.Started), localTime(i.Ended), localTime(i.Published), by)
	}
	return t.Flush()
}

// showIncident prints one with its events.
func (p process) showIncident(ctx context.Context, client *admin.Client, id string, asJSON bool) error {
	if id == "" {
		id = admin.Latest
	}
	var i incident.Incident
	if err := client.GetJSON(ctx, admin.IncidentsPath+"/"+url.PathEscape(id), &i); err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(i)
	}
	fmt.Fprintf(p.stdout, "incident %s: %s, %s, since %s\n", i.ID, i.Class, i.Phase, localTime(i.Since))
	if !i.Started.Equal(i.Since) {
		fmt.Fprintf(p.stdout, "it began at %s as other trouble, or was over for a while\n", localTime(i.Started))
	}
	if i.StillOn() {
		fmt.Fprintf(p.stdout, "a person ended it, but not over yet: %s\n", classList(i.Still))
	}
	for _, e := range i.Events {
		p.printEvent(e)
	}
	return nil
}

// printEvent prints one line about an event.
func (p process) printEvent(e incident.Event) {
	line := fmt.Sprintf("%s  %-8s", localTime(e.Time), e.Kind)
	for _, part := range []string{string(e.Class), string(e.To), eventlog.StripControl(e.Text)} {
		if part != "" {
			line += "  " + part
		}
	}
	if !e.Since.IsZero() {
		line += "  since " + localTime(e.Since)
	}
	if len(e.Still) > 0 {
		line += "  still on: " + classList(e.Still)
	}
	if ev := e.Evidence; ev != nil {
		line += fmt.Sprintf("  excess %.1f %%, %s %.0f logins a minute (expected %.0f), %s known users %.1f %% served",
			100*ev.Excess, incident.Over(incident.RateWindow), ev.Observed.Logins, ev.Expected.Logins, incident.Over(incident.ServedWindow), 100*ev.Served)
	}
	fmt.Fprintf(p.stdout, "%s  (%s)\n", line, eventlog.StripControl(e.By))
}

// classList is a list of classes for people.
func classList(classes []watch.Class) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(classes), " ", ", "), "[]")
}

// printJSON prints v for programs.
func (p process) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// localTime is a time in the zone of the reader, or a dash for none.
func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
