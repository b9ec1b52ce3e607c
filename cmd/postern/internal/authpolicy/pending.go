package authpolicy

import (
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"postern/proxy"
)

// pendingTime is how long a login is pending without a report, beyond its delay.
const pendingTime = time.Minute

// pendingMax is how many logins may be pending. Of others, the report counts alone.
const pendingMax = 20_000

// key finds a pending login by what allow and report have in common.
type key struct {
	session, login, protocol, hash string
	addr                           netip.Addr
}

func (q *request) key() key { return key{q.Session, q.Login, q.Protocol, q.Hash, q.addr} }

// login is a login that is pending.
type login struct {
	*proxy.ExternalLogin
	ready   time.Time // when its delay is over
	checked bool      // Dovecot has asked again after it has accepted the password
	expiry  *time.Timer
}

// pending has the logins that are pending.
type pending struct {
	mu      sync.Mutex
	logins  map[key][]*login // the oldest first
	number  int
	expired func(*login) // is called without mu
	closed  bool
}

func (p *pending) init(expired func(*login)) {
	p.logins, p.expired = map[key][]*login{}, expired
}

// add adds a login, and reports whether there was room for it.
func (p *pending) add(k key, l *login) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.number >= pendingMax {
		return false
	}
	p.logins[k] = append(p.logins[k], l)
	p.number++
	l.expiry = time.AfterFunc(l.Delay()+pendingTime, func() {
		if p.remove(k, l) {
			p.expired(l)
		}
	})
	return true
}

// remove removes a login, and reports whether it was still there.
func (p *pending) remove(k key, l *login) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.logins[k] {
		if other == l {
			p.removeAt(k, i)
			return true
		}
	}
	return false
}

// removeAt removes the login at an index. p.mu must be held.
func (p *pending) removeAt(k key, i int) *login {
	all := p.logins[k]
	l := all[i]
	l.expiry.Stop()
	p.number--
	if len(all) == 1 {
		delete(p.logins, k)
		return l
	}
	p.logins[k] = append(all[:i:i], all[i+1:]...)
	return l
}

// take removes the oldest login with a key and returns it, nil if there is none.
func (p *pending) take(k key) *login {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.logins[k]) == 0 {
		return nil
	}
	return p.removeAt(k, 0)
}

// checkAgain reports whether a question is about a login that is pending: one whose delay is
// over, and about which nobody has asked again yet.
func (p *pending) checkAgain(k key, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.logins[k] {
		if !l.checked && !now.Before(l.ready) {
			l.checked = true
			return true
		}
	}
	return false
}

func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.number
}

// close settles all logins that are pending. None is added any more.
func (p *pending) close() {
	p.mu.Lock()
	all := p.logins
	p.logins, p.number, p.closed = map[key][]*login{}, 0, true
	p.mu.Unlock()
	for _, logins := range all {
		for _, l := range logins {
			l.expiry.Stop()
			l.Abandon()
		}
	}
}

// allow answers whether a password may be checked.
func (s *Server) allow(r *http.Request, q request) (result string, d decision) {
	k := q.key()
	if s.pending.checkAgain(k, time.Now()) {
		return resultPass, decision{}
	}
	l := &login{ExternalLogin: s.gateway.Server.Ask(r.Context(), q.attempt(), q.digest(s.gateway.Limiter))}
	if l.Refused() {
		return resultRefuse, decision{-1, refusalText}
	}
	l.ready = time.Now().Add(l.Delay())
	if !s.pending.add(k, l) {
		l.Abandon()
	}
	if l.Delay() == 0 {
		return resultPass, decision{}
	}
	return resultDelay, decision{Status: int(math.Ceil(l.Delay().Seconds()))}
}

// refusalText is in Dovecot's log. Clients do not get it from most services.
const refusalText = "temporarily refused by postern, please try again later"

// report records what came of a login. That of a refused one ends no other: a login that is
// pending under the same key goes on at Dovecot, and would be a guess that costs nothing.
func (s *Server) report(q request) (result string) {
	s.reported()
	if q.Refused && !q.Success {
		return resultIgnored
	}
	o, err := q.outcome()
	l := s.pending.take(q.key())
	switch {
	case l == nil && err != nil:
		return resultIgnored
	case l == nil:
		s.gateway.Server.Report(q.attempt(), q.digest(s.gateway.Limiter), o)
		return resultUnasked
	}
	l.Settle(o, err)
	return resultRecorded
}

// reported ends a row of logins without a report.
func (s *Server) reported() {
	s.unreported.Lock()
	s.unreported.number = 0
	s.unreported.Unlock()
}

// unreportedMax is how many logins in a row may have no report before there is a warning.
const unreportedMax = 20

// expired settles a login without a report.
func (s *Server) expired(l *login) {
	l.Abandon()
	s.unreported.Lock()
	s.unreported.number++
	none := s.unreported.number >= unreportedMax
	s.unreported.Unlock()
	if none && s.warn.reports.Allow() {
		s.gateway.Log.Warn("Dovecot asks about logins and reports no outcome, so no denial counts; auth_policy_report_after_auth must be yes", slog.String("event", "policy"))
	}
}
