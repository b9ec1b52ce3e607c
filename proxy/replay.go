package proxy

import (
	"errors"
	"fmt"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// answerMax bounds all that a client waits for before a backend has its password:
// mbsync gives up at 20 s.
const answerMax = 15 * time.Second

// slot waits for a login slot at a backend that is up and has not been tried, for
// as long as the attempt may wait and a client for its answer.
func (w *loginAttempt) waitSlot() (step, error) {
	if w.backendSearch == nil {
		w.backendSearch = &backendSearch{until: time.Now().Add(answerMax - w.report.Waited)}
	}
	house := w.backends()
	a := &slotRequest{priority: w.ticket.Priority(), tried: w.backendSearch.tried, waiter: newWaiter(w.session)}
	one, err := house.requestSlot(a)
	switch {
	case err != nil:
		return w.noBackend(err)
	case one != nil:
		return w.dial(one)
	}
	begun := w.report.Waited
	return w.wait(earlier(time.Now().Add(w.timeLeft()), w.backendSearch.until), a.waiter, func(err error) (step, error) {
		one := house.cancelRequest(a)
		if waited := w.report.Waited - begun; waited > w.report.Verdict.Wait && err == nil && one != nil {
			w.report.Verdict.Action, w.report.Verdict.Rule, w.report.Verdict.Wait = limiter.Wait, limiter.RuleBackend, waited
		}
		switch {
		case err != nil:
			house.release(one)
			return w.noBackend(err)
		case one == nil:
			return w.noBackend(errNoSlot)
		}
		return w.dial(one)
	})
}

// dial enters a backend of which the attempt has a slot. If it cannot be reached,
// another may. Each is tried once, with a slot of its own.
func (w *loginAttempt) dial(one *backend) (step, error) {
	s, house := w.session, w.backends()
	s.record.Step = StepDial
	up, err := house.login(one, clientInfo{s.record.Client, s.record.Local, s.tls}, w.backendSearch.until)
	switch {
	case err == nil:
		s.backend, w.report.Backend = up, one.addr
		w.leaveTarpit()
		return w.conclude(s.replay(w.request, &w.report))
	case !house.markFailed(one, err, w.backendSearch.until):
		return w.noBackend(err)
	}
	w.backendSearch.tried, w.backendSearch.failure = append(w.backendSearch.tried, one), err
	return w.waitSlot()
}

// unreached concludes an attempt that has come to no backend.
func (w *loginAttempt) noBackend(err error) (step, error) {
	err = errors.Join(w.backendSearch.failure, err)
	var e ending
	if !w.report.Gone && !errors.As(err, &e) {
		w.refusedBy(limiter.RuleBackend)
		err = ending{EndBackend, err}
	}
	return w.conclude(dialogue.Reply{}, err)
}

// Limits on the time of a replay, each from the last word said to that side: a
// guess that comes at the last moment is judged like any other. Dovecot delays
// the reply to a denied login by up to 17 s, which replayTimeout must outlast.
const (
	replayTimeout = 30 * time.Second
	roundTimeout  = 10 * time.Second
)

// challengeGrace is how long a client may keep a backend's challenge and then leave
// it unanswered for nothing. It costs others a login slot, so one who takes longer
// is charged as if he had answered it wrongly.
const challengeGrace = 2 * time.Second

// errUnanswered is why no backend denied an attempt that is charged all the same.
var errUnanswered = errors.New("client kept a challenge and did not answer it")

// replay asks the backend.
func (s *session) replay(r dialogue.Request, a *Attempt) (dialogue.Reply, error) {
	s.record.Step = StepReplay
	var asked time.Time    // when the client was given the challenge it has yet to answer
	var kept time.Duration // how long it took over all of them
	s.client.Saying = func() {
		asked = time.Now()
		s.setDeadline(earlier(s.deadline, asked.Add(roundTimeout)))
	}
	s.backend.Saying = func() {
		now := time.Now()
		if !asked.IsZero() {
			kept += now.Sub(asked)
			asked = time.Time{}
		}
		s.setBackendDeadline(now.Add(replayTimeout))
	}
	reply, err := s.listener.Protocol.Login(s.backend.Conn, s.client, r)
	s.client.Saying = nil
	s.backend.settled()
	if !asked.IsZero() {
		kept += time.Since(asked)
	}
	unanswered := reply.Result == dialogue.Cancelled || reply.Result == dialogue.Unavailable && reply.Raw == nil
	switch {
	case err != nil:
		err = ending{EndBackend, fmt.Errorf("replay login to backend %s: %w", a.Backend, err)}
	case reply.Result == dialogue.Refused:
		err = refused(a.Verdict)
	case unanswered && kept > challengeGrace:
		reply.Result, a.Err = dialogue.Denied, errUnanswered
	}
	return reply, err
}
