package bench

import (
	"fmt"
	"time"
)

// Options says how much is done. Every one of them is bounded, so that no run
// is endless.
type Options struct {
	Rounds   int           // of every work at every target
	Duration time.Duration // of one round of a login work
	Workers  int           // clients at once in a closed loop
	Rate     float64       // logins a second in an open loop
	Sessions int           // held by idle
	Settle   time.Duration // given to a target before its memory is read
	Volume   int64         // octets moved by one round of relay, in each direction
	Patience time.Duration // of one client, from its start to its end
	Attacks  []string      // kinds of attack
	Times    []float64     // how many times the normal ones all logins are under attack
	Most     float64       // logins a second of a site and its attackers together; it is as small a site as that takes
	Peace    time.Duration // before an attack
	Siege    time.Duration // an attack
	Hour     time.Duration // stands for an hour of the incident
	Held     int           // attackers of tarpit
	Flood    time.Duration // an overload
	Files    int           // descriptors that a process may have, which capacity is to fill
}

// Defaults returns the options of a run that nobody has changed.
func Defaults() Options {
	return Options{
		Rounds: 3, Duration: 2 * time.Second, Workers: 256, Rate: 500,
		Sessions: 2000, Settle: 3 * time.Second, Volume: 256 << 20, Patience: 20 * time.Second,
		Attacks: []string{"wide"}, Most: 1200,
		Peace: 10 * time.Second, Siege: time.Minute, Hour: 30 * time.Second, Held: 2000,
		Flood: 6 * time.Second, Files: descriptorLimit(),
	}
}

// Check returns an error that names the first option out of bounds.
func (o *Options) Check() error {
	for _, b := range []struct {
		name             string
		value, low, high float64
	}{
		{"rounds", float64(o.Rounds), 1, 100},
		{"duration, in seconds,", o.Duration.Seconds(), 0.1, 3600},
		{"workers", float64(o.Workers), 1, 10000},
		{"rate", o.Rate, 1, 100000},
		{"sessions", float64(o.Sessions), 1, 100000},
		{"settle, in seconds,", o.Settle.Seconds(), 0, 600},
		{"volume, in octets,", float64(o.Volume), 1 << 16, 1 << 40},
		{"most logins a second", o.Most, 10, 100000},
		{"peace, in seconds,", o.Peace.Seconds(), 1, 3600},
		{"siege, in seconds,", o.Siege.Seconds(), 1, 3600},
		{"hour, in seconds,", o.Hour.Seconds(), 1, 3600},
		{"held", float64(o.Held), 1, 100000},
		{"flood, in seconds,", o.Flood.Seconds(), 0.1, 600},
		{"files", float64(o.Files), filesSpare + filesEach, 1 << 30},
		{"patience, in seconds,", o.Patience.Seconds(), 0.1, 600},
	} {
		if b.value < b.low || b.value > b.high {
			return fmt.Errorf("%s must be from %g to %g, not %g", b.name, b.low, b.high, b.value)
		}
	}
	return nil
}
