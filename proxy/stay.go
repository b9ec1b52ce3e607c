package proxy

import (
	"errors"
	"os"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// stay is an attempt from its verdict to its conclusion: it waits out the verdict,
// waits for its turn among all and for a login slot, and is replayed to a backend.
// It is in the tarpit from the first moment it must wait until it has reached one.
type loginAttempt struct {
	*session
	request       dialogue.Request
	report        Attempt
	started       time.Duration // since epoch
	ticket        limiter.Ticket
	settle        func(time.Time, limiter.Outcome)
	inTarpit      bool // it has a place in the tarpit
	inTarpitKnown bool // it had it as somebody known

	waitStart time.Duration             // when it began to rest, since epoch
	afterWait func(error) (step, error) // where it goes on when it has rested

	backendSearch *backendSearch // for a backend, nil before it has begun
}

// search is an attempt's search for a backend.
type backendSearch struct {
	until   time.Time  // when one must have greeted
	tried   []*backend // that could not be reached
	failure error      // of the last of them
}

// judged has waited out the verdict.
func (w *loginAttempt) verdictWaited(err error) (step, error) {
	switch {
	case err != nil:
		return w.conclude(dialogue.Reply{}, err)
	case w.request.Unfit || w.report.Verdict.Action == limiter.Repeat && !w.report.Observed:
		return w.conclude(dialogue.Reply{Result: dialogue.Denied}, nil)
	}
	return w.enterQueue()
}

// patience is how much longer the attempt may wait.
func (w *loginAttempt) timeLeft() time.Duration { return w.server.TarpitMax - w.report.Waited }

// decideSlack is how long after its time an attempt waits for what the limiter
// decides in that very moment: it might be that its turn has come.
const decideSlack = time.Second

// turn waits until the limiter lets the attempt go on to a backend. Where verdicts
// are not enforced, it only learns what would have been.
func (w *loginAttempt) enterQueue() (step, error) {
	called := &turnWaiter{waiter: newWaiter(w.session)}
	v := w.ticket.Enter(time.Now(), called)
	w.report.Verdict = w.ticket.Verdict()
	if v.Action == limiter.Wait {
		w.server.dispatcher.dispatch()
	}
	switch {
	case w.report.Observed:
		return w.waitSlot()
	case v.Action == limiter.Wait:
		return w.wait(time.Now().Add(w.timeLeft()+decideSlack), called.waiter, func(err error) (step, error) {
			return w.dispatched(called.decided(), err)
		})
	}
	return w.dispatched(v, nil)
}

// turned has had its turn, or has been refused one.
func (w *loginAttempt) dispatched(v limiter.Verdict, err error) (step, error) {
	if err == nil && v.Action == limiter.Refuse {
		w.refusedBy(v.Rule)
		err = refused(v)
	}
	if err != nil {
		return w.conclude(dialogue.Reply{}, err)
	}
	return w.waitSlot()
}

// refuse notes that the attempt was refused after its verdict.
func (w *loginAttempt) refusedBy(rule limiter.Rule) {
	v := &w.report.Verdict
	v.Action, v.Rule, v.Wait = limiter.Refuse, rule, 0
}

// rest waits until then or until b rings, and goes on to after. The time does not
// count against the client's. An error means that the client has left, that the
// session must end, or that there was no place to wait in.
func (w *loginAttempt) wait(until time.Time, b *waiter, after func(error) (step, error)) (step, error) {
	w.record.Step = StepTarpit
	if !w.inTarpit && !w.enterTarpit() {
		w.refusedBy(limiter.RuleTarpit)
		return after(refused(w.report.Verdict))
	}
	w.waitStart, w.afterWait = time.Since(epoch), after
	w.waitFor(b)
	w.setDeadline(until)
	w.raw.SetNonblock(true)
	return w.checkWait()
}

// look sees whether the rest is over, and else parks the session. What the client
// sends meanwhile is kept as far as the buffer takes it; behind that, its leaving
// goes unnoticed.
func (w *loginAttempt) checkWait() (step, error) {
	for {
		switch err := w.client.Fill(); {
		case err == nil:
		case err == netpoll.ErrWouldBlock:
			return w.park(w.checkWait)
		case errors.Is(err, dialogue.ErrFull):
			return w.parkUntilDeadline(w.waitOver)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return w.waitOver()
		default:
			return w.endWait(err)
		}
	}
}

// rested has waited for as long as it had to.
func (w *loginAttempt) waitOver() (step, error) { return w.endWait(nil) }

// wake ends the rest.
func (w *loginAttempt) endWait(err error) (step, error) {
	waited := time.Since(epoch) - w.waitStart
	w.report.Waited += waited
	w.deadline = w.deadline.Add(waited)
	w.waitFor(nil)
	w.raw.SetNonblock(false)
	w.setDeadline(w.deadline)
	if err == nil && w.isStopped() != EndClient {
		err = errStopped
	}
	w.report.Gone = err != nil
	return w.afterWait(err)
}

// enterTarpit takes a place in the tarpit, if there is one.
func (w *loginAttempt) enterTarpit() bool {
	w.inTarpitKnown = w.report.Verdict.Known
	w.inTarpit = w.server.tarpit.enter(w.record.Client.Addr(), w.inTarpitKnown)
	return w.inTarpit
}

// leaveTarpit gives the place back. A stay that has not waited has none.
func (w *loginAttempt) leaveTarpit() {
	if w.inTarpit {
		w.inTarpit = false
		w.server.tarpit.leave(w.record.Client.Addr(), w.inTarpitKnown)
	}
}

// errStopped is what a rest ends with when the session was told to end.
var errStopped = errors.New("stopped while waiting")
