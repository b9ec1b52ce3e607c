// Package view defines what an operator sees of a gateway at one time: what the page and
// `postern top` show. The daemon fills it in and the admin API serves it.
package view

import (
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/recent"
	"postern/limiter/watch/incident"
)

// Where the admin API serves views.
const (
	Path     = "/v1/view" // one View
	LivePath = "/v1/live" // server-sent events, each a View
)

// SeriesTime is how far back Series goes.
const SeriesTime = 5 * time.Minute

// View is the state of a gateway. Without Detail it contains no address of a client and no
// account name.
type View struct {
	Time    time.Time     `json:"time"`
	Host    string        `json:"host"`
	Version string        `json:"version"`
	Level   string        `json:"level"` // OK, WARNING or CRITICAL, as `postern check` says by default
	Text    string        `json:"text"`  // the most severe problem first
	State   monitor.State `json:"state"`
	Mode    Mode          `json:"mode"`
	Tight   bool          `json:"tight"` // the limits for strangers are tightened because of an attack

	Series    []recent.Second `json:"series"` // the oldest first
	Lanes     Lanes           `json:"lanes"`
	Tarpit    Place           `json:"tarpit"` // attempts that wait
	Tables    Tables          `json:"tables"`
	Backends  []Backend       `json:"backends"`
	Listeners []Listener      `json:"listeners"`

	Detail *Detail `json:"detail,omitempty"` // only for operators and readers
}

// Mode says whether verdicts are enforced.
type Mode struct {
	Observe bool      `json:"observe"`
	Setting bool      `json:"setting"`        // MODE is observe
	Until   time.Time `json:"until,omitzero"` // when a decision that differs from the setting ends
	By      string    `json:"by,omitempty"`   // of the decision; only with Detail
}

// Lanes are the tokens for logins to the backends, and the attempts that wait for them.
type Lanes struct {
	Size          int     `json:"size"` // of the global bucket; 0 if the rule is off
	Left          float64 `json:"left"`
	Reserved      int     `json:"reserved"` // of Left, for the known
	KnownWait     int     `json:"known_wait"`
	StrangersWait int     `json:"strangers_wait"`
	KnownSlots    int     `json:"known_slots"`    // known attempts that wait for a login slot of a backend
	StrangerSlots int     `json:"stranger_slots"` // likewise of strangers
}

// Place is a bounded number of things.
type Place struct {
	Now int `json:"now"`
	Max int `json:"max"` // 0: not bounded
}

// Tables are the numbers of entries that the limiter keeps.
type Tables struct {
	Buckets int `json:"buckets"`
	Max     int `json:"max"`
	Known   int `json:"known"` // accounts
}

// Backend is one mail server.
type Backend struct {
	Protocol string `json:"protocol"`
	Addr     string `json:"addr"`
	Up       bool   `json:"up"`
	Logins   Place  `json:"logins"` // in flight
	Sessions int    `json:"sessions"`
	Error    string `json:"error,omitempty"` // why the last probe failed
}

// Listener is one address on which clients are served.
type Listener struct {
	Name  string `json:"name"` // imap, imaps, pop3, pop3s or sieve
	Addr  string `json:"addr"`
	Open  int    `json:"open"`  // connections of all listeners of this name, in the main process
	Rate  int    `json:"rate"`  // attempts of all listeners of this name in the last minute
	Proxy bool   `json:"proxy"` // some networks must send PROXY headers
}

// Detail is what names clients and accounts.
type Detail struct {
	Top       recent.Top           `json:"top"`
	Incidents []incident.Incident  `json:"incidents"` // the latest first, at most ten
	Decisions []decisions.Decision `json:"decisions"` // the latest first, at most 100
	Decided   int                  `json:"decided"`   // how many there are
	Refusals  []recent.Event       `json:"refusals"`  // the latest first, at most 50
	Listed    int                  `json:"listed"`    // sources that a firewall should drop
}
