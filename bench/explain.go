package bench

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"postern/bench/client"
)

// Explanation says how some attempts at a running gateway ended.
type Explanation struct {
	Who     string `json:"who"` // users or attackers
	Count   int    `json:"count"`
	What    string `json:"what"`    // what happened, and what to do
	Example string `json:"example"` // one of them: account, address, line of the server
}

// String is the explanation as a line of a table.
func (e Explanation) String() string {
	return fmt.Sprintf("%s, %d × %s (as %s)", e.Who, e.Count, e.What, e.Example)
}

// The groups of clients in explanations.
const (
	whoUsers     = "users"
	whoAttackers = "attackers"
)

// attempt is one login as its client saw it.
type attempt struct {
	who, account string
	source       netip.Addr // zero if the system has chosen it
	answer       client.Answer
	line         string // of the server, with answer
	err          error  // there was no answer
}

// accepted reports whether the login was accepted.
func (a attempt) accepted() bool { return a.err == nil && a.answer == client.Accepted }

// beforeLogin reports whether it ended before the client could log in.
func (a attempt) beforeLogin() bool {
	var f *client.Failure
	return errors.As(a.err, &f) && f.Step != client.StepLogin && f.Step != client.StepLogout
}

// explainer explains attempts at one listener. It is safe for concurrent use.
type explainer struct {
	addr        string      // of the listener
	proxyHeader bool        // clients send their address in a PROXY header
	served      atomic.Bool // a login was accepted, so addresses and PROXY headers are right

	mu   sync.Mutex
	seen map[[2]string]*Explanation // by who and what
}

// newExplainer returns an explainer of attempts through d.
func newExplainer(d *client.Dialer) *explainer {
	return &explainer{addr: d.Addr, proxyHeader: d.ProxyHeader, seen: map[[2]string]*Explanation{}}
}

// add counts an attempt that was not accepted.
func (e *explainer) add(a attempt) {
	what := e.explain(a)
	e.mu.Lock()
	defer e.mu.Unlock()
	key := [2]string{a.who, what}
	if e.seen[key] == nil {
		e.seen[key] = &Explanation{Who: a.who, What: what, Example: a.example()}
	}
	e.seen[key].Count++
}

// all returns what was counted: users first, the most frequent first.
func (e *explainer) all() []Explanation {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []Explanation
	for _, x := range e.seen {
		list = append(list, *x)
	}
	slices.SortFunc(list, compareExplanations)
	return list
}

// reset forgets what was counted.
func (e *explainer) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.seen)
}

// compareExplanations orders users first, then by count.
func compareExplanations(a, b Explanation) int {
	return cmp.Or(-cmp.Compare(a.Who, b.Who), b.Count-a.Count, cmp.Compare(a.What, b.What))
}

// sessionID matches the ID of a postern session at the end of its answers.
var sessionID = regexp.MustCompile(`\(([a-z0-9]{4,}-[a-z0-9]+)\)$`)

