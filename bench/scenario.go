package bench

import (
	"context"
	"errors"

	"postern/limiter/traffic"
)

// Scenario is what can be asked for on the command line by one word.
type Scenario struct {
	Name  string
	About string // one line for the list of scenarios
	// Works returns what is measured, for the options given. An error says which
	// option makes no sense.
	Works func(o *Options) ([]Work, error)
}

// Scenarios lists all scenarios in the order in which they are offered.
var Scenarios = []Scenario{login, idle, relay, attack, tarpit, overload, capacity, incident}

// Work is one thing measured at every target: a group of rows in the table.
// Every round of it visits the targets one after the other, each round in
// another order.
type Work struct {
	Name   string // as "login, TLS, saturation"; what comes before the comma is the scenario
	About  string // a sentence or two for the report: what is done and what the figures mean
	Rounds int
	// Extra work is done only when it is asked for by its name.
	Extra bool
	// Fresh work gets a newly started target in every round.
	Fresh bool
	// Settings are NAME=value of postern's environment, in place of limits that
	// do not bind.
	Settings []string
	// Known is who has logged in at postern for a day before it is started.
	Known []traffic.Login
	// Announce lets clients say in a PROXY header where they come from, be it any
	// address at all; targets are told to believe them.
	Announce bool
	// Measure does one round at t and puts what it found into s. An error spoils
	// the round and is shown; it does not end the run. ErrNotOffered says that t
	// cannot do this at all.
	Measure func(ctx context.Context, t *Target, s *Sample) error
}

// ErrNotOffered says that a target has no such door or does no such thing.
var ErrNotOffered = errors.New("not offered")

// ErrLeftOut says that something was not measured at a target because it would
// tell nothing; the text before it says why.
var ErrLeftOut = errors.New("left out")

// Find returns the scenario of that name, and whether there is one.
func Find(name string) (Scenario, bool) {
	for _, s := range Scenarios {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}
