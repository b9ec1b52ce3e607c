package authpolicy

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/proxy"
)

// bodyMax bounds the JSON of a request, in octets.
const bodyMax = 64 << 10

// Bounds on fields, in octets. Longer ones are cut: they are keys and lines of the log.
const (
	loginMax   = 1024
	fieldMax   = 128
	sessionMax = 64
)

// request is what Dovecot sends, as far as it matters. Which attributes there are is set by
// auth_policy_request_attributes; those up to Session are there by default. Others are
// ignored.
type request struct {
	Login    string `json:"login"`
	Remote   string `json:"remote"` // address of the client
	Protocol string `json:"protocol"`
	Hash     string `json:"pwhash"`     // digest of name and password, of 12 bits by default
	Session  string `json:"session_id"` // empty for submission
	Mech     string `json:"mech"`       // SASL mechanism
	FailType string `json:"fail_type"`  // why a login failed

	// Of reports.
	Success bool `json:"success"`
	Refused bool `json:"policy_reject"` // because of an earlier answer of this server

	addr netip.Addr // Remote, zero if there is none
}

// commandOf is the command of a request: in the query, as Dovecot has it, or in the path.
func commandOf(r *http.Request) string {
	if command := r.URL.Query().Get("command"); command != "" {
		return command
	}
	return strings.Trim(r.URL.Path, "/")
}

// read reads a request with a command that needs a body.
func read(w http.ResponseWriter, r *http.Request, command string) (q request, err error) {
	switch {
	case command != commandAllow && command != commandReport:
		return q, errors.New("want the command allow or report")
	case r.Method != http.MethodPost:
		return q, errors.New("want the method POST")
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax)).Decode(&q); err != nil {
		return q, fmt.Errorf("want JSON: %w", err)
	}
	return q, q.normalize()
}

// normalize cuts what is too long, and reads the address. An address may be missing but not
// wrong.
func (q *request) normalize() error {
	q.Login = cut(q.Login, loginMax)
	q.Hash, q.Mech, q.FailType = cut(q.Hash, fieldMax), strings.ToUpper(cut(q.Mech, fieldMax)), cut(q.FailType, fieldMax)
	q.Protocol, q.Session = strings.ToLower(cut(q.Protocol, fieldMax)), cut(q.Session, sessionMax)
	if q.Remote == "" {
		return nil
	}
	addr, err := netip.ParseAddr(q.Remote)
	if err != nil {
		return errors.New("want an IP address as remote")
	}
	q.addr = addr.Unmap().WithZone("")
	return nil
}

// cut returns the first octets of s.
func cut(s string, most int) string {
	if len(s) > most {
		return strings.Clone(s[:most])
	}
	return s
}

// services translates the names that programs give Dovecot for their service. All other names
// become "other", because metrics and the page need a fixed set.
var services = map[string]string{
	"imap": "imap", "pop3": "pop3", "sieve": "sieve", "managesieve": "sieve",
	"smtp": "submission", "submission": "submission", "http": "http", "dav": "http",
}

// service is the service to which a client logs in.
func (q *request) service() string {
	if s := services[q.Protocol]; s != "" {
		return s
	}
	return "other"
}

// counts reports whether the login of a request is to be counted here.
func (s *Server) counts(q request) bool {
	switch {
	case slices.Contains(s.gateway.Served, q.service()):
		return false // it was counted when its session asked
	case !q.addr.IsValid():
		if s.warn.address.Allow() {
			s.gateway.Log.Warn("a login that Dovecot asks about has no client address, so it is not limited",
				slog.String("event", "policy"), slog.String("protocol", eventlog.Printable(q.Protocol, eventlog.NameMax)))
		}
		return false
	}
	return true
}

// attempt is the login that a request is about.
func (q *request) attempt() proxy.Attempt {
	method := q.Mech
	if method == "" {
		method = q.service()
	}
	return proxy.Attempt{
		Session: eventlog.Printable(q.Session, sessionMax), Listener: Listener, Protocol: q.service(), Client: netip.AddrPortFrom(q.addr, 0),
		Account: q.Login, Method: method,
	}
}

// hides reports whether the mechanism hides the password from Dovecot. Then the digest is the
// same for all passwords.
func (q *request) hides() bool {
	return strings.HasPrefix(q.Mech, "SCRAM-") || slices.Contains([]string{"CRAM-MD5", "DIGEST-MD5", "NTLM", "APOP", "EXTERNAL", "GSSAPI", "GSS-SPNEGO", "ANONYMOUS"}, q.Mech)
}

// digest stands for the secret, zero if none was shown.
func (q *request) digest(l *limiter.Limiter) limiter.Credential {
	if q.Hash == "" || q.hides() {
		return limiter.Credential{}
	}
	return l.DigestCredential(q.Login, []byte(q.Hash))
}

// errFailed is why a login is void that Dovecot could not check.
var errFailed = errors.New("the password could not be checked by Dovecot")

// outcome is the outcome in a report. By default reports do not say why a login failed; then
// the password counts as wrong.
func (q *request) outcome() (limiter.Outcome, error) {
	switch {
	case q.Success:
		return limiter.Accepted, nil
	case q.FailType == "internal":
		return limiter.Void, errFailed
	}
	return limiter.Denied, nil
}
