package eventlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// This file says why a client was delayed or refused: what was full, and the
// settings that would have changed it. Package limiter has figures for some rules,
// as long as they still explain the verdict; for all others there is a fixed text.

// A reason is why a rule delays or refuses, and the settings that it depends on.
type reason struct {
	text     string
	settings []string // or a command
}

// blocked is the reason of what an operator has blocked. The command lists it.
var blocked = reason{"an operator has blocked the network of the client", []string{"postern decisions"}}

// reasons has every rule that delays or refuses.
var reasons = map[limiter.Rule]reason{
	limiter.RuleBlocked:        blocked,
	limiter.RuleConnect:        {"too many new connections of the source", []string{"POSTERN_LIMIT_CONNECT"}},
	limiter.RuleOpen:           {"too many open connections of the source", []string{"POSTERN_LIMIT_OPEN"}},
	limiter.RuleOpenPrelogin:   {"too many open connections of the source before login", []string{"POSTERN_LIMIT_OPEN_PRELOGIN"}},
	limiter.RuleRepeat:         {"the same wrong password came from the source a short time ago", []string{"POSTERN_REPEAT_TTL"}},
	limiter.RuleSource:         {"denials of the source", []string{"POSTERN_LIMIT_SOURCE"}},
	limiter.RuleNetwork:        {"denials of the network", []string{"POSTERN_LIMIT_NETWORK"}},
	limiter.RulePair:           {"denials of the client on the account", []string{"POSTERN_LIMIT_PAIR"}},
	limiter.RuleAccount:        {"denials of strangers on the account", []string{"POSTERN_LIMIT_ACCOUNT"}},
	limiter.RuleGlobal:         {"no token for a login to the backends in time", []string{"POSTERN_LIMIT_GLOBAL", "POSTERN_KNOWN_SHARE", "POSTERN_TARPIT_MAX"}},
	limiter.RulePrefix:         {"denials of new sources in the prefix during an attack", []string{"POSTERN_LIMIT_NETWORK"}},
	limiter.RuleSpray:          {"the same password was denied at about 20 accounts within an hour, only observing lets it pass", []string{"POSTERN_MODE"}},
	limiter.RuleTarpit:         {"too many attempts wait already, of the source, of its network or in all", []string{"POSTERN_TARPIT_SOURCE", "POSTERN_TARPIT_NETWORK", "POSTERN_TARPIT_TOTAL"}},
	limiter.RuleBackend:        {"no backend could be reached", []string{"POSTERN_IMAP_BACKENDS", "POSTERN_POP3_BACKENDS", "POSTERN_SIEVE_BACKENDS"}},
	limiter.RuleMaxConnections: {"all connections that may be open are logged in", []string{"POSTERN_MAX_CONNECTIONS"}},
	limiter.RuleHandshakes:     {"no processor time for the handshakes of strangers, fewer for each source leave more", []string{"POSTERN_LIMIT_CONNECT"}},
}

// ends are reasons of connections that ended without a refusal by a rule.
var ends = map[proxy.End]reason{
	proxy.EndTries:   {"too many denied logins on one connection", []string{"POSTERN_TRIES"}},
	proxy.EndBlocked: blocked,
	proxy.EndEvicted: {"closed for another connection, of the same source or of anybody", []string{"POSTERN_LIMIT_OPEN_PRELOGIN", "POSTERN_MAX_CONNECTIONS"}},
}

// String returns the reason as the field why has it.
func (r reason) String() string {
	if len(r.settings) == 0 {
		return r.text
	}
	return r.text + "; " + strings.Join(r.settings, ", ")
}

// fixed has the text of each rule without figures, made once, and fixedEnds that of ends.
var (
	fixed     = texts(reasons)
	fixedEnds = texts(ends)
	noSlot    = reason{"no login slot of a backend was free", []string{"POSTERN_BACKEND_LOGINS"}}.String()
)

// texts returns the texts of reasons.
func texts[K comparable](reasons map[K]reason) map[K]string {
	all := map[K]string{}
	for k, r := range reasons {
		all[k] = r.String()
	}
	return all
}

// WhyRule is why a rule delays or refuses and the settings that this depends on, without
// figures; empty if it never does.
func WhyRule(rule limiter.Rule) string { return fixed[rule] }

// WhyEnd is why connections end in this way without a refusal by a rule, and the settings
// that this depends on; empty if it needs no reason.
func WhyEnd(e proxy.End) string { return fixedEnds[e] }

