package bench

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Config says what a run measures, and where.
type Config struct {
	Options  Options
	Scenario []string       // names
	Only     *regexp.Regexp // works to do, by name; nil: all but the extra ones
	Limit    time.Duration  // of the whole run
	Command  string         // the command line, for the report
	Version  string         // of the bench, for the report

	// ProxyHeader makes clients send their addresses in PROXY headers.
	ProxyHeader bool
	Local       Local
	Remote      Remote // in place of Local, if it names an address

	// Progress is called before every round, and at the end with done == total.
	Progress func(done, total int, what string)
}

// Options says how much is done. All values are bounded, so that every run
// ends.
type Options struct {
	Rounds   int           // of every work at every target
	Duration time.Duration // of one round of a login work
	Workers  int           // concurrent clients in a closed loop
	Rate     float64       // logins a second in an open loop
	Sessions int           // open sessions of idle
	Settle   time.Duration // wait before the memory of a target is read
	Volume   int64         // octets that one round of relay moves in each direction
	Timeout  time.Duration // of one client, from connect to close
	Held     int           // attackers of tarpit
	Flood    time.Duration // duration of an overload
	Files    int           // file descriptors of one process, which capacity uses up
	Attack   AttackOptions
}

// AttackOptions says how the scenarios attack and incident run.
type AttackOptions struct {
	Kinds    []string      // of attacks
	Times    []float64     // all logins under attack, as multiples of the normal ones
	MaxRate  float64       // logins a second of users and attackers together; the site is made small enough for it
	Baseline time.Duration // normal traffic before the attack
	Duration time.Duration // of the attack
	Hour     time.Duration // replaces one hour of the incident
}

// Defaults returns the options that hold if the user sets none.
func Defaults() Options {
	return Options{
		Rounds: 3, Duration: 2 * time.Second, Workers: 256, Rate: 500,
		Sessions: 2000, Settle: 3 * time.Second, Volume: 256 << 20, Timeout: 20 * time.Second,
		Held: 2000, Flood: 6 * time.Second, Files: descriptorLimit(),
		Attack: AttackOptions{
			Kinds: []string{"wide"}, Times: []float64{4.27, 10, 100}, MaxRate: 1200,
			Baseline: 10 * time.Second, Duration: time.Minute, Hour: 30 * time.Second,
		},
	}
}

// GatewayDefaults returns the options that hold at a running server: smaller
// attacks, which the server and this machine survive.
func GatewayDefaults() Options {
	o := Defaults()
	o.Held = 200
	a := &o.Attack
	a.Times, a.MaxRate = []float64{10}, 100
	a.Duration, a.Hour = 30*time.Second, 10*time.Second
	return o
}

// check returns an error that names the first option out of bounds, by its
// flag.
func (o *Options) check() error {
	for _, b := range []struct {
		name             string
		value, low, high float64
	}{
		{"rounds", float64(o.Rounds), 1, 100},
		{"duration, in seconds", o.Duration.Seconds(), 0.1, 3600},
		{"workers", float64(o.Workers), 1, 10000},
		{"rate", o.Rate, 1, 100000},
		{"sessions", float64(o.Sessions), 1, 100000},
		{"settle, in seconds", o.Settle.Seconds(), 0, 600},
		{"volume, in octets", float64(o.Volume), 1 << 16, 1 << 40},
		{"most, in logins a second", o.Attack.MaxRate, 10, 100000},
		{"baseline, in seconds", o.Attack.Baseline.Seconds(), 1, 3600},
		{"attack, in seconds", o.Attack.Duration.Seconds(), 1, 3600},
		{"hour, in seconds", o.Attack.Hour.Seconds(), 1, 3600},
		{"held", float64(o.Held), 1, 100000},
		{"flood, in seconds", o.Flood.Seconds(), 0.1, 600},
		{"files", float64(o.Files), filesReserved + filesPerShare, 1 << 30},
		{"timeout, in seconds", o.Timeout.Seconds(), 0.1, 600},
	} {
		if b.value < b.low || b.value > b.high {
			return fmt.Errorf("-%s: got %g, want %g to %g", b.name, b.value, b.low, b.high)
		}
	}
	return nil
}

// Works returns all works of the scenarios, the extra ones included.
func (c *Config) Works() (works []Work, err error) {
	if err := c.Options.check(); err != nil {
		return nil, err
	}
	for _, name := range c.Scenario {
		s, found := findScenario(name)
		if !found {
			return nil, fmt.Errorf("no scenario %q", name)
		}
		var w []Work
		var err error
		if c.Remote.Given() && s.gateway != nil {
			w, err = s.gateway(c)
		} else {
			w, err = s.works(&c.Options)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		works = append(works, w...)
	}
	return works, nil
}

// errNoWork is returned if no work of the scenarios is selected.
var errNoWork = errors.New("-work matches no work of these scenarios; -list shows them")

// selected returns the works that c.Only selects.
func (c *Config) selected() (works []Work, err error) {
	all, err := c.Works()
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if c.Only == nil && !w.Extra || c.Only != nil && c.Only.MatchString(w.Name) {
			works = append(works, w)
		}
	}
	if len(works) == 0 {
		return nil, errNoWork
	}
	return works, nil
}
