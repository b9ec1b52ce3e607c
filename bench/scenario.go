package bench

import (
	"context"
	"errors"

	"postern/limiter/traffic"
)

// Scenario is a group of works that the command line selects by one name.
type Scenario struct {
	Name  string
	About string // one line for the list of scenarios
	// works returns what is measured with the given options. An error names
	// the option that is wrong.
	works func(o *Options) ([]Work, error)
	// gateway returns what is measured at a running server, where that differs;
	// nil if not.
	gateway func(c *Config) ([]Work, error)
}

// Scenarios lists all scenarios in the order in which they are offered.
var Scenarios = []Scenario{
	loginScenario, idleScenario, relayScenario, attackScenario, tarpitScenario, overloadScenario, capacityScenario, incidentScenario,
	informedScenario, viewersScenario, sharingScenario,
}

// findScenario returns the scenario with that name, and whether there is one.
func findScenario(name string) (Scenario, bool) {
	for _, s := range Scenarios {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}

// Work is one measurement at all targets: a group of rows in the table.
type Work struct {
	Name  string // as "login, TLS, saturation"; the scenario stands before the first comma
	Extra bool   // done only if it is selected by name

	about       string // for the report: what is done and what the figures mean
	rounds      int
	fresh       bool            // every round starts a new target
	settings    []string        // of postern's environment, NAME=value, in place of limits that never apply
	known       []traffic.Login // logins that postern has accepted a day before its start
	more        []string        // of postern's environment, NAME=value, in addition
	adminToken  string          // of postern's admin API, "" for none
	proxyHeader bool            // clients send any address in a PROXY header, and targets believe it
	// measure does one round at t and adds its figures to s. An error fails the
	// round and is shown; the run goes on. errNotOffered and errLeftOut end the
	// work at this target.
	measure func(ctx context.Context, t *target, s *sample) error
}

var (
	// errNotOffered means that a target has no such listener or feature.
	errNotOffered = errors.New("not offered")
	// errLeftOut means that a measurement at this target would say nothing. The
	// text before it says why.
	errLeftOut = errors.New("left out")
)