// Settings are the names of the settings that a rule depends on.
func Settings(rule limiter.Rule) []string {
	isCommand := func(s string) bool { return strings.Contains(s, " ") }
	return slices.DeleteFunc(slices.Clone(reasons[rule].settings), isCommand)
}

// Why is why an attempt was delayed or refused, empty if it was not. That of a known user
// is what the field why of the log has; that of others has no figures and costs nothing,
// because they come in floods.
func (l *Log) Why(a proxy.Attempt) string {
	switch {
	case a.ByUser():
		return l.whyAttempt(a)
	case a.Verdict.Action == limiter.Pass:
		return ""
	case a.Verdict.Rule == limiter.RuleBackend && (a.Verdict.Action == limiter.Wait || errors.Is(a.Err, proxy.ErrNoSlot)):
		return noSlot
	}
	return fixed[a.Verdict.Rule]
}

// WhyRecord is why a connection was delayed, refused, or closed for another, empty if it
// was not. It has no figures and costs nothing.
func (l *Log) WhyRecord(r proxy.Record) string {
	if why, ok := fixedEnds[r.End]; ok || r.Verdict.Action == limiter.Pass {
		return why
	}
	return fixed[r.Verdict.Rule]
}

// whyAttempt is why an attempt was delayed or refused, empty if it was not.
func (l *Log) whyAttempt(a proxy.Attempt) string {
	if a.Verdict.Action == limiter.Pass {
		return ""
	}
	why := reasons[a.Verdict.Rule]
	if a.Verdict.Rule == limiter.RuleBackend {
		why = backendReason(a.Protocol, a.Verdict, a.Waited, a.Err)
	}
	return l.withFigures(why, limiter.Attempt{Addr: a.Client.Addr(), Account: a.Account, Token: a.ByToken()}, a.Verdict.Rule).String()
}

// whyRecord is why a connection was delayed or refused, or closed for another,
// empty if it was not. It has figures only if the connection was refused at once.
func (l *Log) whyRecord(r proxy.Record) string {
	why, ok := ends[r.End]
	switch {
	case ok:
	case r.Verdict.Action == limiter.Pass:
		return ""
	case r.Verdict.Rule == limiter.RuleBackend:
		why = backendReason(r.Protocol, r.Verdict, r.Verdict.Wait, r.Err)
	case r.Step == proxy.StepConnect && r.End == proxy.EndRefused:
		why = l.withFigures(reasons[r.Verdict.Rule], limiter.Attempt{Addr: r.Client.Addr()}, r.Verdict.Rule)
	default:
		why = reasons[r.Verdict.Rule]
	}
	return why.String()
}

// withFigures replaces the text of why by the figures of the rule, if there are
// any.
func (l *Log) withFigures(why reason, a limiter.Attempt, rule limiter.Rule) reason {
	if l.Explain != nil {
		if figures := l.Explain(a, rule); figures != "" {
			why.text = figures
		}
	}
	return why
}

// backendReason is why rule backend delayed or refused: all login slots were in
// use, or no backend of the protocol could be reached.
func backendReason(protocol string, v limiter.Verdict, waited time.Duration, err error) reason {
	logins := []string{"POSTERN_BACKEND_LOGINS"}
	switch {
	case v.Action == limiter.Wait:
		return reason{fmt.Sprintf("all login slots of the backends were in use for %v", v.Wait.Round(time.Millisecond)), logins}
	case errors.Is(err, proxy.ErrNoSlot) && waited > 0:
		return reason{fmt.Sprintf("no login slot of a backend was free, after a wait of %v", waited.Round(time.Millisecond)), logins}
	case errors.Is(err, proxy.ErrNoSlot):
		return reason{"no login slot of a backend was free", logins}
	}
	why := WhyBackend(err)
	if why == "" {
		why = reasons[limiter.RuleBackend].text
	}
	return reason{why, []string{"POSTERN_" + strings.ToUpper(protocol) + "_BACKENDS"}}
}

// WhyBackend says what to change if err is that of a backend which closed behind the
// PROXY header; it is empty for other errors.
func WhyBackend(err error) string {
	if closed, ok := errors.AsType[*proxy.HeaderError](err); ok {
		return "a backend closed the connection after the PROXY header: " + closed.Remedy()
	}
	return ""
}