// idIn returns the session ID in a line of postern, "" if there is none.
func idIn(line string) string {
	if m := sessionID.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

// example names one attempt, and how to ask postern about it.
func (a attempt) example() string {
	s := a.account
	if a.source.IsValid() {
		s += " from " + a.source.String()
	}
	line := a.serverLine()
	if line != "" {
		s += fmt.Sprintf(": %q", line)
	} else if a.err != nil {
		s += ": " + a.err.Error()
	}
	if id := idIn(line); id != "" {
		s += ": postern explain " + id
	}
	return s
}

// serverLine returns what the server said, "" for nothing.
func (a attempt) serverLine() string {
	var f *client.Failure
	if errors.As(a.err, &f) {
		return f.Line
	}
	return a.line
}

// explain says how an attempt ended and what to do.
func (e *explainer) explain(a attempt) string {
	var f *client.Failure
	switch {
	case a.err == nil:
		return explainAnswer(a)
	case !errors.As(a.err, &f):
		return a.err.Error()
	case client.Reason(f) == client.NoSocket:
		return "bench out of file descriptors or local ports: lower -most or -held, or raise the limit (ulimit -n)"
	case f.Step == client.StepConnect:
		return e.explainConnect(f)
	case f.Step == client.StepTLS:
		return e.explainTLS(f)
	case f.Step == client.StepGreeting:
		return e.explainGreeting(f)
	}
	return e.explainLater(f)
}

// explainAnswer explains an answer to a login.
func explainAnswer(a attempt) string {
	code := responseCode(a.line)
	switch {
	case code == privacyRequired:
		return "refused: the listener takes no passwords in clear text, use -imaps or -pop3s"
	case a.answer == client.Denied && a.who == whoAttackers:
		return "denied: the password is wrong, as it should be"
	case a.answer == client.Denied:
		return "denied although the password was right before: the mail server or postern denied it, postern explain ACCOUNT tells"
	case slices.Contains([]string{"LIMIT", "INUSE", "IN-USE"}, code):
		return answerName(a.line) + ": the mail server allows the account no more sessions"
	case idIn(a.line) != "":
		return answerName(a.line) + ": postern refused by a limit, for lack of capacity, or because no mail server answers, postern explain ID tells"
	}
	return answerName(a.line) + ": refused for now, without a session ID of postern: by the mail server or another proxy"
}

// privacyRequired is the code of an answer to a login in clear text that needs
// TLS (RFC 5530).
const privacyRequired = "PRIVACYREQUIRED"

// responseCode returns the code in square brackets of an answer, "" if there is
// none.
func responseCode(line string) string {
	_, rest, found := strings.Cut(line, "[")
	code, _, closed := strings.Cut(rest, "]")
	if !found || !closed {
		return ""
	}
	return strings.ToUpper(code)
}

// answerName is the beginning of an answer up to its code.
func answerName(line string) string {
	if before, _, found := strings.Cut(line, "]"); found {
		return before + "]"
	}
	first, _, _ := strings.Cut(line, " ")
	return first
}

// explainConnect explains a connection that was not made.
func (e *explainer) explainConnect(f *client.Failure) string {
	switch client.Reason(f) {
	case client.NoListener:
		return "connection refused: nothing listens at " + e.addr
	case client.NoAnswer:
		return "no connection in time: a firewall drops packets, the host is down, or the listener's queue is full"
	case client.Lost:
		return "connection reset while it was made: a firewall, or a gateway that is about to end"
	}
	return "no connection to " + e.addr
}

// The causes of a close before the greeting.
const (
	needsProxyFrom = "the gateway closed after the PROXY header: it must list this machine in PROXY_FROM"
	closedAtOnce   = "closed before the greeting: rule connect, open or blocked of the source (postern decisions, postern explain ADDRESS)"
	wantsHeader    = closedAtOnce + ", or the gateway expects a PROXY header from this machine (-proxy)"
)

// explainClose explains a close before the greeting.
func (e *explainer) explainClose() string {
	switch {
	case e.served.Load():
		return closedAtOnce
	case e.proxyHeader:
		return needsProxyFrom
	}
	return wantsHeader
}

// explainTLS explains a handshake that failed.
func (e *explainer) explainTLS(f *client.Failure) string {
	if client.Reason(f) == client.NoAnswer {
		return "TLS failed: no answer in time, too many handshakes wait" + e.orHeader()
	}
	switch client.CauseOfTLS(f) {
	case client.TLSRefused:
		return "TLS failed: refused by rule handshakes (too many wait), or by rule connect, open or blocked of the source: postern explain ADDRESS tells"
	case client.TLSClosed:
		return e.explainClose()
	case client.TLSCertificate:
		return "TLS failed: the certificate is not trusted or is for another name, add -ca FILE or -insecure"
	case client.TLSNone:
		return "TLS failed: the port does not begin with TLS, use -imap or -pop3 for STARTTLS"
	case client.TLSVersion:
		return "TLS failed: the gateway offers no version or cipher suite that the bench has (TLS 1.2 and 1.3)"
	}
	if e.proxyHeader && !e.served.Load() {
		return needsProxyFrom
	}
	return "TLS failed"
}

// orHeader adds what else may be the cause while no login was accepted.
func (e *explainer) orHeader() string {
	if e.proxyHeader || e.served.Load() {
		return ""
	}
	return ", or the gateway waits for a PROXY header from this machine (-proxy)"
}

// explainGreeting explains a session without a greeting.
func (e *explainer) explainGreeting(f *client.Failure) string {
	switch client.Reason(f) {
	case client.Refused:
		if idIn(f.Line) == "" {
			return "refused by the greeting: the gateway is about to end, or it is not postern"
		}
		return "refused by the greeting: rule connect, open, blocked or max_connections, postern explain ID tells"
	case client.Lost:
		return e.explainClose()
	case client.NoAnswer:
		return "no greeting in time" + e.orHeader()
	}
	return "no greeting of a mail server: is this the right port?"
}

// explainLater explains a session that ended after the greeting.
func (e *explainer) explainLater(f *client.Failure) string {
	switch reason := client.Reason(f); {
	case e.proxyHeader && !e.served.Load() && reason != client.NoAnswer: // it took the header for commands
		return needsProxyFrom
	case strings.Contains(f.Line, "Too many failed logins"):
		return "closed after too many wrong passwords on one connection (TRIES)"
	case strings.Contains(f.Line, "shutting down"):
		return "closed: the gateway shuts down"
	case f.Line != "":
		return fmt.Sprintf("closed at %s with a reason", f.Step)
	case reason == client.NoAnswer:
		return fmt.Sprintf("no answer to %s in time: it waits in the tarpit, in the queue for the mail server, or at the mail server", f.Step)
	case reason == client.Lost:
		return fmt.Sprintf("closed at %s without a reason: evicted for another connection, blocked, or ended by the mail server, postern explain ADDRESS tells", f.Step)
	}
	return fmt.Sprintf("%s at %s", client.Reason(f), f.Step)
}
