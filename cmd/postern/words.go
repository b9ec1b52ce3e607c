package main

import (
	"postern/limiter"
	"postern/proxy"
)

// The words that log lines and metric labels share. Every function here returns
// one of a fixed set, whatever a client did.

// doorNames are the names of all doors, open or not.
var doorNames = []string{"imap", "imaps", "pop3", "pop3s"}

// decisionActions are the values of decisionAction.
var decisionActions = []string{"pass", "tarpit", "repeat", "reject", "shed"}

// decisionAction says what a verdict meant for the client. Refusals for lack of
// room are told apart from refusals of somebody who asked too much: the former
// are ours to mend.
func decisionAction(v limiter.Verdict) string {
	switch v.Action {
	case limiter.Pass:
		return "pass"
	case limiter.Wait:
		return "tarpit"
	case limiter.Repeat:
		return "repeat"
	}
	switch v.Rule {
	case limiter.RuleGlobal, limiter.RuleTarpit, limiter.RuleBackend, limiter.RuleMaxConnections, limiter.RuleHandshakes:
		return "shed"
	}
	return "reject"
}

// loginResults are the values of loginResult.
var loginResults = []string{"accepted", "denied", "repeat", "refused", "void"}

// loginResult is the outcome of an attempt, where a denial that postern repeated
// without asking is told apart from a backend's, and a void attempt that postern
// refused from those that a backend or the client cut short. Where verdicts are
// only observed, postern repeats and refuses nothing.
func loginResult(a proxy.Attempt) string {
	enforced := a.Verdict.Action
	if a.Observed {
		enforced = limiter.Pass
	}
	switch {
	case a.Outcome == limiter.Accepted:
		return "accepted"
	case a.Outcome == limiter.Denied && enforced == limiter.Repeat:
		return "repeat"
	case a.Outcome == limiter.Denied:
		return "denied"
	case enforced == limiter.Refuse:
		return "refused"
	}
	return "void"
}

// clients are the values of clientOf.
var clients = []string{"known", "stranger"}

// clientOf says whose attempt v is about.
func clientOf(v limiter.Verdict) string {
	if v.Known {
		return "known"
	}
	return "stranger"
}

// lacksRoom says whether a known client had to wait, or was refused, for want of
// room. It must not happen: the room is kept for the known.
func lacksRoom(v limiter.Verdict) bool {
	switch v.Rule {
	case limiter.RuleGlobal, limiter.RuleTarpit, limiter.RuleBackend:
		return v.Known && v.Action != limiter.Pass
	}
	return false
}
