package eventlog

import (
	"postern/limiter"
	"postern/proxy"
)

// The values that log fields and metric labels have in common. Each function
// returns one of a fixed set of values, whatever a client did; package metrics
// lists the sets.

// Action is what a verdict meant for the client: pass, tarpit, repeat, reject or
// shed. A refusal for lack of capacity is shed: the operator can do something
// about it. A refusal because the client asked for too much is reject.
func Action(v limiter.Verdict) string {
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

// Result is the outcome of an attempt: accepted, denied by a backend, repeat
// (denied by postern without asking a backend), refused by postern, or void,
// cut short by a backend or the client. Where verdicts are only observed,
// postern neither repeats nor refuses.
func Result(a proxy.Attempt) string {
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

// Client says whether the attempt that v is about was known or a stranger's.
func Client(v limiter.Verdict) string {
	if v.Known {
		return "known"
	}
	return "stranger"
}

// knownLacksCapacity reports whether a known client had to wait or was refused
// for lack of capacity. It must not happen: capacity is reserved for the known.
func knownLacksCapacity(v limiter.Verdict) bool {
	switch v.Rule {
	case limiter.RuleGlobal, limiter.RuleTarpit, limiter.RuleBackend:
		return v.Known && v.Action != limiter.Pass
	}
	return false
}
