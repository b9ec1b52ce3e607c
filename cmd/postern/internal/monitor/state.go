// Package monitor formats the state of a running postern for Nagios, Icinga,
// Checkmk and Munin. Each gets a single check per postern, whose text has the most
// severe problem first. The package does no I/O: the daemon fills in a State and
// serves it as JSON, and `postern check` and `postern munin` format it.
package monitor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// Path is the path of the admin API that returns a State as JSON.
const Path = "/v1/state"

// Window is the period before now that the counts and shares of a State cover.
const Window = incident.ServedWindow

// windowText names it.
var windowText = incident.Over(Window)

// State is the state of a running postern. It contains no address and no account
// name.
type State struct {
	Unready string `json:"unready,omitempty"` // why it is not ready for new clients; empty if it is

	Verdict  string    `json:"verdict"` // of the detector: normal, attack, auth_fault, ...
	Since    time.Time `json:"since"`   // start of the verdict
	Learned  float64   `json:"learned"` // share of the baseline that is known, 0 to 1
	Excess   float64   `json:"excess"`  // denied strangers above the expected, as a share of a busy hour's logins
	Incident *Incident `json:"incident,omitempty"`

	Known    Known    `json:"known"`
	Logins   Logins   `json:"logins"`
	Backends Backends `json:"backends"`

	Connections    int `json:"connections"`
	MaxConnections int `json:"max_connections"`

	Generations []Generation `json:"generations,omitempty"` // processes of this gateway, the one that accepts connections first

	Sharing *Sharing `json:"sharing,omitempty"` // nil if this gateway does not share with others

	// Failures lists alerts, status pages and files that could not be sent or
	// written lately, each with its error.
	Failures []string `json:"untold,omitempty"`
}

// Generation is one process of a gateway. An upgrade starts the next one, while the sessions of the former go on.
type Generation struct {
	Number   int       `json:"number"`
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Since    time.Time `json:"since"`    // its start
	Sessions int       `json:"sessions"` // logged in
	Prelogin int       `json:"prelogin"` // connections that have not logged in
	// Until is when its last session is closed at the latest; zero for the generation that accepts connections.
	Until time.Time `json:"until,omitzero"`
}

// Incident is the open incident, also one that is only suspected, or one that a
// person closed and that is not over.
type Incident struct {
	ID           string    `json:"id"`
	Class        string    `json:"class"`
	Stage        string    `json:"stage"`
	Since        time.Time `json:"since"` // when the trouble of its class began
	Acknowledged bool      `json:"acknowledged"`
}

// is reports whether i is an incident in this phase.
func (i *Incident) is(p incident.Phase) bool { return i != nil && i.Stage == string(p) }

// Known counts the logins of known users within the Window by result.
type Known struct {
	Good    int           `json:"good"`
	Slow    int           `json:"slow"`    // accepted, but late
	Limited int           `json:"limited"` // refused by postern
	Failed  int           `json:"failed"`  // a backend failed
	Greeted time.Duration `json:"greeted"` // 95th percentile of the time from accept to greeting
}

// Logins counts all logins within the Window by result, and how many are usual in
// such a period.
type Logins struct {
	Accepted int     `json:"accepted"`
	Denied   int     `json:"denied"`
	Refused  int     `json:"refused"`
	Void     int     `json:"void"`
	Expected float64 `json:"expected"`
}

// Backends counts backends.
type Backends struct {
	Up  int `json:"up"`
	All int `json:"all"`
}

// served returns the percentage of known users' logins that were accepted; 100 if
// there were none.
func (k Known) served() float64 {
	total := k.total()
	if total == 0 {
		return 100
	}
	return 100 * float64(k.Good+k.Slow) / float64(total)
}

// describe says how many known users are served.
func (k Known) describe() string {
	if k.total() == 0 {
		return "no logins by known users " + windowText
	}
	return fmt.Sprintf("known users %.1f %% served %s", k.served(), windowText)
}

func (k Known) total() int { return k.Good + k.Slow + k.Limited + k.Failed }

// Level is a severity, with the value of a Nagios plugin's exit code.
type Level int

// The levels.
const (
	OK Level = iota
	Warning
	Critical
	Unknown
)

// String returns the name that Nagios uses.
func (l Level) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[l] }

// Thresholds are percentages of known users served. Below them the level is
// Warning or Critical.
type Thresholds struct{ Warning, Critical float64 }

// DefaultThresholds are those of `postern check`.
var DefaultThresholds = Thresholds{Warning: 99, Critical: 95}

// minLogins is how many logins by known users it takes for their percentage to be
// significant.
const minLogins = 20

// problem is one finding of a check.
type problem struct {
	level Level
	text  string
}

