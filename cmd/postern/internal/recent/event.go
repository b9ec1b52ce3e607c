// Package recent remembers for a while what happened to clients, in bounded memory: each
// attempt that was not simply accepted, and each connection that was refused. It answers
// who is attacking now, and why a certain login was refused.
//
// Nothing of it is written to a file. What is said to operators about an event is in
// package explain.
//
// In reading order: event.go has the types, memory.go what becomes an event, ring.go and text.go
// where it is kept, series.go the counts by second, query.go and top.go (with count.go) what can
// be asked, export.go and import.go what an upgrade hands over.
package recent

import (
	"net/netip"
	"time"
)

// Event is an attempt, or a connection that was refused before it could make one. Its
// texts are those of the log: escaped and cut.
type Event struct {
	Time     time.Time     `json:"time"`
	Session  string        `json:"session"` // the ID at the end of the error message
	Attempt  bool          `json:"attempt"` // an attempt; else the end of a connection
	Listener string        `json:"listener"`
	Addr     netip.Addr    `json:"addr"`
	Account  string        `json:"account,omitempty"`
	Method   string        `json:"method,omitempty"`
	Action   string        `json:"action"` // as the log has it: pass, tarpit, repeat, reject, shed
	Rule     string        `json:"rule"`
	Result   string        `json:"result"`        // of an attempt accepted, denied, repeat, refused, ...; else the end of the connection
	Known    bool          `json:"known"`         // a known user's
	Why      string        `json:"why,omitempty"` // the reason and the settings that it depends on
	Waited   time.Duration `json:"waited,omitempty"`
	Enforced bool          `json:"enforced"`
	Error    string        `json:"error,omitempty"`
	Backend  string        `json:"backend,omitempty"`
	JA4      string        `json:"ja4,omitempty"` // of the client's TLS, empty in clear text
}

// Row is what one source, network or account has done within a time.
type Row struct {
	Name     string    `json:"name"`     // an address, a network in CIDR form or an account
	Attempts int       `json:"attempts"` // and refused connections
	Accepted int       `json:"accepted"`
	Denied   int       `json:"denied"`  // by a backend, or as a repeat
	Refused  int       `json:"refused"` // by postern
	Waited   int       `json:"waited"`  // that were delayed, whatever their result
	Others   int       `json:"others"`  // of a source or network: different accounts; of an account: different networks
	Rule     string    `json:"rule"`    // that delayed or refused it most often; empty if none did
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Known    bool      `json:"known"` // a known user logged in from there, or to it, within this time
}

// Top has the sources, networks and accounts with most attempts that were not accepted, the
// busiest first.
type Top struct {
	Window   time.Duration `json:"window"` // of what is counted, before the time of the call
	Sources  []Row         `json:"sources"`
	Networks []Row         `json:"networks"`
	Accounts []Row         `json:"accounts"`
}

// Second counts the attempts that were settled in one second, by result.
type Second struct {
	Time     int64  `json:"t"` // seconds since 1970
	Known    uint32 `json:"known"`
	Stranger uint32 `json:"stranger"` // accepted, of clients that were not known
	Denied   uint32 `json:"denied"`   // by a backend
	Repeat   uint32 `json:"repeat"`   // answered as denied without a backend
	Refused  uint32 `json:"refused"`  // by postern: attempts, and connections before one
	Void     uint32 `json:"void"`     // without an answer: a backend failed, or the client has gone
}
