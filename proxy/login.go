package proxy

import (
	"context"
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
		r, err := s.door.Protocol.Hear(s.client, s.offer())
		switch {
		case err != nil:
			return heard(err)
		case r.Kind == dialogue.Leave:
			return io.EOF
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

// attempt takes one request through the limiter and on to a backend. The limiter
// is asked once and told once, whatever happens in between. It returns an error
// if the connection ends with the attempt. Without one, s.backend is where it
// was accepted, or the client may try again.
func (s *session) attempt(r dialogue.Request) error {
	defer r.Response.Wipe()
	begun := time.Now()
	ticket := s.server.Limiter.Ask(begun, limiter.Attempt{Addr: s.record.Client.Addr(), Account: r.Account})
	defer ticket.Settle(begun, limiter.Void) // in case of a panic; it is settled below
	a := Attempt{
		Session: s.record.ID, Door: s.record.Door, Protocol: s.record.Protocol, Client: s.record.Client,
		Account: r.Account, Method: r.Method, Verdict: ticket.Verdict(),
	}
	if len(s.record.Attempts) == 0 {
		a.Greeting = s.record.Greeting
	}
	reply, err := s.try(r, &a)
	if reply.Account != "" {
		a.Account = reply.Account
	}
	a.Outcome, a.Err = outcome(reply, err), err
	if reply.Result == dialogue.Unavailable && reply.Raw != nil {
		a.Err = fmt.Errorf("backend %s gave a temporary refusal: %.100q", a.Backend, reply.Raw)
	}
	now := time.Now()
	ticket.Settle(now, a.Outcome)
	a.Took = now.Sub(begun)
	s.settled(a)
	if a.Outcome != limiter.Accepted && s.backend != nil {
		s.backend.leave()
		s.backend = nil
	}
	if err := s.tell(r, reply, err); err != nil {
		return err
	}
	if reply.Result == dialogue.Unavailable {
		return ending{EndBackend, a.Err}
	}
	return nil
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

// Limits on the time of a replay, each from the last word said to that side: a
// guess that comes at the last moment is judged like any other. Dovecot delays
// the reply to a denied login by up to 17 s, which replayTimeout must outlast.
const (
	replayTimeout = 30 * time.Second
	roundTimeout  = 10 * time.Second
)

// try waits out the verdict and asks a backend: verdict, tarpit, dial, PROXY
// header out, replay. A reply without error settles the attempt.
func (s *session) try(r dialogue.Request, a *Attempt) (dialogue.Reply, error) {
	s.record.Room = RoomVerdict
	if a.Verdict.Action == limiter.Refuse {
		return dialogue.Reply{}, refused(a.Verdict)
	}
	if err := s.wait(a); err != nil {
		return dialogue.Reply{}, err
	}
	if r.Unfit {
		return dialogue.Reply{Result: dialogue.Denied}, nil
	}
	if err := s.dial(a); err != nil {
		return dialogue.Reply{}, err
	}
	s.record.Room = RoomReplay
	s.backend.Saying = func() { s.reached(time.Now().Add(replayTimeout)) }
	s.client.Saying = func() { s.setDeadline(earlier(s.deadline, time.Now().Add(roundTimeout))) }
	reply, err := s.door.Protocol.Login(s.backend.Conn, s.client, r)
	s.client.Saying = nil
	s.backend.settled()
	if err != nil {
		err = ending{EndBackend, fmt.Errorf("replay login to backend %s: %w", a.Backend, err)}
	}
	return reply, err
}

// refused is the end of a connection that a verdict ends.
func refused(v limiter.Verdict) error {
	return ending{EndRefused, fmt.Errorf("refused by rule %s", v.Rule)}
}

// wait is the tarpit: it returns when the verdict's time has passed, before the
// password is tried. The stay in it does not count against the client's time.
func (s *session) wait(a *Attempt) error {
	if a.Verdict.Wait <= 0 {
		return nil
	}
	s.record.Room = RoomTarpit
	leave, ok := s.server.tarpit.enter(s.record.Client.Addr())
	if !ok {
		a.Verdict = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleTarpit}
		return refused(a.Verdict)
	}
	defer leave()
	begun := time.Now()
	until := begun.Add(a.Verdict.Wait)
	s.setDeadline(until)
	err := waitOut(s.client, until, s.stop)
	a.Waited = time.Since(begun)
	s.deadline = s.deadline.Add(a.Waited)
	s.setDeadline(s.deadline)
	if err == nil && s.isStopped() != EndClient {
		err = errStopped
	}
	if err != nil {
		a.Gone = true
		return err
	}
	return nil
}

// errStopped is what the tarpit ends with when the session was told to end.
var errStopped = errors.New("stopped while waiting")

// answerMax bounds all that a client waits for before a backend has its password:
// mbsync gives up at 20 s.
const answerMax = 15 * time.Second

// dial reaches a backend, within what is left of the time an attempt may wait,
// and makes it s.backend.
func (s *session) dial(a *Attempt) (err error) {
	s.record.Room = RoomDial
	ctx, cancel := context.WithTimeout(context.Background(), answerMax-a.Waited)
	defer cancel()
	s.caller.client, s.caller.local = s.record.Client, s.record.Local
	s.backend, err = s.backends().reach(ctx, s.server.TarpitMax-a.Waited, s.caller)
	if err != nil {
		a.Verdict = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}
		return ending{EndBackend, err}
	}
	a.Backend = s.backend.backend.addr
	return nil
}

// tell lets the client know what became of its request, and returns an error if
// the connection ends with that.
func (s *session) tell(r dialogue.Request, reply dialogue.Reply, err error) error {
	var e ending
	switch {
	case errors.As(err, &e):
		s.answer(r, dialogue.AnswerBusy)
		return err
	case err != nil:
		return err
	case reply.Raw == nil && r.Unfit:
		s.answer(r, dialogue.AnswerDenied)
		return nil
	case reply.Raw == nil:
		return ending{EndClient, errors.New("client left in the middle of the exchange")}
	}
	s.raw.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	_, err = s.client.Write(reply.Raw)
	return err
}
