package proxy

import (
	"errors"
	"fmt"
	"io"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// hear hears what the client wants: to begin TLS, to leave, or to log in.
func (s *session) hear() (step, error) {
	s.raw.SetNonblock(false)
	s.record.Step = StepDialogue
	s.setDeadline(s.deadline)
	offer := s.offer()
	var peeked limiter.Verdict
	offer.Admits = func(account string) bool {
		peeked = s.server.Limiter.Peek(time.Now(), s.record.Client.Addr(), account)
		return peeked.Action != limiter.Refuse || s.server.observing.Load()
	}
	r, err := s.listener.Protocol.Hear(s.client, offer)
	switch {
	case err != nil:
		return nil, dialogueEnd(err)
	case r.Kind == dialogue.Leave:
		return nil, io.EOF
	case r.Kind == dialogue.Named:
		return nil, s.refuseNamed(r, peeked)
	case r.Kind == dialogue.StartTLS:
		return s.upgrade(r)
	}
	return s.startAttempt(r)
}

// heard sorts the error that ended a dialogue.
func dialogueEnd(err error) error {
	if errors.Is(err, dialogue.ErrHostile) || errors.Is(err, dialogue.ErrTooLong) || errors.Is(err, dialogue.ErrStrikes) {
		return ending{EndProtocol, err}
	}
	return err
}

// turnAway ends a connection whose client has named an account that it cannot
// come into now. No password was tried and nothing is charged.
func (s *session) refuseNamed(r dialogue.Request, v limiter.Verdict) error {
	s.record.Step = StepVerdict
	err := refused(v)
	a := s.newAttempt(r)
	a.Verdict, a.Err = v, err
	s.settled(a)
	return s.answerAttempt(r, &a, dialogue.Reply{}, err)
}

// newAttempt begins the story of an attempt.
func (s *session) newAttempt(r dialogue.Request) Attempt {
	a := Attempt{
		Session: s.record.ID, Listener: s.record.Listener, Protocol: s.record.Protocol, Client: s.record.Client,
		Account: r.Account, Method: r.Method,
	}
	if s.record.Attempts == 0 {
		a.Greeting = s.record.Greeting
	}
	return a
}

// attempt takes a request to the limiter, which is asked once and told once,
// whatever happens in between. Where the account is named only in the exchange, it
// is asked anew then, and the first time leaves no trace.
func (s *session) startAttempt(r dialogue.Request) (step, error) {
	s.record.Step = StepVerdict
	now := time.Now()
	w := &loginAttempt{session: s, request: r, started: now.Sub(epoch), report: s.newAttempt(r)}
	w.ticket = s.server.Limiter.Ask(now, s.subject(r))
	w.settle = w.ticket.Settle
	w.request.Admits = w.admits
	s.attempt = w
	a := &w.report
	a.Verdict, a.Observed = w.ticket.Verdict(), s.server.observing.Load()
	switch {
	case a.Observed:
	case a.Verdict.Action == limiter.Refuse:
		return w.conclude(dialogue.Reply{}, refused(a.Verdict))
	case a.Verdict.Wait > 0:
		return w.wait(now.Add(a.Verdict.Wait), newWaiter(s), w.verdictWaited)
	}
	return w.verdictWaited(nil)
}

// admits says whether an account that the exchange has named may go on.
func (w *loginAttempt) admits(account string) bool {
	now := time.Now()
	w.ticket.Settle(now, limiter.Void)
	named := w.server.Limiter.Ask(now, limiter.Attempt{Addr: w.record.Client.Addr(), Account: account})
	w.settle = named.Settle
	return w.report.named(named.Verdict())
}

// conclude settles the attempt and tells the client. The session goes on to the
// relay, or hears again; with an error, it ends.
func (w *loginAttempt) conclude(reply dialogue.Reply, err error) (step, error) {
	w.leaveTarpit()
	s, a := w.session, &w.report
	if reply.Account != "" {
		a.Account = reply.Account
	}
	a.Outcome = outcome(reply, err)
	switch {
	case err != nil:
		a.Err = err
	case reply.Result == dialogue.Unavailable && reply.Raw != nil:
		a.Err = fmt.Errorf("backend %s gave a temporary refusal: %.100q", a.Backend, reply.Raw)
	}
	now := time.Now()
	w.settle(now, a.Outcome)
	a.Took = now.Sub(epoch) - w.started
	s.attempt = nil
	w.request.Response.Wipe()
	s.settled(*a)
	if a.Outcome != limiter.Accepted && s.backend != nil {
		s.backend.close()
		s.backend = nil
	}
	if err := s.answerAttempt(w.request, a, reply, err); err != nil {
		return nil, err
	}
	switch {
	case reply.Result == dialogue.Unavailable:
		return nil, ending{EndBackend, a.Err}
	case s.backend != nil:
		return s.startRelay, nil
	case s.record.Attempts >= s.server.Tries:
		s.answer(dialogue.Request{}, dialogue.AnswerTries)
		return nil, ending{EndTries, errors.New("too many denied attempts")}
	}
	return s.await(s.hear)
}

// abandon gives back what the attempt has, after a panic.
func (w *loginAttempt) abandon() {
	w.leaveTarpit()
	w.settle(time.Now(), limiter.Void)
	w.request.Response.Wipe()
}

// named notes the verdict on an attempt whose account has just been named, and says
// whether it may go on. It has waited for its turn already and does not wait again.
func (a *Attempt) named(v limiter.Verdict) bool {
	a.Verdict.Known, a.Verdict.Near = v.Known, v.Near
	if v.Action == limiter.Refuse {
		a.Verdict = v
	}
	return v.Action != limiter.Refuse || a.Observed
}

// subject is what the limiter is told of a request.
func (s *session) subject(r dialogue.Request) limiter.Attempt {
	a := limiter.Attempt{Addr: s.record.Client.Addr(), Account: r.Account}
	if password := r.Password(); password != nil {
		a.Credential = s.server.Limiter.Credential(r.Account, password)
	}
	return a
}

// outcome translates a backend's word into the limiter's.
func outcome(reply dialogue.Reply, err error) limiter.Outcome {
	switch {
	case err != nil:
		return limiter.Void
	case reply.Result == dialogue.Accepted:
		return limiter.Accepted
	case reply.Result == dialogue.Denied:
		return limiter.Denied
	}
	return limiter.Void
}

// settled notes the attempt in the record and tells the server's owner.
func (s *session) settled(a Attempt) {
	s.meet(a.Verdict)
	s.record.Attempts++
	if a.Outcome == limiter.Accepted {
		s.record.Account, s.record.Backend = a.Account, a.Backend
		s.record.Login = time.Since(s.record.Start)
	}
	if s.server.Settled != nil {
		s.server.Settled(a)
	}
}

// refused is the end of a connection that a verdict ends.
func refused(v limiter.Verdict) error {
	return ending{EndRefused, fmt.Errorf("refused by rule %s", v.Rule)}
}

// tell lets the client know what became of its request, and returns an error if
// the connection ends with that.
func (s *session) answerAttempt(r dialogue.Request, a *Attempt, reply dialogue.Reply, err error) error {
	var e ending
	switch {
	case errors.As(err, &e):
		s.answer(r, refusalAnswer(a.Verdict.Rule))
		return err
	case err != nil:
		return err
	case reply.Result == dialogue.Denied && a.Backend == "":
		s.answer(r, dialogue.AnswerDenied)
		return nil
	case reply.Raw == nil:
		return ending{EndClient, errors.New("client left in the middle of the exchange")}
	}
	s.raw.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	_, err = s.client.Write(reply.Raw)
	return err
}

// turnedAway is how a client is told that rule keeps it out for now.
func refusalAnswer(rule limiter.Rule) dialogue.Answer {
	if rule == limiter.RulePair || rule == limiter.RuleAccount {
		return dialogue.AnswerDelay
	}
	return dialogue.AnswerBusy
}
