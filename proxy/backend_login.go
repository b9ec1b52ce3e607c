package proxy

import (
	"errors"
	"fmt"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// This file takes an attempt that the limiter has passed to a backend: it waits for a
// login slot, dials, and replays the login. backends.go has the pool of backends.

// answerMax bounds all the time that a client waits before a backend has its password.
// Some mail programs give up after 20 s (mbsync).
const answerMax = 15 * time.Second

// backendSearch is an attempt's search for a backend.
type backendSearch struct {
	until   time.Time  // when a backend must have greeted
	tried   []*backend // that could not be reached
	failure error      // of the last of them
}

// waitSlot takes a login slot at a backend that is up and has not been tried, or waits
// for one in the tarpit.
func (a *loginAttempt) waitSlot() (step, error) {
	if a.search == nil {
		a.search = &backendSearch{until: time.Now().Add(answerMax - a.report.Waited)}
	}
	pool := a.backends()
	request := &slotRequest{priority: a.ticket.Priority(), tried: a.search.tried, waiter: newWaiter(a.session)}
	if a.request.WaitsForClient() && !a.report.Verdict.Near {
		request.exchange = limiter.Network(a.record.Client.Addr())
	}
	server, err := pool.requestSlot(request)
	switch {
	case err != nil:
		return a.noBackend(err)
	case server != nil:
		return a.dial(server, request)
	}
	before := a.report.Waited
	return a.wait(earlier(time.Now().Add(a.waitLeft()), a.search.until), request.waiter, func(err error) (step, error) {
		server := pool.cancelRequest(request)
		if waited := a.report.Waited - before; waited > a.report.Verdict.Wait && err == nil && server != nil {
			v := &a.report.Verdict
			v.Action, v.Rule, v.Wait = limiter.Wait, limiter.RuleBackend, waited
		}
		switch {
		case err != nil:
			pool.release(request)
			return a.noBackend(err)
		case server == nil:
			return a.noBackend(ErrNoSlot)
		}
		return a.dial(server, request)
	})
}

// dial connects to a backend at which the attempt has the slot, and replays the login. If
// the backend cannot be reached, another is tried, each once and with its own slot.
func (a *loginAttempt) dial(server *backend, slot *slotRequest) (step, error) {
	s, pool := a.session, a.backends()
	s.record.Step = StepDial
	conn, err := pool.login(server, slot, clientInfo{s.record.Client, s.record.Local, s.tls}, a.search.until)
	switch {
	case err == nil:
		s.backend, a.report.Backend = conn, server.addr
		a.leaveTarpit()
		return a.conclude(a.replay())
	case !pool.markFailed(server, err, a.search.until):
		return a.noBackend(err)
	}
	a.search.tried, a.search.failure = append(a.search.tried, server), err
	return a.waitSlot()
}

// noBackend concludes an attempt that reached no backend. If all were down before, its error
// has the reason of one of them.
func (a *loginAttempt) noBackend(err error) (step, error) {
	failure := a.search.failure
	if failure == nil && errors.Is(err, errNoBackend) {
		failure = a.backends().probeFailure()
	}
	err = errors.Join(failure, err)
	var e ending
	if !a.report.Gone && !errors.As(err, &e) {
		a.refuseBy(limiter.RuleBackend)
		err = ending{EndBackend, err}
	}
	return a.conclude(dialogue.Reply{}, err)
}

// Limits on the time of a replay, each from the last line sent to that side. Dovecot
// delays the reply to a denied login by up to 17 s, which replayTimeout must outlast.
const (
	replayTimeout = 30 * time.Second
	roundTimeout  = 10 * time.Second
)

// challengeGrace is how long a client that is known from its device, source or network may
// hold back its answer to a backend's challenge and then not answer at all without being
// charged. Meanwhile it takes a login slot from others, so longer is charged like a wrong
// answer. Others are charged for the time, from the first such exchange.
const challengeGrace = 2 * time.Second

// errUnanswered is why no backend settled an attempt whose client left a challenge
// unanswered.
var errUnanswered = errors.New("client did not answer the backend's challenge")

// replay sends the login to the backend, relays the challenges of a SASL exchange if
// there are any, and returns the backend's reply.
func (a *loginAttempt) replay() (dialogue.Reply, error) {
	s := a.session
	s.record.Step = StepReplay
	var asked time.Time // when the client got the challenge that it has not answered yet
	s.client.BeforeWrite = func() {
		asked = time.Now()
		s.setDeadline(earlier(s.deadline, asked.Add(roundTimeout)))
	}
	s.backend.BeforeWrite = func() {
		now := time.Now()
		if !asked.IsZero() {
			a.held += now.Sub(asked)
			asked = time.Time{}
		}
		s.setBackendDeadline(now.Add(replayTimeout))
	}
	reply, err := s.listener.Protocol.Login(s.backend.Conn, s.client, a.request)
	s.client.BeforeWrite = nil
	s.backend.releaseSlot()
	if !asked.IsZero() {
		a.held += time.Since(asked)
	}
	switch {
	case err != nil:
		err = ending{EndBackend, fmt.Errorf("replay login to backend %s: %w", a.report.Backend, err)}
	case reply.Result == dialogue.Refused:
		err = refused(a.report.Verdict)
	case reply.Result == dialogue.Cancelled || reply.Result == dialogue.Unavailable && reply.Raw == nil:
		a.unanswered(&reply)
	}
	return reply, err
}

// admits reports whether the attempt may go on for an account that the exchange with a
// backend has named. It has waited already and does not wait again.
func (a *loginAttempt) admits(account string) bool {
	now := time.Now()
	a.ticket.Settle(now, limiter.Void)
	named := a.server.Limiter.Ask(now, a.subjectNamed(a.request, account))
	a.current = &named
	v := named.Verdict()
	a.report.Verdict.Known, a.report.Verdict.Near = v.Known, v.Near
	if v.Action != limiter.Refuse && !v.Again {
		return true
	}
	a.report.Verdict = limiter.Verdict{Action: limiter.Refuse, Rule: v.Rule, Known: v.Known, Near: v.Near}
	if a.report.Observed {
		return true
	}
	named.Settle(now, limiter.Void)
	unnamed := a.server.Limiter.Ask(now, a.subject(a.request)) // a refused one could not be charged for the slot
	a.current = &unnamed
	return false
}

// unanswered notes that the client has left the exchange unanswered.
func (a *loginAttempt) unanswered(reply *dialogue.Reply) {
	a.report.Abandoned = true
	switch {
	case !a.report.Verdict.Near:
		a.report.Err = errUnanswered
	case a.held > challengeGrace:
		reply.Result, a.report.Err = dialogue.Denied, errUnanswered
	}
}

// backendConn is a connection to a backend that has greeted. Its owner must close it.
type backendConn struct {
	*dialogue.Conn
	raw     netpoll.Conn
	pool    *Backends
	backend *backend
	slot    *slotRequest // nil once the login is no longer in flight
	closed  bool
}

// releaseSlot gives the login slot back, once the login is no longer in flight.
func (c *backendConn) releaseSlot() {
	if c.slot != nil {
		c.pool.release(c.slot)
		c.slot = nil
	}
}

// close closes the connection. Closing again does nothing.
func (c *backendConn) close() {
	if c.closed {
		return
	}
	c.closed = true
	c.releaseSlot()
	c.backend.sessions.Add(-1)
	if c.Conn != nil {
		c.Release()
	}
	c.raw.Close()
}
