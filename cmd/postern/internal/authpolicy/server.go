// Package authpolicy answers Dovecot's auth policy protocol, which is the HTTP and JSON of
// weakforced: Dovecot asks before it checks a password (allow) and reports the outcome
// afterwards (report). So the same limits apply to logins that do not come through postern,
// such as those at a submission server whose passwords Dovecot checks, and their outcomes
// add to what the limiter knows.
//
//	POST /?command=allow   {"login", "remote", "protocol", "pwhash", …} → {"status": 0, "msg": ""}
//	POST /?command=report  likewise, with "success" and "policy_reject" → {"status": "ok"}
//
// The status of allow is 0 to go on at once, the number of seconds to wait before the
// password is checked, or -1 to refuse. Dovecot denies a refused login like one with a wrong
// password: the protocol has no other answer. So what can be delayed is delayed.
//
// A login is pending from allow until its report (pending.go). Dovecot asks again after it
// has accepted a password, if auth_policy_check_after_auth is on; that question belongs to the
// login that is pending. A client can have two logins with the same password counted as one
// in this way.
//
// Services that postern itself serves are not counted here, because their logins have been
// counted already, and neither are requests without the client's address. They are allowed.
//
// What is asked and what a report may contain is in request.go. Verdicts come from package
// limiter through proxy.Server, which also reports each login like one of a session. The HTTP
// server, its address and its limit of connections belong to package admin.
package authpolicy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/proxy"
)

// Listener is the name of these logins where the attempts of sessions have that of a listener.
const Listener = "policy"

// Gateway is what the server works with.
type Gateway struct {
	Server  *proxy.Server
	Limiter *limiter.Limiter
	Log     *eventlog.Log
	Count   func(command, result string) // counts a request

	// Served are the services that postern serves itself, as Dovecot names them.
	Served []string
	// Token must come with each request; empty for none.
	Token string
}

// Server answers requests. Close it in the end.
type Server struct {
	gateway Gateway
	pending pending

	warn struct { // about wrong settings of Dovecot
		token, address, reports *rate.Limiter
	}
	unreported struct {
		sync.Mutex
		number int // logins in a row without a report
	}
}

// New returns a Server.
func New(g Gateway) *Server {
	s := &Server{gateway: g}
	s.pending.init(s.expired)
	for _, l := range []**rate.Limiter{&s.warn.token, &s.warn.address, &s.warn.reports} {
		*l = rate.NewLimiter(rate.Every(time.Minute), 1)
	}
	return s
}

// Close settles the logins that are pending: their reports will come to another process, or
// not at all.
func (s *Server) Close() { s.pending.close() }

// Pending is how many logins are pending.
func (s *Server) Pending() int { return s.pending.len() }

// The values of the labels of the metric of requests.
const (
	commandAllow  = "allow"
	commandReport = "report"
	commandOther  = "other"

	resultPass         = "pass"
	resultDelay        = "delay"
	resultRefuse       = "refuse"
	resultRecorded     = "recorded"     // the report of a login about which Dovecot has asked
	resultUnasked      = "unasked"      // the report of any other login
	resultIgnored      = "ignored"      // counted elsewhere, without an address, or the report of a refusal
	resultInvalid      = "invalid"      // not of the protocol
	resultUnauthorized = "unauthorized" // without the token
)

// Commands returns the values of the label command.
func Commands() []string { return []string{commandAllow, commandReport, commandOther} }

// Results returns the values of the label result.
func Results() []string {
	return []string{
		resultPass, resultDelay, resultRefuse, resultRecorded, resultUnasked, resultIgnored, resultInvalid, resultUnauthorized,
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	command := commandOf(r)
	label := command
	if label != commandAllow && label != commandReport {
		label = commandOther
	}
	if !s.authorized(r) {
		s.gateway.Count(label, resultUnauthorized)
		if s.warn.token.Allow() {
			s.gateway.Log.Warn("refused a request to POLICY_LISTEN without the right token", slog.String("event", "policy"), slog.String("remote", r.RemoteAddr))
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		reply(w, http.StatusUnauthorized, failure("the token is missing or wrong"))
		return
	}
	if command == "ping" {
		reply(w, http.StatusOK, success)
		return
	}
	q, err := read(w, r, command)
	if err != nil {
		s.gateway.Count(label, resultInvalid)
		reply(w, http.StatusBadRequest, failure(err.Error()))
		return
	}
	result, body := s.answer(r, command, q)
	s.gateway.Count(label, result)
	reply(w, http.StatusOK, body)
}

// answer answers a valid request.
func (s *Server) answer(r *http.Request, command string, q request) (result string, body any) {
	counted := s.counts(q)
	switch {
	case command == commandAllow && counted:
		return s.allow(r, q)
	case command == commandAllow:
		return resultIgnored, decision{}
	case counted:
		return s.report(q), success
	}
	return resultIgnored, success
}

// The answers.
type (
	status struct {
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}
	decision struct {
		Status  int    `json:"status"`
		Message string `json:"msg"`
	}
)

// success is the answer to a report.
var success = status{Status: "ok"}

// failure is the answer to a request that cannot be answered.
func failure(reason string) status { return status{"failure", reason} }

func reply(w http.ResponseWriter, code int, body any) {
	text, _ := json.Marshal(body) // it has only texts and numbers
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(text) // fails if the client is gone
}

// authorized reports whether a request has the token, in one of the ways in which users of
// weakforced and Dovecot send it.
func (s *Server) authorized(r *http.Request) bool {
	if s.gateway.Token == "" {
		return true
	}
	_, password, _ := r.BasicAuth()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	want := sha256.Sum256([]byte(s.gateway.Token))
	right := 0
	for _, given := range []string{password, bearer, r.Header.Get("X-Api-Key")} {
		sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
		right |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return right == 1
}
