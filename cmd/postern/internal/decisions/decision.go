// Package decisions keeps what operators have decided: which networks are blocked or
// allowed, and whether verdicts are only observed for a while. Each decision says who made
// it, why, and until when; it ends by itself.
//
// Blocks and allowed networks are shared with the other gateways of a site, if there are any (see Change).
//
// The package stores and checks decisions. Package limiter enforces them, and the daemon
// connects the two.
package decisions

import (
	"net/netip"
	"time"
)

// Kind is what a decision does.
type Kind string

// The kinds.
const (
	Block   Kind = "block"   // clients of the network are refused at connect
	Allow   Kind = "allow"   // clients of the network are not refused as strangers; wins over Block
	Observe Kind = "observe" // verdicts are reported and not enforced, whatever MODE says
	Enforce Kind = "enforce" // verdicts are enforced, whatever MODE says
)

// Decision is one decision that is in force.
type Decision struct {
	ID      string       `json:"id"` // short, unique among those in force
	Kind    Kind         `json:"kind"`
	Network netip.Prefix `json:"network,omitzero"` // of Block and Allow
	Made    time.Time    `json:"made"`
	Until   time.Time    `json:"until,omitzero"` // zero: until it is ended
	By      string       `json:"by"`             // without control characters, as is Comment
	Comment string       `json:"comment,omitempty"`
	Gateway string       `json:"gateway,omitempty"` // at which it was made, if gateways share their decisions
}

// Who says who made d, and where if gateways share their decisions.
func (d *Decision) Who() string {
	if d.Gateway == "" {
		return d.By
	}
	return d.By + " at " + d.Gateway
}

// Request asks for a decision.
type Request struct {
	Kind    Kind   `json:"kind"`
	Network string `json:"network,omitempty"` // an address or a network in CIDR form
	For     string `json:"for,omitempty"`     // a duration such as 1h or 7d, or "forever"; empty for the default of the kind
	By      string `json:"by"`
	Comment string `json:"comment,omitempty"`
	From    string `json:"from,omitempty"`  // the operator's own address, as their shell knows it
	Force   bool   `json:"force,omitempty"` // although it may lock users out
}

// Result is what a Request has done.
type Result struct {
	Decision Decision `json:"decision"`
	Replaced bool     `json:"replaced"`          // a decision of the same kind on the same network was replaced
	Closed   int      `json:"closed"`            // connections that were open and are closed
	Users    int      `json:"users"`             // known users who logged in from there within the last day, estimated
	Warning  string   `json:"warning,omitempty"` // why it may not do what the operator expects
}

// Release asks to forget the denials of an address, a network or an account, and ends the
// decisions to block or allow it.
type Release struct {
	Of string `json:"of"` // an address, a network in CIDR form, or an account
	By string `json:"by"`
}

// Released is what a Release has done.
type Released struct {
	Buckets int        `json:"buckets"` // that were not full
	Ended   []Decision `json:"ended"`   // decisions on exactly this address or network
	Blocked []Decision `json:"blocked"` // decisions on other networks that still block it or a part of it
}

// Forget asks to forget all that is known of an account, as after a theft of its password.
type Forget struct {
	Account string `json:"account"`
	By      string `json:"by"`
}

// Forgotten is what a Forget has done.
type Forgotten struct {
	Known bool `json:"known"` // the account was known
}

// Where the admin API takes what operators ask for.
const (
	Path        = "/v1/decisions" // GET: all Decisions in force; POST: a Request, answered with a Result; DELETE of PATH/ID ends one
	ReleasePath = "/v1/release"   // POST: a Release, answered with a Released
	ForgetPath  = "/v1/forget"    // POST: a Forget, answered with a Forgotten
)
