package proxy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postern/limiter"
)

// This file lets other programs ask about logins that do not come through this server: a
// submission server, for example. The same limits apply to these logins. They wait in the
// same queue for tokens of the global bucket, and are reported like the attempts of sessions.

// externalWait is how long such a login may wait here for a token of the global bucket or
// until fewer attempts of its source are under way. The program that asks waits for the
// answer, and not for long: Dovecot goes on without one after 2 s.
const externalWait = time.Second

// externalStrangers is how many strangers may wait here at once. More would use up the
// connections on which other logins are asked about.
const externalStrangers = 32

// external is what a Server has of external logins.
type external struct {
	strangers atomic.Int32 // that wait for a token of the global bucket
}

// ExternalLogin is a login at another program, from the question whether it may go on until
// its outcome is known. Settle must be called once, unless the login is refused. Its methods
// must not be called at the same time.
type ExternalLogin struct {
	server  *Server
	ticket  limiter.Ticket
	report  Attempt
	started time.Time
	delay   time.Duration
	settled bool

	leaveTarpit func() // does nothing without a place there
}

// errExternalGone is why an external login is void whose outcome nobody has reported.
var errExternalGone = errors.New("no outcome was reported: the client has probably left")

// Ask asks the limiter about a login at another program, and waits up to a second if the
// verdict says so. Of a, the fields up to Method count. digest stands for the secret, and is
// zero where that was not shown at all. The end of ctx ends the wait.
func (s *Server) Ask(ctx context.Context, a Attempt, digest limiter.Credential) *ExternalLogin {
	e := s.newExternalLogin(a, digest)
	e.report.Observed = s.observing.Load()
	ctx, cancel := context.WithTimeout(ctx, externalWait)
	defer cancel()
	e.follow(ctx)
	switch v := e.report.Verdict; {
	case e.report.Observed:
	case v.Action == limiter.Repeat:
		e.Settle(limiter.Denied, nil)
	case v.Action == limiter.Refuse:
		e.Settle(limiter.Void, refused(v))
	}
	return e
}

// Report records the outcome of a login at another program about which nobody has asked
// before, or another process was asked.
func (s *Server) Report(a Attempt, digest limiter.Credential, o limiter.Outcome) {
	e := s.newExternalLogin(a, digest)
	e.report.Observed = true // nothing was enforced
	e.Settle(o, nil)
}

// newExternalLogin asks the limiter about a. The login must be settled.
func (s *Server) newExternalLogin(a Attempt, digest limiter.Credential) *ExternalLogin {
	s.init()
	e := &ExternalLogin{server: s, report: a, started: time.Now(), leaveTarpit: func() {}}
	e.ticket = s.Limiter.Ask(e.started, limiter.Attempt{Addr: a.Client.Addr(), Account: a.Account, Digest: digest, Token: a.ByToken()})
	e.report.Verdict = e.ticket.Verdict()
	return e
}

// Refused reports whether the login must not go on.
func (e *ExternalLogin) Refused() bool { return e.settled }

// Delay is how long the login must wait, from the return of Ask on, before its password is
// checked.
func (e *ExternalLogin) Delay() time.Duration { return e.delay }

// Settle records the outcome, and why nobody has checked the password if that is so. It does
// nothing if the login was refused.
func (e *ExternalLogin) Settle(o limiter.Outcome, err error) {
	if e.settled {
		return
	}
	e.settled = true
	e.leaveTarpit()
	now := time.Now()
	e.report.Outcome, e.report.Err, e.report.Traits = o, err, e.ticket.Traits()
	e.report.Waited, e.report.Took = e.delay, now.Sub(e.started)
	e.ticket.Settle(now, o)
	if e.server.Settled != nil {
		e.server.Settled(e.report)
	}
}

// Abandon settles a login whose outcome nobody has reported.
func (e *ExternalLogin) Abandon() {
	e.report.Gone = true
	e.Settle(limiter.Void, errExternalGone)
}

// follow waits and decides as the verdict of the limiter says. In observe mode it only
// learns what would have happened.
func (e *ExternalLogin) follow(ctx context.Context) {
	e.askAgain(ctx)
	v := e.report.Verdict
	if v.Action >= limiter.Repeat && !e.report.Observed {
		return
	}
	if e.delay = v.Wait; e.report.Observed {
		e.delay = 0
	}
	e.enterQueue(ctx)
	if e.delay > 0 && e.report.Verdict.Action < limiter.Repeat {
		e.enterTarpit()
	}
}

// askAgain waits as long as the limiter says so, because too many attempts of the same source
// are under way.
func (e *ExternalLogin) askAgain(ctx context.Context) {
	for e.report.Verdict.Again && !e.report.Observed {
		select {
		case <-time.After(max(e.report.Verdict.Wait, minAgain)):
			e.report.Verdict = e.ticket.Again(time.Now())
		case <-ctx.Done():
			e.refuseBy(e.report.Verdict.Rule)
		}
	}
}

// enterQueue waits for a token of the global bucket. A known login that gets none in time goes
// on after its expected wait: it keeps its place in the queue, so it still spends a token.
func (e *ExternalLogin) enterQueue(ctx context.Context) {
	queued := &queuedAttempt{waiter: &waiter{signal: make(chan struct{})}}
	v := e.ticket.Enter(time.Now(), queued)
	if e.report.Observed {
		e.report.Verdict = e.ticket.Verdict()
	}
	if v.Action == limiter.Wait {
		e.server.dispatcher.dispatch()
	}
	switch {
	case e.report.Observed:
	case v.Action == limiter.Refuse:
		e.refuseBy(v.Rule)
	case v.Action == limiter.Wait:
		e.waitForToken(ctx, queued, v)
	}
}

// waitForToken waits for the limiter's verdict about the token. v is the verdict to wait.
func (e *ExternalLogin) waitForToken(ctx context.Context, queued *queuedAttempt, v limiter.Verdict) {
	known := e.ticket.Priority().Known()
	if !known {
		strangers := &e.server.external.strangers
		defer strangers.Add(-1)
		if strangers.Add(1) > externalStrangers {
			e.refuseBy(v.Rule)
			return
		}
	}
	asked := time.Now()
	select {
	case <-queued.waiter.signal:
		if queued.verdict.Action == limiter.Refuse {
			e.refuseBy(queued.verdict.Rule)
		}
	case <-ctx.Done():
		if !known {
			e.refuseBy(v.Rule)
			return
		}
		v.Wait = max(v.Wait-time.Since(asked), 0)
		if v.Wait > e.delay {
			e.delay, e.report.Verdict = v.Wait, v
		}
	}
}

// enterTarpit takes a place in the tarpit for as long as the delay, or refuses the login.
func (e *ExternalLogin) enterTarpit() {
	addr, known := e.report.Client.Addr(), e.report.Verdict.Known
	p := &e.server.tarpit
	if !p.enter(addr, known, e.server.Limiter.Growth(time.Now(), addr)) {
		e.refuseBy(limiter.RuleTarpit)
		return
	}
	leave := sync.OnceFunc(func() { p.leave(addr, known) })
	timer := time.AfterFunc(e.delay, leave)
	e.leaveTarpit = func() {
		timer.Stop()
		leave()
	}
}

// refuseBy makes the verdict a refusal by a rule.
func (e *ExternalLogin) refuseBy(rule limiter.Rule) {
	v := &e.report.Verdict
	v.Action, v.Rule, v.Wait, v.Again = limiter.Refuse, rule, 0, false
	e.delay = 0
}