// Evaluate returns the level of the most severe problem, and all problems as text,
// most severe first. An attack that does not affect users is only a warning.
func (s State) Evaluate(l Thresholds) (Level, string) {
	found := slices.Concat(s.knownUsers(l), s.backends(), s.verdict(), s.Sharing.problems(), s.capacity())
	slices.SortStableFunc(found, func(a, b problem) int { return int(b.level) - int(a.level) })
	if len(found) == 0 {
		return OK, s.okText()
	}
	texts := make([]string, len(found))
	for i, f := range found {
		texts[i] = f.text
	}
	return found[0].level, strings.Join(texts, "; ")
}

// okText is the text without a problem.
func (s State) okText() string {
	text := fmt.Sprintf("%s, %d of %d backends up", s.Known.describe(), s.Backends.Up, s.Backends.All)
	if s.Verdict == "learning" {
		text += fmt.Sprintf(", detector has learned %.0f %%", 100*s.Learned)
	}
	if s.Incident.is(incident.Monitoring) {
		text += fmt.Sprintf(", incident %s (%s) is over for now", s.Incident.ID, s.Incident.Class)
	}
	if s.Sharing != nil {
		text += ", " + s.Sharing.describe()
	}
	return text
}

// knownUsers checks how many known users are served, and how fast.
func (s State) knownUsers(l Thresholds) (found []problem) {
	served := s.Known.served()
	text := fmt.Sprintf("only %.1f %% of known users served %s (%d limited, %d failed)", served, windowText, s.Known.Limited, s.Known.Failed)
	switch {
	case s.Known.total() < minLogins:
	case served < l.Critical:
		found = append(found, problem{Critical, text})
	case served < l.Warning:
		found = append(found, problem{Warning, text})
	}
	if s.Known.total() >= minLogins && 20*s.Known.Slow > s.Known.total() {
		found = append(found, problem{Warning, fmt.Sprintf("%d of %d known users waited too long %s", s.Known.Slow, s.Known.total(), windowText)})
	}
	return found
}

// backends checks readiness and the number of backends.
func (s State) backends() (found []problem) {
	switch b := s.Backends; {
	case s.Unready != "":
		found = append(found, problem{Critical, "not ready: " + s.Unready})
	case b.Up < b.All:
		found = append(found, problem{Warning, fmt.Sprintf("%d of %d backends down", b.All-b.Up, b.All)})
	}
	return found
}

// verdict checks the detector's verdict and the open incident, which may be about
// something that the detector does not see. Both begin at the same time if they are
// about the same. Passwords that are refused are critical if they are an alert.
func (s State) verdict() (found []problem) {
	began := s.Since
	if s.Incident != nil && s.Incident.Class == s.Verdict {
		began = s.Incident.Since
	}
	since := "since " + began.Format("15:04 MST")
	switch watch.Class(s.Verdict) {
	case watch.ClassAuthFault:
		level := Critical
		if s.Incident.is(incident.Suspected) {
			level = Warning
		}
		found = append(found, problem{level, "known users' passwords are refused " + since + ": check the password database"})
	case watch.ClassAttack:
		found = append(found, problem{Warning, fmt.Sprintf("attack %s, %s", since, s.Known.describe())})
	case watch.ClassSlowSpray:
		found = append(found, problem{Warning, "many sources guess passwords slowly " + since})
	case watch.ClassAccountAbuse:
		found = append(found, problem{Warning, "many accounts are used far more than is their habit " + since + ": `postern report` lists accounts"})
	case watch.ClassBackendFault:
		found = append(found, problem{Warning, "backends are failing logins " + since})
	case watch.ClassStorm:
		found = append(found, problem{Warning, "many sessions were lost and clients are reconnecting " + since})
	}
	i := s.Incident
	if i.is(incident.Resolved) {
		return append(found, problem{Warning, fmt.Sprintf("incident %s (%s) was closed, but is not over", i.ID, i.Class)})
	}
	if i == nil || i.is(incident.Suspected) || i.is(incident.Monitoring) || len(found) > 0 && i.Class == s.Verdict {
		return found
	}
	return append(found, problem{Warning, fmt.Sprintf("incident %s: %s since %s, %s", i.ID, i.Class, i.Since.Format("15:04 MST"), i.Stage)})
}

// capacity checks the number of connections and lists the failures.
func (s State) capacity() (found []problem) {
	if s.MaxConnections > 0 && s.Connections*100 > s.MaxConnections*85 {
		found = append(found, problem{Warning, fmt.Sprintf("%d of %d connections in use", s.Connections, s.MaxConnections)})
	}
	for _, f := range s.Failures {
		found = append(found, problem{Warning, f})
	}
	return found
}
