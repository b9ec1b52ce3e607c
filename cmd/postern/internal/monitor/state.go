// Package monitor speaks to the monitoring systems that people already have:
// Nagios and Icinga, Checkmk, Munin. Each gets one composite check of one
// postern, with the worst thing first, because ten checks of one trouble are
// nine too many.
package monitor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Path is where a running postern answers with its State, as JSON.
const Path = "/v1/state"

// Window is the time that rates and shares in a State look back on.
const Window = 5 * time.Minute

// State is how a gate does, by its own account. It names no address and no
// account.
type State struct {
	Unready string `json:"unready,omitempty"` // why new clients should go elsewhere

	Verdict  string    `json:"verdict"` // of the detector: normal, attack, auth_fault, ...
	Since    time.Time `json:"since"`   // of the verdict
	Learned  float64   `json:"learned"` // share of the baseline that is known, 0 to 1
	Excess   float64   `json:"excess"`  // denied strangers beyond the expected, as a share of a busy hour's logins
	Incident *Incident `json:"incident,omitempty"`

	Known    Known    `json:"known"`
	Logins   Logins   `json:"logins"`
	Backends Backends `json:"backends"`

	Connections    int `json:"connections"`
	MaxConnections int `json:"max_connections"`

	// Untold names what people or status page could not be told lately, and why.
	Untold []string `json:"untold,omitempty"`
}

// Incident is the one that goes on.
type Incident struct {
	ID           string `json:"id"`
	Class        string `json:"class"`
	Stage        string `json:"stage"`
	Acknowledged bool   `json:"acknowledged"`
}

// Known counts what became of the logins of known users within the Window.
type Known struct {
	Good    int           `json:"good"`
	Slow    int           `json:"slow"`    // accepted, but late
	Limited int           `json:"limited"` // refused by postern: its own mistakes
	Failed  int           `json:"failed"`  // no backend answered
	Greeted time.Duration `json:"greeted"` // 95 of 100 were greeted within this
}

// Logins counts logins within the Window by their results, and what is usual in
// such a time.
type Logins struct {
	Accepted int     `json:"accepted"`
	Denied   int     `json:"denied"`
	Refused  int     `json:"refused"`
	Void     int     `json:"void"`
	Expected float64 `json:"expected"`
}

// Backends counts those that answer.
type Backends struct {
	Up  int `json:"up"`
	All int `json:"all"`
}

// Served is the per cent of known users' logins that were let in; 100 if nobody
// tried.
func (k Known) Served() float64 {
	all := k.all()
	if all == 0 {
		return 100
	}
	return 100 * float64(k.Good+k.Slow) / float64(all)
}

// inWords says how known users fare.
func (k Known) inWords() string {
	if k.all() == 0 {
		return "no known user has come"
	}
	return fmt.Sprintf("known users %.1f %% served", k.Served())
}

func (k Known) all() int { return k.Good + k.Slow + k.Limited + k.Failed }

// Level is how bad something is, as the exit code of a Nagios plugin.
type Level int

// The levels.
const (
	OK Level = iota
	Warning
	Critical
	Unknown
)

// String is the level's name in Nagios.
func (l Level) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[l] }

// Limits says from which share of known users served things are bad, in per
// cent.
type Limits struct{ Warning, Critical float64 }

// fewKnown is how many logins of known users must have been tried before their
// share means anything.
const fewKnown = 20

// trouble is one thing that is not as it should be.
type trouble struct {
	level Level
	text  string
}

// Judge says how bad things are, and why, the worst first. An attack that users
// do not notice is a warning: the gate does its work.
func (s State) Judge(l Limits) (Level, string) {
	found := slices.Concat(s.users(l), s.backends(), s.verdict(), s.room())
	slices.SortStableFunc(found, func(a, b trouble) int { return int(b.level) - int(a.level) })
	if len(found) == 0 {
		return OK, s.calm()
	}
	texts := make([]string, len(found))
	for i, f := range found {
		texts[i] = f.text
	}
	return found[0].level, strings.Join(texts, "; ")
}

// calm is what is said when all is well.
func (s State) calm() string {
	text := fmt.Sprintf("%s, %d of %d backends up", s.Known.inWords(), s.Backends.Up, s.Backends.All)
	if s.Verdict == "learning" {
		text += fmt.Sprintf(", detector has learned %.0f %%", 100*s.Learned)
	}
	return text
}

// users tells how known users fare.
func (s State) users(l Limits) (found []trouble) {
	served := s.Known.Served()
	text := fmt.Sprintf("only %.1f %% of known users served (%d limited, %d failed)", served, s.Known.Limited, s.Known.Failed)
	switch {
	case s.Known.all() < fewKnown:
	case served < l.Critical:
		found = append(found, trouble{Critical, text})
	case served < l.Warning:
		found = append(found, trouble{Warning, text})
	}
	if s.Known.all() >= fewKnown && 20*s.Known.Slow > s.Known.all() {
		found = append(found, trouble{Warning, fmt.Sprintf("%d of %d known users waited too long", s.Known.Slow, s.Known.all())})
	}
	return found
}

// backends tells of those that do not answer.
func (s State) backends() (found []trouble) {
	switch b := s.Backends; {
	case s.Unready != "":
		found = append(found, trouble{Critical, "not ready: " + s.Unready})
	case b.Up < b.All:
		found = append(found, trouble{Warning, fmt.Sprintf("%d of %d backends down", b.All-b.Up, b.All)})
	}
	return found
}

// verdict tells what the detector sees.
func (s State) verdict() (found []trouble) {
	since := "since " + s.Since.Format("15:04 MST")
	switch s.Verdict {
	case "auth_fault":
		found = append(found, trouble{Critical, "known users are told that their passwords are wrong, " + since + ": look at the password database"})
	case "attack":
		found = append(found, trouble{Warning, fmt.Sprintf("attack %s, %s", since, s.Known.inWords())})
	case "backend_fault":
		found = append(found, trouble{Warning, "backends fail logins, " + since})
	case "storm":
		found = append(found, trouble{Warning, "many sessions were lost at once and come back, " + since})
	}
	return found
}

// room tells what is nearly full, and what is not heard.
func (s State) room() (found []trouble) {
	if s.MaxConnections > 0 && s.Connections*100 > s.MaxConnections*85 {
		found = append(found, trouble{Warning, fmt.Sprintf("%d of %d connections in use", s.Connections, s.MaxConnections)})
	}
	for _, u := range s.Untold {
		found = append(found, trouble{Warning, u})
	}
	return found
}
