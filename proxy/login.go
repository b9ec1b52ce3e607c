package proxy

import (
	"errors"
	"fmt"
	"io"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// login holds the dialogue until an attempt is accepted; s.backend is then where.
// There are two loops: hear again in TLS, and hear again after a denial.
func (s *session) login() error {
	for tries := 1; ; {
		s.record.Room = RoomDialogue
		s.setDeadline(s.deadline)
		offer := s.offer()
		var peeked limiter.Verdict
		offer.Admits = func(account string) bool {
			peeked = s.server.Limiter.Peek(time.Now(), s.record.Client.Addr(), account)
			return peeked.Action != limiter.Refuse || s.server.observing.Load()
		}
		var r dialogue.Request
		err := apart(func() (err error) {
			r, err = s.door.Protocol.Hear(s.client, offer)
			return err
		})
		switch {
		case err != nil:
			return heard(err)
		case r.Kind == dialogue.Leave:
			return io.EOF
		case r.Kind == dialogue.Named:
			return s.turnAway(r, peeked)
		case r.Kind == dialogue.StartTLS:
			if err := s.upgrade(r); err != nil {
				return err
			}
			continue
		}
		if err := s.attempt(r); err != nil || s.backend != nil {
			return err
		}
		if tries++; tries > s.server.Tries {
			s.answer(dialogue.Request{}, dialogue.AnswerTries)
			return ending{EndTries, errors.New("too many denied attempts")}
		}
	}
}

// heard sorts the error that ended a dialogue.
func heard(err error) error {
	if errors.Is(err, dialogue.ErrHostile) || errors.Is(err, dialogue.ErrTooLong) || errors.Is(err, dialogue.ErrStrikes) {
		return ending{EndProtocol, err}
	}
	return err
}

// turnAway ends a connection whose client has named an account that it cannot
// come into now. No password was tried and nothing is charged.
func (s *session) turnAway(r dialogue.Request, v limiter.Verdict) error {
	s.record.Room = RoomVerdict
	err := refused(v)
	a := s.newAttempt(r)
	a.Verdict, a.Err = v, err
	s.settled(a)
	return s.tell(r, &a, dialogue.Reply{}, err)
}

// newAttempt begins the story of an attempt.
func (s *session) newAttempt(r dialogue.Request) Attempt {
	a := Attempt{
		Session: s.record.ID, Door: s.record.Door, Protocol: s.record.Protocol, Client: s.record.Client,
		Account: r.Account, Method: r.Method,
	}
	if len(s.record.Attempts) == 0 {
		a.Greeting = s.record.Greeting
	}
	return a
}

// attempt takes one request through the limiter and on to a backend. The limiter
// is asked once and told once, whatever happens in between; where the account is
// named only in the exchange, it is asked anew then, and the first time leaves no
// trace. An error is returned if the connection ends with the attempt. Without one,
// s.backend is where it was accepted, or the client may try again.
func (s *session) attempt(r dialogue.Request) error {
	defer r.Response.Wipe()
	begun := time.Now()
	ticket := s.server.Limiter.Ask(begun, s.subject(r))
	settle := ticket.Settle
	defer func() { settle(begun, limiter.Void) }() // in case of a panic; it is settled below
	a := s.newAttempt(r)
	a.Verdict, a.Observed = ticket.Verdict(), s.server.observing.Load()
	r.Admits = func(account string) bool {
		now := time.Now()
		ticket.Settle(now, limiter.Void)
		named := s.server.Limiter.Ask(now, limiter.Attempt{Addr: s.record.Client.Addr(), Account: account})
		settle = named.Settle
		return a.named(named.Verdict())
	}
	reply, err := s.try(r, &a, &ticket)
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
	settle(now, a.Outcome)
	a.Took = now.Sub(begun)
	s.settled(a)
	if a.Outcome != limiter.Accepted && s.backend != nil {
		s.backend.leave()
		s.backend = nil
	}
	if err := s.tell(r, &a, reply, err); err != nil {
		return err
	}
	if reply.Result == dialogue.Unavailable {
		return ending{EndBackend, a.Err}
	}
	return nil
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
	s.record.Attempts = append(s.record.Attempts, a)
	if a.Outcome == limiter.Accepted {
		s.record.Account, s.record.Backend = a.Account, a.Backend
		s.record.Login = time.Since(s.record.Start)
	}
	if s.server.Settled != nil {
		s.server.Settled(a)
	}
}

// try waits for its turn and asks a backend: verdict, tarpit, dial, PROXY header
// out, replay. A reply without error settles the attempt.
func (s *session) try(r dialogue.Request, a *Attempt, ticket *limiter.Ticket) (dialogue.Reply, error) {
	s.record.Room = RoomVerdict
	w := &stay{session: s, attempt: a, ticket: ticket}
	defer w.end()
	if !a.Observed {
		if a.Verdict.Action == limiter.Refuse {
			return dialogue.Reply{}, refused(a.Verdict)
		}
		if err := w.sitOut(); err != nil {
			return dialogue.Reply{}, err
		}
	}
	if r.Unfit || a.Verdict.Action == limiter.Repeat && !a.Observed {
		return dialogue.Reply{Result: dialogue.Denied}, nil
	}
	if err := w.dial(); err != nil {
		return dialogue.Reply{}, err
	}
	w.end()
	return s.replay(r, a)
}

// refused is the end of a connection that a verdict ends.
func refused(v limiter.Verdict) error {
	return ending{EndRefused, fmt.Errorf("refused by rule %s", v.Rule)}
}

// tell lets the client know what became of its request, and returns an error if
// the connection ends with that.
func (s *session) tell(r dialogue.Request, a *Attempt, reply dialogue.Reply, err error) error {
	var e ending
	switch {
	case errors.As(err, &e):
		s.answer(r, turnedAway(a.Verdict.Rule))
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
func turnedAway(rule limiter.Rule) dialogue.Answer {
	if rule == limiter.RulePair || rule == limiter.RuleAccount {
		return dialogue.AnswerDelay
	}
	return dialogue.AnswerBusy
}
