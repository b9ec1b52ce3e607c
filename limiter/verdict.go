package limiter

import "time"

// A Rule is what a verdict was made by. Its text is the word used in logs and metrics.
type Rule string

// The rules of a [Limiter].
const (
	RuleNone         Rule = "none"          // nothing spoke against it
	RuleConnect      Rule = "connect"       // new connections of the source
	RuleOpen         Rule = "open"          // open connections of the source
	RuleOpenPrelogin Rule = "open_prelogin" // open connections of the source before login
	RuleRepeat       Rule = "repeat"        // the same credential from the same source was denied moments ago
	RuleSource       Rule = "source"        // denials of the source
	RuleNetwork      Rule = "network"       // denials of the network
	RulePair         Rule = "pair"          // denials of the source on the account
	RuleAccount      Rule = "account"       // denials of strangers on the account
	RuleGlobal       Rule = "global"        // logins that reach backends
)

// The rules of those who act on its verdicts. They are listed here so that each verdict speaks one language.
const (
	RuleTarpit         Rule = "tarpit"          // no room left to wait in
	RuleBackend        Rule = "backend"         // no backend, or no free login at one
	RuleMaxConnections Rule = "max_connections" // too many connections in all
	RuleHandshakes     Rule = "handshakes"      // TLS handshakes wait for too long to begin another
)

// Rules returns every rule there is, for those who need a fixed set of words.
func Rules() []Rule {
	return []Rule{
		RuleNone, RuleConnect, RuleOpen, RuleOpenPrelogin, RuleRepeat, RuleSource, RuleNetwork, RulePair, RuleAccount, RuleGlobal,
		RuleTarpit, RuleBackend, RuleMaxConnections, RuleHandshakes,
	}
}

// An Action is what a verdict asks for. A stricter one is greater.
type Action uint8

// The actions, from the mildest to the strictest.
const (
	Pass   Action = iota // go on
	Wait                 // go on after the verdict's wait
	Repeat               // after the verdict's wait, answer as if a backend had denied it, without asking one
	Refuse               // end here
)

// String returns "pass", "wait", "repeat" or "refuse".
func (a Action) String() string {
	return [...]string{"pass", "wait", "repeat", "refuse"}[a]
}

// A Verdict says what is to be done, and which rule said so.
type Verdict struct {
	Action Action
	Rule   Rule
	Wait   time.Duration // above zero when Action is Wait, zero or more when it is Repeat, else zero
	Known  bool          // the attempt belongs to somebody who was accepted before
	Near   bool          // and that from the same source or network
}

// pass is the verdict when no rule spoke.
var pass = Verdict{Action: Pass, Rule: RuleNone}

// waiting returns the verdict that r asks for a wait of d.
func waiting(r Rule, d time.Duration) Verdict {
	if d <= 0 {
		return pass
	}
	return Verdict{Action: Wait, Rule: r, Wait: d}
}

// refusal returns the verdict that r refuses.
func refusal(r Rule) Verdict {
	return Verdict{Action: Refuse, Rule: r}
}

// stricter returns the verdict that asks for more: refuse beats wait beats pass, and a longer wait a shorter. Between
// equals it is a.
func stricter(a, b Verdict) Verdict {
	if b.Action > a.Action || b.Action == a.Action && b.Wait > a.Wait {
		return b
	}
	return a
}

// An Outcome is how an attempt ended.
type Outcome uint8

// The outcomes. The zero value is the one that leaves no trace.
const (
	Void     Outcome = iota // neither of the others: no backend answered, or the client left before one was asked
	Denied                  // a backend said that the credentials are wrong
	Accepted                // a backend let the client in
)

// String returns "void", "denied" or "accepted".
func (o Outcome) String() string {
	return [...]string{"void", "denied", "accepted"}[o]
}
