// Package explain says in plain language why a client was refused, what is known about it, what
// would happen to it now, and what an operator can do.
package explain

import (
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/recent"
)

// Path is where the admin API serves an Explanation; its parameter about is the ID of a
// session, an address, a network or an account.
const Path = "/v1/explain"

// Subject is what a question is about.
type Subject string

// The subjects.
const (
	Session Subject = "session"
	Source  Subject = "source" // an address
	Network Subject = "network"
	Account Subject = "account"
)

// Explanation is the answer to one question.
type Explanation struct {
	Time      time.Time            `json:"time"`
	About     string               `json:"about"`
	Subject   Subject              `json:"subject"`
	Summary   string               `json:"summary"`   // the answer in one or two sentences
	Facts     []Fact               `json:"facts"`     // what happened, how full each bucket is, what is known, what would happen now
	Advice    []Advice             `json:"advice"`    // what to do, the most likely first
	Events    []recent.Event       `json:"events"`    // the latest first
	Decisions []decisions.Decision `json:"decisions"` // in force on it
}

// Fact is one thing that is known, under a heading such as "Now" or "Buckets".
type Fact struct {
	Heading string `json:"heading"`
	Text    string `json:"text"`
}

// Advice is one thing that an operator can do.
type Advice struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"` // a command line, if there is one
}
