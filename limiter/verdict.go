package limiter

import "time"

// A Rule is the reason for a verdict. Its text is used in logs and metrics.
type Rule string

// The rules of a [Limiter].
const (
	RuleNone         Rule = "none"          // no rule objected
	RuleBlocked      Rule = "blocked"       // an operator has blocked the network
	RuleConnect      Rule = "connect"       // new connections of the source
	RuleOpen         Rule = "open"          // open connections of the source
	RuleOpenPrelogin Rule = "open_prelogin" // open connections of the source before login
	RuleRepeat       Rule = "repeat"        // the same credential was denied from the same source within RepeatTTL
	RuleSource       Rule = "source"        // denials of the source
	RuleNetwork      Rule = "network"       // denials of the network
	RulePair         Rule = "pair"          // denials of the source on the account
	RuleAccount      Rule = "account"       // denials of strangers on the account
	RuleGlobal       Rule = "global"        // logins that reach backends
	RuleSpray        Rule = "spray"         // the same password was denied for many accounts
	RulePrefix       Rule = "prefix"        // denials of new sources in a wide prefix, during an attack
)

// The rules of package proxy, which acts on the verdicts. They are here so that all verdicts use one set of rules.
const (
	RuleTarpit         Rule = "tarpit"          // too many attempts wait already
	RuleBackend        Rule = "backend"         // no backend, or too many logins in progress at each
	RuleMaxConnections Rule = "max_connections" // too many connections on all listeners
	RuleHandshakes     Rule = "handshakes"      // TLS handshakes wait too long for a CPU
)

// Rules returns every rule, for example to register metric labels.
func Rules() []Rule {
	return []Rule{
		RuleNone, RuleBlocked, RuleConnect, RuleOpen, RuleOpenPrelogin, RuleRepeat, RuleSource, RuleNetwork, RulePair, RuleAccount, RuleGlobal, RuleSpray,
		RulePrefix, RuleTarpit, RuleBackend, RuleMaxConnections, RuleHandshakes,
	}
}

// An Action is what the proxy must do with a connection or an attempt. A stricter one is greater.
type Action uint8

// The actions, from the mildest to the strictest.
const (
	Pass   Action = iota // continue
	Wait                 // wait, then continue
	Repeat               // wait, then answer as if a backend had denied it
	Refuse               // end the attempt or the connection
)

// String returns "pass", "wait", "repeat" or "refuse".
func (a Action) String() string {
	return [...]string{"pass", "wait", "repeat", "refuse"}[a]
}

// A Verdict is an action and the rule that asks for it.
type Verdict struct {
	Action Action
	Rule   Rule
	Wait   time.Duration // above zero if Action is Wait, zero or more if it is Repeat, else zero
	Known  bool          // the attempt is known, by credential or by address
	Near   bool          // the account was accepted from the same device, source or network
	Again  bool          // after the wait, ask again with [Ticket.Again]
}

// pass is the verdict if no rule objects.
var pass = Verdict{Action: Pass, Rule: RuleNone}

// waiting returns the verdict to wait d by rule r, or pass if d is zero.
func waiting(r Rule, d time.Duration) Verdict {
	if d <= 0 {
		return pass
	}
	return Verdict{Action: Wait, Rule: r, Wait: d}
}

// refusal returns the verdict to refuse by rule r.
func refusal(r Rule) Verdict {
	return Verdict{Action: Refuse, Rule: r}
}

// stricter returns the verdict with the greater action, or with the longer wait if the actions are equal. If both are
// equal, it returns a.
func stricter(a, b Verdict) Verdict {
	if b.Action > a.Action || b.Action == a.Action && b.Wait > a.Wait {
		return b
	}
	return a
}

// An Outcome is the result of an attempt.
type Outcome uint8

// The outcomes.
const (
	Void     Outcome = iota // neither of the others: no backend answered, or the client left before
	Denied                  // a backend said that the credentials are wrong
	Accepted                // a backend accepted the login
)

// String returns "void", "denied" or "accepted".
func (o Outcome) String() string {
	return [...]string{"void", "denied", "accepted"}[o]
}
