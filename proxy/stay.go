package proxy

import (
	"context"
	"errors"
	"time"

	"postern/limiter"
)

// stay is the time between an attempt's verdict and its backend: it waits out the
// verdict, waits for its turn among all, and for a login slot. It is in the tarpit
// from the first moment it must wait until end is called.
type stay struct {
	*session
	attempt *Attempt
	ticket  *limiter.Ticket
	leave   func() // gives back the place in the tarpit, nil until there is one
}

// end leaves the tarpit. A stay that has not waited was never in it.
func (w *stay) end() {
	if w.leave != nil {
		w.leave()
		w.leave = nil
	}
}

// patience is how much longer the attempt may wait.
func (w *stay) patience() time.Duration { return w.server.TarpitMax - w.attempt.Waited }

// sitOut waits out what the limiter demanded at once.
func (w *stay) sitOut() error {
	if w.attempt.Verdict.Wait == 0 {
		return nil
	}
	return w.rest(time.Now().Add(w.attempt.Verdict.Wait), newBell(w.session))
}

// decideSlack is how long after its time an attempt waits for what the limiter
// decides in that very moment: it might be that its turn has come.
const decideSlack = time.Second

// turn waits until the limiter lets the attempt go on to a backend. Where verdicts
// are not enforced, it only learns what would have been.
func (w *stay) turn() error {
	called := &summons{bell: newBell(w.session)}
	v := w.ticket.Enter(time.Now(), called)
	w.attempt.Verdict = w.ticket.Verdict()
	if v.Action == limiter.Wait {
		w.server.turns.decide()
	}
	if w.attempt.Observed {
		return nil
	}
	if v.Action == limiter.Wait {
		if err := w.rest(time.Now().Add(w.patience()+decideSlack), called.bell); err != nil {
			return err
		}
		v = called.decided()
	}
	if v.Action == limiter.Refuse {
		w.attempt.Verdict.Action, w.attempt.Verdict.Rule, w.attempt.Verdict.Wait = v.Action, v.Rule, 0
		return refused(v)
	}
	return nil
}

// slot waits for a login slot at a backend that is up and not among tried, until
// ctx ends or the attempt has waited for as long as it may.
func (w *stay) slot(ctx context.Context, tried []*backend) (*backend, error) {
	house := w.backends()
	a := &applicant{order: w.ticket.Order(), tried: tried, bell: newBell(w.session)}
	one, err := house.apply(a)
	if one != nil || err != nil {
		return one, err
	}
	until := time.Now().Add(w.patience())
	if end, ok := ctx.Deadline(); ok {
		until = earlier(until, end)
	}
	begun := w.attempt.Waited
	err = w.rest(until, a.bell)
	if one = house.withdraw(a); err != nil {
		house.release(one)
		return nil, err
	}
	if one == nil {
		return nil, errNoSlot
	}
	if waited := w.attempt.Waited - begun; waited > w.attempt.Verdict.Wait {
		w.attempt.Verdict.Action, w.attempt.Verdict.Rule, w.attempt.Verdict.Wait = limiter.Wait, limiter.RuleBackend, waited
	}
	return one, nil
}

// rest waits until then or until b rings. The time does not count against the
// client's. An error means that the client has left, that the session must end,
// or that there was no place to wait in.
func (w *stay) rest(until time.Time, b *bell) error {
	w.record.Room = RoomTarpit
	if w.leave == nil && !w.enter() {
		w.attempt.Verdict.Action, w.attempt.Verdict.Rule, w.attempt.Verdict.Wait = limiter.Refuse, limiter.RuleTarpit, 0
		return refused(w.attempt.Verdict)
	}
	begun := time.Now()
	w.listen(b)
	w.setDeadline(until)
	err := w.waitOut(until, b)
	waited := time.Since(begun)
	w.attempt.Waited += waited
	w.deadline = w.deadline.Add(waited)
	w.listen(nil)
	w.setDeadline(w.deadline)
	if err == nil && w.isStopped() != EndClient {
		err = errStopped
	}
	w.attempt.Gone = err != nil
	return err
}

// enter takes a place in the tarpit, if there is one.
func (w *stay) enter() (ok bool) {
	w.leave, ok = w.server.tarpit.enter(w.record.Client.Addr(), w.attempt.Verdict.Known)
	return ok
}

// errStopped is what the tarpit ends with when the session was told to end.
var errStopped = errors.New("stopped while waiting")
