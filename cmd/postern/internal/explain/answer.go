package explain

import (
	"errors"
	"net/netip"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
)

// Sources are what an Explanation is made of. All functions must be set.
type Sources struct {
	Recent    *recent.Memory
	Inspect   func(t time.Time, a limiter.Attempt) limiter.Inspection
	Users     func(t time.Time, network netip.Prefix, within time.Duration) (n int, ok bool) // known users who logged in from there, estimated
	Decisions func() []decisions.Decision                                                    // in force
	Observing func() bool                                                                    // verdicts are not enforced
}

// A RequestError says what is wrong with a question.
type RequestError struct{ error }

// ErrNotFound is in the error about what nothing is known of.
var ErrNotFound = errors.New("nothing found")

// Explain answers a question about the ID of a session, an address, a network in CIDR form
// or an account, as of t. Its error is a RequestError if the question makes no sense, and
// wraps ErrNotFound if nothing is known of what it is about.
func Explain(t time.Time, about string, s Sources) (Explanation, error) {
	if about == "" {
		return Explanation{}, RequestError{errors.New("about: got nothing, want the ID of a session, an address, a network or an account")}
	}
	return Explanation{Time: t, About: about, Subject: Account, Facts: []Fact{}, Advice: []Advice{}, Events: []recent.Event{}, Decisions: []decisions.Decision{}}, nil
}
