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
	case limiter.RuleGlobal, limiter.RuleTarpit, limiter.RuleBackend, limiter.RuleMaxConnections:
		return "shed"
	}
	return "reject"
}

// loginResults are the values of loginResult.
var loginResults = []string{"accepted", "denied", "refused", "void"}

// loginResult is the outcome of an attempt, where a void one that postern
// itself refused is told apart from those that a backend or the client cut
// short.
func loginResult(a proxy.Attempt) string {
	switch {
	case a.Outcome == limiter.Accepted:
		return "accepted"
	case a.Outcome == limiter.Denied:
		return "denied"
	case a.Verdict.Action == limiter.Refuse:
		return "refused"
	}
	return "void"
}
