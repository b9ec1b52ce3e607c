package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// login holds the dialogue until an attempt is accepted, and returns the backend
// it was accepted by. There are two loops: hear again in TLS, and hear again
// after a denial.
func (s *session) login() (*upstream, error) {
	for tries := 1; ; {
		s.record.Room = RoomDialogue
		r, err := s.door.Protocol.Hear(s.client, s.offer())
		switch {
		case err != nil:
			return nil, heard(err)
		case r.Kind == dialogue.Leave:
			return nil, ending{EndClient, nil}
		case r.Kind == dialogue.StartTLS:
			if err := s.upgrade(r); err != nil {
				return nil, err
			}
			continue
		}
		up, err := s.attempt(r)
		if up != nil || err != nil {
			return up, err
		}
		if tries++; tries > s.server.Tries {
			s.answer(dialogue.Request{}, dialogue.AnswerTries)
			return nil, ending{EndTries, errors.New("too many denied attempts")}
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
// is asked once and told once, whatever happens in between. It returns the
// backend if the attempt was accepted, an error if the connection ends with it,
// and neither if the client may try again.
func (s *session) attempt(r dialogue.Request) (*upstream, error) {
	defer r.Response.Wipe()
	begun := time.Now()
	ticket := s.server.Limiter.Ask(begun, limiter.Attempt{Addr: s.record.Client.Addr(), Account: r.Account})
	a := Attempt{
		Session: s.record.ID, Door: s.record.Door, Protocol: s.record.Protocol, Client: s.record.Client,
		Account: r.Account, Method: r.Method, Verdict: ticket.Verdict(),
	}
	reply, up, err := s.try(r, &a)
	if reply.Account != "" {
		a.Account = reply.Account
	}
	a.Outcome, a.Err = outcome(reply, err), err
	now := time.Now()
	ticket.Settle(now, a.Outcome)
	a.Took = now.Sub(begun)
	s.settled(a)
	return s.tell(r, reply, up, err)
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

// try waits out the verdict and asks a backend: verdict, tarpit, dial, PROXY
// header out, replay. A reply without error settles the attempt; the upstream,
// if any, is the caller's to leave.
func (s *session) try(r dialogue.Request, a *Attempt) (dialogue.Reply, *upstream, error) {
	s.record.Room = RoomVerdict
	if a.Verdict.Action == limiter.Refuse {
		return dialogue.Reply{}, nil, refused(a.Verdict)
	}
	if err := s.wait(a); err != nil {
		return dialogue.Reply{}, nil, err
	}
	if r.Unfit {
		return dialogue.Reply{Result: dialogue.Denied}, nil, nil
	}
	up, err := s.dial(a)
	if err != nil {
		return dialogue.Reply{}, nil, err
	}
	s.record.Room = RoomReplay
	patience := time.Now().Add(replayTimeout)
	s.setDeadline(earlier(s.deadline, patience))
	s.reached(up.raw, patience)
	reply, err := s.door.Protocol.Login(up.Conn, s.client, r)
	up.settled()
	if err != nil {
		err = ending{EndBackend, fmt.Errorf("replay login to backend %s: %w", up.backend.addr, err)}
	}
	return reply, up, err
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
	err := waitOut(s.client, until)
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

// dial reaches a backend, within what is left of the time an attempt may wait.
func (s *session) dial(a *Attempt) (*upstream, error) {
	s.record.Room = RoomDial
	ctx, cancel := context.WithTimeout(context.Background(), answerMax-a.Waited)
	defer cancel()
	s.caller.client, s.caller.local = s.record.Client, s.record.Local
	up, err := s.backends().reach(ctx, s.server.TarpitMax-a.Waited, s.caller)
	if err == nil {
		a.Backend = up.backend.addr
		return up, nil
	}
	a.Verdict = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}
	return nil, ending{EndBackend, err}
}

// tell lets the client know what became of its request, and says how the walk
// goes on. It closes the backend unless the session goes on there.
func (s *session) tell(r dialogue.Request, reply dialogue.Reply, up *upstream, err error) (*upstream, error) {
	if up != nil && (err != nil || reply.Result != dialogue.Accepted) {
		up.leave()
		up = nil
	}
	var e ending
	switch {
	case errors.As(err, &e):
		s.answer(r, dialogue.AnswerBusy)
		return nil, err
	case err != nil:
		return nil, err
	case up == nil && reply.Raw == nil && reply.Result == dialogue.Denied:
		s.answer(r, dialogue.AnswerDenied)
		return nil, nil
	case reply.Raw == nil:
		return nil, ending{EndClient, errors.New("client left in the middle of the exchange")}
	}
	s.raw.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	if _, err := s.client.Write(reply.Raw); err != nil {
		if up != nil {
			up.leave()
		}
		return nil, err
	}
	if up == nil && reply.Result == dialogue.Unavailable {
		return nil, ending{EndBackend, errors.New("backend gave a temporary refusal")}
	}
	s.setDeadline(s.deadline)
	return up, nil
}
