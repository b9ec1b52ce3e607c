package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/firewall"
)

// role is what the sender of a request may do.
type role int

// The roles. Each may do what those before it may.
const (
	roleNone     role = iota
	roleReader        // sees everything and changes nothing
	roleOperator      // may do everything
)

// ReaderRole is the Role of a Session with the read-only token.
const ReaderRole = "reader"

// String returns the name of the role in the API.
func (r role) String() string { return [...]string{"none", ReaderRole, "operator"}[r] }

// sender is the sender of a request: what they may do, and how they have shown it.
type sender struct {
	role    role
	cookie  string    // of the session; empty for a token or the socket
	expires time.Time // of the session; zero: never
}

// may reports whether the sender has the role or a greater one.
func (c sender) may(r role) bool { return c.role >= r }

// The settings with the tokens.
const (
	tokenSetting     = config.Prefix + "ADMIN_TOKEN_FILE"
	readTokenSetting = config.Prefix + "ADMIN_READ_TOKEN_FILE"
)

// authorize returns the sender of q, or why they may not have r: requests by web pages
// of other origins are refused, with a token and at a socket too. A request with
// a session that changes anything needs its CSRF token.
func (s *Server) authorize(r route, q *query) (sender, error) {
	if err := s.crossOrigin.Check(q.Request); err != nil {
		return sender{}, newProblem(http.StatusForbidden, "this is not for web pages of other origins")
	}
	from, err := s.identify(q.Request, q.time)
	if err != nil {
		return from, err
	}
	if !from.may(r.needs) {
		return from, s.deny(from, r.needs)
	}
	if from.cookie != "" && r.method != http.MethodGet && r.path != loginPath && !s.isCSRFToken(from, q.Header.Get(csrfHeader)) {
		return from, newProblem(http.StatusForbidden, "this needs the CSRF token of the session in the header "+csrfHeader)
	}
	if addr := q.remote(); from.role == roleOperator && addr.IsValid() && s.gateway.Operator != nil {
		s.gateway.Operator(q.time, addr)
	}
	return from, nil
}

// apiKeyHeader is where the bouncers of CrowdSec send a token.
const apiKeyHeader = "X-Api-Key"

// identify returns the sender of r: by a token, else by the cookie of a session. A
// socket needs none: the mode of its file decides who may use it.
func (s *Server) identify(r *http.Request, now time.Time) (sender, error) {
	if s.socket {
		return sender{role: roleOperator}, nil
	}
	shown, isToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if key := r.Header.Get(apiKeyHeader); !isToken && key != "" && r.URL.Path == firewall.StreamPath {
		shown, isToken = key, true
	}
	if !isToken {
		return s.readCookie(r, now), nil
	}
	role := s.roleOf(shown)
	if role == roleNone && s.hasTokens() {
		return sender{}, s.deny(sender{}, roleReader)
	}
	return sender{role: role}, nil
}

// hasTokens reports whether there is a token, so that users can log in.
func (s *Server) hasTokens() bool { return s.tokens != tokens{} }

// roleOf returns the role of a token. The time it takes does not depend on the token.
func (s *Server) roleOf(shown string) role {
	digest := sha256.Sum256([]byte(shown))
	found := roleNone
	for role := roleReader; role <= roleOperator; role++ {
		want := sha256.Sum256([]byte(s.tokens[role]))
		if subtle.ConstantTimeCompare(digest[:], want[:]) == 1 && s.tokens[role] != "" {
			found = role
		}
	}
	return found
}

// deny returns why a sender may not have what needs a role.
func (s *Server) deny(from sender, needs role) *Problem {
	p := newProblem(http.StatusForbidden, "the token is read-only")
	switch {
	case s.tokens[roleOperator] == "" && (needs == roleOperator || !s.hasTokens()):
		p.Detail = "there is no admin token: set " + config.Prefix + "STATE_DIR, " + tokenSetting + ", or a socket for " + config.Prefix + "ADMIN_LISTEN"
		p.Setting = tokenSetting
	case from.role == roleNone:
		p = newProblem(http.StatusUnauthorized, "this needs the token in "+tokenSetting, "WWW-Authenticate", "Bearer")
		p.Setting = tokenSetting
		if needs == roleReader && s.tokens[roleReader] != "" {
			p.Detail += " or " + readTokenSetting
		}
	}
	return p
}
