package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os/user"
	"slices"
	"strings"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// operatorTimeout is how long the running gate may take to do what an operator
// asks for.
const operatorTimeout = 30 * time.Second

// incidentHelp lists what can be done about incidents.
const incidentHelp = `see incidents, and do something about them:

  list                    those that are remembered, the latest first
  show [ID]               one with all that happened; without ID the latest
  ack                     I have taken it on: no more reminders
  note TEXT               TEXT goes into the record, not to the public
  hold                    the public is not told by itself
  publish [TEXT]          the public is told now, in your words if there are any
  mitigate                users are served again
  reclassify CLASS        it is an attack, auth_fault, backend_fault, storm, ...
  false-alarm [TEXT]      it was nothing; the watch takes it as usual from now on
  resolve [TEXT]          it is over
  open CLASS TEXT         there is one that the watch does not see`

// prepareIncident declares the flags of `postern incident`.
func prepareIncident(flags *flag.FlagSet) func(context.Context, surroundings) error {
	id := flags.String("incident", "", "`ID` of the incident; without it the open one")
	asJSON := flags.Bool("json", false, "list, show: print JSON")
	return func(ctx context.Context, s surroundings) error {
		admin, err := s.operatorClient()
		if err == nil {
			err = s.incident(ctx, admin, *id, *asJSON)
		}
		if err != nil {
			return fmt.Errorf("incident: %w", err)
		}
		return nil
	}
}

// incident does what the arguments say.
func (s surroundings) incident(ctx context.Context, admin *adminClient, id string, asJSON bool) error {
	verb, rest := "list", s.args
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	switch verb {
	case "list":
		return s.listIncidents(ctx, admin, asJSON)
	case "show":
		if len(rest) > 0 {
			id = rest[0]
		}
		return s.showIncident(ctx, admin, id, asJSON)
	}
	c, err := commandOf(verb, rest)
	if err != nil {
		return err
	}
	c.Incident, c.By = id, operatorName(s.environ)
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	answer, err := admin.do(ctx, http.MethodPost, incidentsPath, body)
	if err != nil {
		return err
	}
	var events []incident.Event
	if err := json.Unmarshal(answer, &events); err != nil {
		return fmt.Errorf("ask %s: %w", admin.addr, err)
	}
	for _, e := range events {
		s.printEvent(e)
	}
	return nil
}

// commandOf makes a command of a verb and what follows it.
func commandOf(verb string, rest []string) (c incident.Command, err error) {
	c.Action = incident.Action(verb)
	if !slices.Contains(incident.Actions(), c.Action) {
		return c, fmt.Errorf("%q: takes list, show or one of %q", verb, incident.Actions())
	}
	if c.Action == incident.ActReclassify || c.Action == incident.ActOpen {
		if len(rest) == 0 || !slices.Contains(watch.Classes(), watch.Class(rest[0])) {
			return c, fmt.Errorf("%s: takes one of %q", verb, watch.Classes())
		}
		c.Class, rest = watch.Class(rest[0]), rest[1:]
	}
	c.Text = strings.Join(rest, " ")
	if c.Action == incident.ActNote && c.Text == "" {
		return c, errors.New("note: takes a text")
	}
	return c, nil
}

// operatorName is who is at the keyboard, through sudo as well.
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

// operatorClient finds the running postern and the token that it asks for. A
// token that cannot be read is not shown; the answer says that one is needed.
func (s surroundings) operatorClient() (*adminClient, error) {
	admin, err := s.adminClient(operatorTimeout)
	if err != nil {
		return nil, err
	}
	c, _ := s.settings()
	if path, _ := c.tokenFile(); path != "" && !strings.HasPrefix(string(admin.addr), "unix:") {
		if admin.token, err = readToken(path); err != nil {
			return nil, err
		}
	}
	return admin, nil
}
