package proxy

import (
	"errors"
	"os"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/dormant"
	"postern/proxy/socket"
)

// stay is an attempt from its verdict to its conclusion: it waits out the verdict,
// waits for its turn among all and for a login slot, and is replayed to a backend.
// It is in the tarpit from the first moment it must wait until it has reached one.
type stay struct {
	*session
	request dialogue.Request
	attempt Attempt
	begun   time.Duration // since epoch
	ticket  limiter.Ticket
	settle  func(time.Time, limiter.Outcome)
	inside  bool // it has a place in the tarpit
	known   bool // it had it as somebody known

	asleep *dormant.Session          // the client's TLS, nil while it is awake
	since  time.Duration             // when it began to rest, since epoch
	after  func(error) (room, error) // where it goes on when it has rested

	search *search // for a backend, nil before it has begun
}

// search is an attempt's search for a backend.
type search struct {
	until   time.Time  // when one must have greeted
	tried   []*backend // that could not be reached
	failure error      // of the last of them
}

// judged has waited out the verdict.
func (w *stay) judged(err error) (room, error) {
	switch {
	case err != nil:
		return w.conclude(dialogue.Reply{}, err)
	case w.request.Unfit || w.attempt.Verdict.Action == limiter.Repeat && !w.attempt.Observed:
		return w.conclude(dialogue.Reply{Result: dialogue.Denied}, nil)
	}
	return w.turn()
}

// patience is how much longer the attempt may wait.
func (w *stay) patience() time.Duration { return w.server.TarpitMax - w.attempt.Waited }

// decideSlack is how long after its time an attempt waits for what the limiter
// decides in that very moment: it might be that its turn has come.
const decideSlack = time.Second

// turn waits until the limiter lets the attempt go on to a backend. Where verdicts
// are not enforced, it only learns what would have been.
func (w *stay) turn() (room, error) {
	called := &summons{bell: newBell(w.session)}
	v := w.ticket.Enter(time.Now(), called)
	w.attempt.Verdict = w.ticket.Verdict()
	if v.Action == limiter.Wait {
		w.server.turns.decide()
	}
	switch {
	case w.attempt.Observed:
		return w.slot()
	case v.Action == limiter.Wait:
		return w.rest(time.Now().Add(w.patience()+decideSlack), called.bell, func(err error) (room, error) {
			return w.turned(called.decided(), err)
		})
	}
	return w.turned(v, nil)
}

// turned has had its turn, or has been refused one.
func (w *stay) turned(v limiter.Verdict, err error) (room, error) {
	if err == nil && v.Action == limiter.Refuse {
		w.refuse(v.Rule)
		err = refused(v)
	}
	if err != nil {
		return w.conclude(dialogue.Reply{}, err)
	}
	return w.slot()
}

// refuse notes that the attempt was refused after its verdict.
func (w *stay) refuse(rule limiter.Rule) {
	v := &w.attempt.Verdict
	v.Action, v.Rule, v.Wait = limiter.Refuse, rule, 0
}

// rest waits until then or until b rings, and goes on to after. The time does not
// count against the client's. An error means that the client has left, that the
// session must end, or that there was no place to wait in.
func (w *stay) rest(until time.Time, b *bell, after func(error) (room, error)) (room, error) {
	w.record.Room = RoomTarpit
	if !w.inside && !w.enterTarpit() {
		w.refuse(limiter.RuleTarpit)
		return after(refused(w.attempt.Verdict))
	}
	w.since, w.after = time.Since(epoch), after
	w.listen(b)
	w.setDeadline(until)
	w.raw.SetNonblock(true)
	return w.look()
}

// look sees whether the rest is over, and else parks the session. What the client
// sends meanwhile is kept as far as the buffer takes it; behind that, its leaving
// goes unnoticed.
func (w *stay) look() (room, error) {
	w.rouse()
	for {
		switch err := w.client.Fill(); {
		case err == nil:
		case err == socket.ErrNothing:
			w.doze()
			return w.park(w.look)
		case errors.Is(err, dialogue.ErrFull):
			return w.nap(w.rested)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return w.rested()
		default:
			return w.wake(err)
		}
	}
}

// rested has waited for as long as it had to.
func (w *stay) rested() (room, error) { return w.wake(nil) }

// wake ends the rest.
func (w *stay) wake(err error) (room, error) {
	waited := time.Since(epoch) - w.since
	w.attempt.Waited += waited
	w.deadline = w.deadline.Add(waited)
	w.listen(nil)
	w.raw.SetNonblock(false)
	w.setDeadline(w.deadline)
	if err == nil && w.isStopped() != EndClient {
		err = errStopped
	}
	w.attempt.Gone = err != nil
	return w.after(err)
}

// enterTarpit takes a place in the tarpit, if there is one.
func (w *stay) enterTarpit() bool {
	w.known = w.attempt.Verdict.Known
	w.inside = w.server.tarpit.enter(w.record.Client.Addr(), w.known)
	return w.inside
}

// leaveTarpit gives the place back. A stay that has not waited has none.
func (w *stay) leaveTarpit() {
	if w.inside {
		w.inside = false
		w.server.tarpit.leave(w.record.Client.Addr(), w.known)
	}
}

// errStopped is what a rest ends with when the session was told to end.
var errStopped = errors.New("stopped while waiting")
