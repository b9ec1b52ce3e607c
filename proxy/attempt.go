package proxy

import (
	"errors"
	"fmt"
	"os"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// loginAttempt is one attempt from the limiter's verdict until it is settled: it waits
// as the verdict says, then for a token of the global bucket, then for a login slot,
// and is replayed to a backend (backend_login.go). It is in the tarpit from the first
// time it has to wait until it has reached a backend.
type loginAttempt struct {
	*session
	request dialogue.Request
	report  Attempt
	started time.Duration // since epoch
	ticket  limiter.Ticket
	current *limiter.Ticket // that gets the outcome: ticket, unless admits has asked anew

	inTarpit    bool                      // it has a place in the tarpit
	tarpitKnown bool                      // that place is one of the known
	waitStart   time.Duration             // since epoch
	afterWait   func(error) (step, error) // what follows the wait

	search *backendSearch // nil before the first login slot is asked for
	held   time.Duration  // how long the client took to answer challenges of the backend
}

// newReport begins what is reported of an attempt when it is settled.
func (s *session) newReport(r dialogue.Request) Attempt {
	a := Attempt{
		Session: s.record.ID, Listener: s.record.Listener, Protocol: s.record.Protocol, Client: s.record.Client, Proxied: s.record.Proxied,
		Forwarder: s.record.Forwarder, ForwarderSession: s.record.ForwarderSession,
		Account: r.Account, Method: r.Method, JA4: s.record.JA4,
	}
	if s.record.Attempts == 0 {
		a.Greeting = s.record.Greeting
	}
	return a
}

// refuseNamed ends a connection whose client has named an account that it may not log
// in to now (POP3 USER). No password was shown and nothing is charged.
func (s *session) refuseNamed(r dialogue.Request, v limiter.Verdict) error {
	s.record.Step = StepVerdict
	err := refused(v)
	report := s.newReport(r)
	report.Verdict, report.Err = v, err
	s.settled(report)
	return s.answerAttempt(r, &report, dialogue.Reply{}, err)
}

// startAttempt asks the limiter about a request. The limiter is asked once, and again
// where its verdict says so, and gets the outcome once. Where only the exchange with a
// backend names the account, it is asked anew then (admits), and the first question is
// settled as void.
func (s *session) startAttempt(r dialogue.Request) (step, error) {
	s.record.Step = StepVerdict
	s.setAttempting(true)
	if stopped := s.isStopped(); stopped == EndEvicted || stopped == EndBlocked {
		return nil, errStopped
	}
	a := s.newAttempt(r)
	return a.followVerdict(a.ticket.Verdict())
}

// newAttempt asks the limiter about a request. The attempt must be concluded.
func (s *session) newAttempt(r dialogue.Request) *loginAttempt {
	now := time.Now()
	a := &loginAttempt{session: s, request: r, started: now.Sub(epoch), report: s.newReport(r)}
	a.ticket = s.server.Limiter.Ask(now, s.subject(r))
	a.current = &a.ticket
	a.request.Admits = a.admits
	a.report.Observed = s.server.observing.Load()
	s.attempt = a
	return a
}

// followVerdict does what a verdict of the limiter about the attempt asks for.
func (a *loginAttempt) followVerdict(v limiter.Verdict) (step, error) {
	a.report.Verdict = v
	switch {
	case a.report.Observed:
	case v.Action == limiter.Refuse:
		return a.conclude(dialogue.Reply{}, refused(v))
	case v.Again:
		return a.waitAndAskAgain(v)
	case v.Wait > 0 && a.waitLeft() > 0:
		return a.wait(time.Now().Add(min(v.Wait, a.waitLeft())), newWaiter(a.session), a.verdictWaited)
	}
	return a.verdictWaited(nil)
}

// minAgain is the shortest wait before the limiter is asked again, so that an attempt
// cannot ask all the time.
const minAgain = 50 * time.Millisecond

// waitAndAskAgain waits as a verdict says and asks the limiter again. The limiter refuses
// an attempt that has waited for long enough; should it not, the attempt is refused here
// once it has waited for TarpitMax.
func (a *loginAttempt) waitAndAskAgain(v limiter.Verdict) (step, error) {
	left := a.waitLeft()
	if left <= 0 {
		a.refuseBy(v.Rule)
		return a.conclude(dialogue.Reply{}, refused(v))
	}
	return a.wait(time.Now().Add(min(max(v.Wait, minAgain), left)), newWaiter(a.session), func(err error) (step, error) {
		if err != nil {
			return a.conclude(dialogue.Reply{}, err)
		}
		return a.followVerdict(a.ticket.Again(time.Now()))
	})
}

// subject is what the limiter is asked about a request.
func (s *session) subject(r dialogue.Request) limiter.Attempt {
	a := s.subjectNamed(r, r.Account)
	if password := r.Password(); password != nil {
		a.Credential = s.server.Limiter.Credential(r.Account, password)
	}
	return a
}

// subjectNamed is what the limiter is asked about a request in which no password has been
// shown, for an account. A forwarder is not a device: the same one connects for all its users.
func (s *session) subjectNamed(r dialogue.Request, account string) limiter.Attempt {
	a := limiter.Attempt{Addr: s.record.Client.Addr(), Account: account, Token: isToken(r.Mechanism), JA4: s.record.JA4}
	if s.tls != nil && !s.forward.peer {
		a.Device, a.Resumed = s.tls.device.id, s.tls.device.resumed
	}
	return a
}

// isToken reports whether the secret of a SASL mechanism, named in upper case, is a token
// and not a password (RFC 7628 and its predecessor).
func isToken(mechanism string) bool { return mechanism == "OAUTHBEARER" || mechanism == "XOAUTH2" }

// verdictWaited follows the wait that the verdict asked for.
func (a *loginAttempt) verdictWaited(err error) (step, error) {
	switch {
	case err != nil:
		return a.conclude(dialogue.Reply{}, err)
	case a.request.Unfit || a.report.Verdict.Action == limiter.Repeat && !a.report.Observed:
		return a.conclude(dialogue.Reply{Result: dialogue.Denied}, nil)
	}
	return a.enterQueue()
}

// enterQueue waits for a token of the global bucket. In observe mode it only learns
// what would have happened.
func (a *loginAttempt) enterQueue() (step, error) {
	queued := &queuedAttempt{waiter: newWaiter(a.session)}
	v := a.ticket.Enter(time.Now(), queued)
	a.report.Verdict = a.ticket.Verdict()
	if v.Action == limiter.Wait {
		a.server.dispatcher.dispatch()
	}
	switch {
	case a.report.Observed:
		return a.waitSlot()
	case v.Action == limiter.Wait:
		return a.wait(time.Now().Add(a.waitLeft()+dispatchSlack), queued.waiter, func(err error) (step, error) {
			return a.dispatched(queued.decided(), err)
		})
	}
	return a.dispatched(v, nil)
}

// dispatchSlack is how long an attempt waits for the limiter's verdict after its time
// is up: the verdict may be under way by then.
const dispatchSlack = time.Second

// dispatched follows the limiter's verdict about the token.
func (a *loginAttempt) dispatched(v limiter.Verdict, err error) (step, error) {
	if err == nil && v.Action == limiter.Refuse {
		a.refuseBy(v.Rule)
		err = refused(v)
	}
	if err != nil {
		return a.conclude(dialogue.Reply{}, err)
	}
	return a.waitSlot()
}

// waitLeft is how much longer the attempt may wait.
func (a *loginAttempt) waitLeft() time.Duration { return a.server.TarpitMax - a.report.Waited }

// wait waits in the tarpit until a time or until w is woken, and then calls after. Its
// error says that the client has closed, that the session must end, or that the tarpit
// is full. The wait does not count against the client's time before login.
func (a *loginAttempt) wait(until time.Time, w *waiter, after func(error) (step, error)) (step, error) {
	a.record.Step = StepTarpit
	if !a.inTarpit && !a.enterTarpit() {
		a.refuseBy(limiter.RuleTarpit)
		return after(refused(a.report.Verdict))
	}
	a.waitStart, a.afterWait = time.Since(epoch), after
	a.waitFor(w)
	a.setDeadline(until)
	a.raw.SetNonblock(true)
	return a.checkWait()
}

// checkWait parks the session unless the wait is over. What the client sends meanwhile
// is buffered as far as the buffer goes; once that is full, a client that closes is
// not noticed until the wait is over.
func (a *loginAttempt) checkWait() (step, error) {
	for {
		switch err := a.client.Fill(); {
		case err == nil:
		case err == netpoll.ErrWouldBlock:
			return a.park(a.checkWait)
		case errors.Is(err, dialogue.ErrFull):
			return a.parkUntilDeadline(a.waitOver)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return a.waitOver()
		default:
			return a.endWait(err)
		}
	}
}

func (a *loginAttempt) waitOver() (step, error) { return a.endWait(nil) }

func (a *loginAttempt) endWait(err error) (step, error) {
	waited := time.Since(epoch) - a.waitStart
	a.report.Waited += waited
	a.deadline = a.deadline.Add(waited)
	a.waitFor(nil)
	a.raw.SetNonblock(false)
	a.setDeadline(a.deadline)
	if err == nil && a.isStopped() != EndClient {
		err = errStopped
	}
	a.report.Gone = err != nil
	return a.afterWait(err)
}

// errStopped ends a wait, or an attempt before it has begun, because the session must end.
var errStopped = errors.New("session stopped")

// enterTarpit takes a place in the tarpit and reports whether there was one.
func (a *loginAttempt) enterTarpit() bool {
	a.tarpitKnown = a.report.Verdict.Known
	a.inTarpit = a.server.tarpit.enter(a.record.Client.Addr(), a.tarpitKnown, a.server.Limiter.Growth(time.Now(), a.record.Client.Addr()))
	return a.inTarpit
}

// leaveTarpit gives the place back, if the attempt has one.
func (a *loginAttempt) leaveTarpit() {
	if a.inTarpit {
		a.inTarpit = false
		a.server.tarpit.leave(a.record.Client.Addr(), a.tarpitKnown)
	}
}

// refuseBy makes the verdict a refusal by a rule that was met after it.
func (a *loginAttempt) refuseBy(rule limiter.Rule) {
	v := &a.report.Verdict
	v.Action, v.Rule, v.Wait = limiter.Refuse, rule, 0
}

// conclude settles the attempt and answers the client. Then the session goes on with
// the relay, or with the dialogue after a denial; an error ends it.
func (a *loginAttempt) conclude(reply dialogue.Reply, err error) (step, error) {
	a.leaveTarpit()
	s, report := a.session, &a.report
	if reply.Account != "" {
		report.Account = reply.Account
	}
	report.Outcome, report.Traits = outcome(reply, err), a.current.Traits()
	switch {
	case err != nil:
		report.Err = err
	case reply.Result == dialogue.Unavailable && reply.Raw != nil:
		report.Err = fmt.Errorf("backend %s gave a temporary refusal: %.100q", report.Backend, reply.Raw)
	}
	now := time.Now()
	a.settleTicket(now)
	report.Took = now.Sub(epoch) - a.started
	s.attempt = nil
	a.request.Response.Wipe()
	s.settled(*report)
	if report.Outcome != limiter.Accepted && s.backend != nil {
		s.backend.close()
		s.backend = nil
	}
	if err := s.answerAttempt(a.request, report, reply, err); err != nil {
		return nil, err
	}
	switch {
	case reply.Result == dialogue.Unavailable:
		return nil, ending{EndBackend, report.Err}
	case s.backend != nil:
		return s.startRelay, nil
	case s.record.Attempts >= s.server.Tries:
		s.answer(dialogue.Request{}, dialogue.AnswerTries)
		return nil, ending{EndTries, errors.New("too many denied attempts")}
	}
	s.setAttempting(false)
	if s.isStopped() != EndClient { // what the client has sent already is not read
		s.record.Step = StepDialogue
		return nil, errStopped
	}
	return s.await(s.readRequest)
}

// settleTicket gives the limiter the outcome. A client that is not known from its device,
// source or network, and that kept a login slot waiting without an outcome, is charged for
// the time. That is also the case if it let the slot wait and then named an account that
// it may not log in to, and beside the denial if it gave a wrong answer late: otherwise
// those who mean to hold a slot would answer in the end.
func (a *loginAttempt) settleTicket(now time.Time) {
	report := &a.report
	refused := report.Verdict.Action == limiter.Refuse && a.held > 0
	if report.Outcome == limiter.Void && !report.Verdict.Near && (report.Abandoned || refused) {
		a.current.Abandon(now, a.held)
		return
	}
	if report.Outcome == limiter.Denied && a.held > challengeGrace && !isToken(a.request.Mechanism) {
		a.current.ChargeSlot(now, a.held)
	}
	a.current.Settle(now, report.Outcome)
}

// discard gives back what the attempt holds, after a panic.
func (a *loginAttempt) discard() {
	a.leaveTarpit()
	a.current.Settle(time.Now(), limiter.Void)
	a.request.Response.Wipe()
}

// outcome translates a backend's reply into an outcome for the limiter.
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

// settled adds a settled attempt to the record and reports it.
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

// answerAttempt tells the client the result of its request. It returns an error if the
// connection ends with that. A client whose network was blocked meanwhile gets no answer: it
// would learn whether its password is right.
func (s *session) answerAttempt(r dialogue.Request, a *Attempt, reply dialogue.Reply, err error) error {
	var e ending
	switch {
	case s.isStopped() == EndBlocked:
		return errStopped
	case errors.As(err, &e):
		s.answer(r, refusalAnswer(a.Verdict.Rule))
		return err
	case err != nil:
		return err
	case reply.Result == dialogue.Denied && a.Backend == "":
		s.answer(r, dialogue.AnswerDenied)
		return nil
	case reply.Raw == nil:
		return ending{EndClient, errors.New("client closed during the SASL exchange")}
	}
	s.raw.SetWriteDeadline(time.Now().Add(lastWriteTimeout))
	_, err = s.client.Write(reply.Raw)
	return err
}

// refused is how a connection ends that a verdict refuses.
func refused(v limiter.Verdict) error {
	return ending{EndRefused, fmt.Errorf("refused by rule %s", v.Rule)}
}

// refusalAnswer is the answer to a client that a rule refuses for now.
func refusalAnswer(rule limiter.Rule) dialogue.Answer {
	if rule == limiter.RulePair || rule == limiter.RuleAccount {
		return dialogue.AnswerDelay
	}
	return dialogue.AnswerBusy
}
