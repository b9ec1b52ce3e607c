package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// answerMax bounds all that a client waits for before a backend has its password:
// mbsync gives up at 20 s.
const answerMax = 15 * time.Second

// dial waits until it is the attempt's turn and reaches a backend, within what is
// left of the time an attempt may wait, and makes it s.backend.
func (w *stay) dial() error {
	if err := w.turn(); err != nil {
		return err
	}
	s, a := w.session, w.attempt
	s.record.Room = RoomDial
	ctx, cancel := context.WithTimeout(context.Background(), answerMax-a.Waited)
	defer cancel()
	s.caller.client, s.caller.local = s.record.Client, s.record.Local
	up, err := s.backends().reach(ctx, s.caller, func(tried []*backend) (*backend, error) {
		one, err := w.slot(ctx, tried)
		if err == nil {
			s.record.Room = RoomDial
		}
		return one, err
	})
	var e ending
	switch {
	case a.Gone || errors.As(err, &e):
		return err
	case err != nil:
		a.Verdict.Action, a.Verdict.Rule, a.Verdict.Wait = limiter.Refuse, limiter.RuleBackend, 0
		return ending{EndBackend, err}
	}
	s.backend, a.Backend = up, up.backend.addr
	return nil
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
	s.record.Room = RoomReplay
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
		s.reached(now.Add(replayTimeout))
	}
	reply, err := s.door.Protocol.Login(s.backend.Conn, s.client, r)
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
