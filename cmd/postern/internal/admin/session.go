package admin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A session is the cookie of a browser whose user has shown a token. The server keeps
// nothing about it: the cookie has the role, the time when it expires, a random number,
// and an HMAC of these. The key of that is derived from the token of the role. So
// a session survives restarts and hand-overs, and ends when the token changes.

// cookieName is the name of the cookie of a session.
const cookieName = "postern_session"

// csrfHeader is the header field for the CSRF token of a session, an HMAC of its
// cookie. A page of another origin can send the cookie but cannot know that.
const csrfHeader = "X-CSRF-Token"

// sessionTime is how long a session lasts.
const sessionTime = 12 * time.Hour

// Login asks for a session.
type Login struct {
	Token string `json:"token"`
}

// Session is what a browser may do.
type Session struct {
	Role   string `json:"role"`   // operator, reader or none
	CSRF   string `json:"csrf"`   // for the header X-CSRF-Token of requests that change anything; empty if none is needed
	Socket bool   `json:"socket"` // the Unix socket, which needs no login
}

// login starts a session.
func (s *Server) login(w http.ResponseWriter, q *query, l Login) (Session, error) {
	q.describe("login", "")
	switch {
	case s.socket:
		return Session{}, newProblem(http.StatusForbidden, "the Unix socket needs no login")
	case !s.hasTokens():
		return Session{}, s.deny(sender{}, roleOperator)
	case !s.logins.allow(q.time, q.remote()):
		return Session{}, retryAfter(http.StatusTooManyRequests, loginEvery, "too many logins: try again in a second")
	}
	role := s.roleOf(l.Token)
	if role == roleNone {
		return Session{}, newProblem(http.StatusForbidden, "wrong token")
	}
	from := sender{role: role, expires: q.time.Add(sessionTime)}
	from.cookie = s.newCookie(from)
	q.note(slog.String("session", role.String()))
	http.SetCookie(w, cookie(from.cookie, int(sessionTime/time.Second)))
	return s.sessionOf(from), nil
}

// logout deletes the cookie of the browser.
func (s *Server) logout(w http.ResponseWriter, q *query, _ nothing) (Session, error) {
	q.describe("logout", "")
	http.SetCookie(w, cookie("", -1))
	return Session{Role: roleNone.String(), Socket: s.socket}, nil
}

// session returns what the sender may do.
func (s *Server) session(q *query) (Session, error) { return s.sessionOf(q.sender), nil }

// sessionOf returns what a sender may do.
func (s *Server) sessionOf(from sender) Session {
	session := Session{Role: from.role.String(), Socket: s.socket}
	if from.cookie != "" {
		session.CSRF = s.csrfToken(from)
	}
	return session
}

// cookie returns the cookie with this value. maxAge is in seconds; below zero it
// deletes the cookie.
func cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// newCookie returns the value of the cookie for a new session of from.
func (s *Server) newCookie(from sender) string {
	text := from.role.String() + "." + strconv.FormatInt(from.expires.Unix(), 10) + "." + rand.Text()
	return text + "." + s.mac(from.role, "cookie", text)
}

// readCookie returns the sender who has the session of r, with roleNone if no cookie of
// that name is genuine and has not expired. Programs on other ports of this host can set others.
func (s *Server) readCookie(r *http.Request, now time.Time) sender {
	for _, c := range r.CookiesNamed(cookieName) {
		if from := s.parseCookie(c.Value); from.role != roleNone && now.Before(from.expires) {
			return from
		}
	}
	return sender{}
}

// parseCookie returns the sender in a cookie, with roleNone if it is not genuine.
func (s *Server) parseCookie(value string) sender {
	dot := max(0, strings.LastIndexByte(value, '.'))
	text, mac := value[:dot], strings.TrimPrefix(value[dot:], ".")
	for role := roleReader; role <= roleOperator; role++ {
		expires, ours := strings.CutPrefix(text, role.String()+".")
		if !ours || s.tokens[role] == "" || !hmac.Equal([]byte(mac), []byte(s.mac(role, "cookie", text))) {
			continue
		}
		expires, _, _ = strings.Cut(expires, ".")
		seconds, err := strconv.ParseInt(expires, 10, 64)
		if err == nil {
			return sender{role: role, cookie: value, expires: time.Unix(seconds, 0)}
		}
	}
	return sender{}
}

// csrfToken returns the CSRF token of a session.
func (s *Server) csrfToken(from sender) string { return s.mac(from.role, "csrf", from.cookie) }

// isCSRFToken reports whether shown is the CSRF token of the session.
func (s *Server) isCSRFToken(from sender, shown string) bool {
	return hmac.Equal([]byte(shown), []byte(s.csrfToken(from)))
}

// mac returns the HMAC of text for one purpose, with a key derived from the token of
// the role.
func (s *Server) mac(role role, purpose, text string) string {
	key := sum([]byte(s.tokens[role]), "postern session "+role.String()+" "+purpose)
	return base64.RawURLEncoding.EncodeToString(sum(key, text))
}

// sum returns the HMAC-SHA-256 of text.
func sum(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
