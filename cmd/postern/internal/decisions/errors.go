package decisions

import "errors"

// NeedsForceError is the refusal of a request that may lock users out and does not have
// Force.
type NeedsForceError struct {
	Reason string // what it would do
	Users  int    // known users who logged in from there within the last day, estimated
}

// Error is the reason.
func (e NeedsForceError) Error() string { return e.Reason }

// RequestError is the refusal of a request that makes no sense, whatever the state.
type RequestError struct{ Err error }

// Error says what was got and what was wanted.
func (e RequestError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e RequestError) Unwrap() error { return e.Err }

// ErrNotFound is the error for a decision that is not in force.
var ErrNotFound = errors.New("there is no such decision in force")

// ErrHandOver is the error for a change while another process is taking over.
var ErrHandOver = errors.New("another process is taking over: try again in a few seconds")

// ErrFull is the error for a decision beyond Max.
var ErrFull = errors.New("there are too many decisions: end some")
