package explain

import (
	"fmt"
	"strings"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
	"postern/proxy"
)

// causes say why each rule delays or refuses, as what follows "because".
var causes = map[limiter.Rule]string{
	limiter.RuleBlocked:        "an operator has blocked the network of the client",
	limiter.RuleConnect:        "too many new connections came from the source in a short time",
	limiter.RuleOpen:           "the source had too many open connections",
	limiter.RuleOpenPrelogin:   "the source had too many open connections that had not logged in",
	limiter.RuleRepeat:         "the same wrong password had come from the source shortly before",
	limiter.RuleSource:         "too many wrong passwords came from the source",
	limiter.RuleNetwork:        "too many wrong passwords came from the network",
	limiter.RulePair:           "too many wrong passwords for the account came from the client",
	limiter.RuleAccount:        "too many wrong passwords for the account came from strangers",
	limiter.RuleGlobal:         "more logins came than the mail servers may be asked for, and others went first",
	limiter.RuleSpray:          "the same password was denied at about twenty accounts within an hour",
	limiter.RulePrefix:         "during an attack, too many wrong passwords came from new sources of the same wide prefix",
	limiter.RuleTarpit:         "too many attempts were waiting already",
	limiter.RuleBackend:        "no mail server could be reached, or all had as many logins in flight as they may have",
	limiter.RuleMaxConnections: "all connections that may be open were logged in",
	limiter.RuleHandshakes:     "there was no processor time for the TLS handshakes of strangers",
}

// endings say how a connection ended without an attempt that explains it.
var endings = map[proxy.End]string{
	proxy.EndClient:      "the client closed the connection",
	proxy.EndBackend:     "the mail server closed the session or failed the login",
	proxy.EndTries:       "postern closed the connection after too many wrong passwords on it",
	proxy.EndTimeout:     "postern closed the connection because the client did not log in in time",
	proxy.EndProtocol:    "postern closed the connection because the client did not speak the protocol of the listener",
	proxy.EndTLS:         "the TLS handshake failed",
	proxy.EndProxyHeader: "postern closed the connection because its PROXY header was missing or malformed",
	proxy.EndProbe:       "the connection was a health check of a load balancer",
	proxy.EndEvicted:     "postern closed the connection to make room for another: it had waited longest before login",
	proxy.EndBlocked:     "postern closed the connection because " + causes[limiter.RuleBlocked],
	proxy.EndShutdown:    "postern closed the connection because it was shutting down or upgrading",
	proxy.EndPanic:       "a fault in postern ended the connection",
}

// cause is why a rule refuses, with the rule.
func cause(rule string) string {
	if c, ok := causes[limiter.Rule(rule)]; ok {
		return "because " + c + " (rule " + rule + ")"
	}
	return "(rule " + rule + ")"
}

// endOf returns the End with a name.
func endOf(name string) (proxy.End, bool) {
	for _, e := range proxy.Ends() {
		if e.String() == name {
			return e, true
		}
	}
	return 0, false
}

// happened says what an event was, as a sentence without its time and its end.
func happened(e *recent.Event) string {
	var b strings.Builder
	if e.Attempt {
		b.WriteString(attemptHappened(e))
	} else {
		b.WriteString(connectionHappened(e))
	}
	if !e.Enforced && e.Action != "pass" {
		b.WriteString("; verdicts were only observed, so it went on as without the rule " + e.Rule)
	}
	if e.Error != "" {
		b.WriteString(": " + e.Error)
	}
	return b.String()
}

// where names the client, the account and the listener of an event.
func where(e *recent.Event) string {
	s := ""
	if e.Account != "" {
		s += " to the account " + e.Account
	}
	if e.Addr.IsValid() {
		s += " from " + e.Addr.String()
	}
	if e.Listener != "" {
		s += " at " + e.Listener
	}
	return s
}

// attemptHappened is happened for an attempt.
func attemptHappened(e *recent.Event) string {
	login := "a login" + where(e)
	switch e.Result {
	case "accepted":
		s := "a mail server accepted " + login
		if e.Waited > 0 {
			s += " after a delay of " + seconds(e.Waited) + " " + cause(e.Rule)
		}
		return s
	case "denied":
		s := "a mail server denied " + login + ": the password or the name is wrong"
		if e.Waited > 0 {
			s += ", after a delay of " + seconds(e.Waited) + " " + cause(e.Rule)
		}
		return s
	case "repeat":
		return "postern denied " + login + " without asking a mail server, " + cause(e.Rule)
	case "refused":
		return "postern refused " + login + " for a while " + cause(e.Rule)
	case "abandoned":
		return "the client left a challenge of the mail server unanswered in " + login
	}
	s := login + " was cut short by the client or a mail server"
	if e.Waited > 0 {
		s += " after a delay of " + seconds(e.Waited) + " " + cause(e.Rule)
	}
	return s
}

// connectionHappened is happened for the end of a connection.
func connectionHappened(e *recent.Event) string {
	at := ""
	if w := where(e); w != "" {
		at = " (a connection" + w + ")"
	}
	if e.Result == proxy.EndRefused.String() {
		return "postern refused a connection" + where(e) + " " + cause(e.Rule)
	}
	if end, ok := endOf(e.Result); ok {
		return endings[end] + at
	}
	return "the connection ended: " + e.Result + at
}

// verdictPhrase says what a verdict means for a client.
func verdictPhrase(v limiter.Verdict) string {
	switch v.Action {
	case limiter.Wait:
		return fmt.Sprintf("would wait %s first %s", seconds(v.Wait), cause(string(v.Rule)))
	case limiter.Repeat:
		return "would be denied without asking a mail server " + cause(string(v.Rule))
	case limiter.Refuse:
		return "would be refused " + cause(string(v.Rule))
	}
	return "would be let through to a mail server at once"
}

// settings names the settings of a rule, empty if it has none.
func settings(rule limiter.Rule) string { return strings.Join(eventlog.Settings(rule), ", ") }

// seconds is a duration for people, in seconds, or minutes if it is long.
func seconds(d time.Duration) string {
	if d < time.Second && d > 0 {
		return "less than a second"
	}
	d = d.Round(time.Second)
	if d >= time.Hour {
		d = d.Round(time.Minute)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// clock is a time of day where now is, with the date unless it is that of now.
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// capital returns s with a capital letter and a full stop.
func capital(s string) string {
	if s == "" {
		return ""
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
