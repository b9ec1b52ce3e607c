package limiter

import (
	"net/netip"
	"time"
)

// An Attempt is one login a client asks for.
type Attempt struct {
	Addr       netip.Addr // where the client is
	Account    string     // the user name it gave
	Credential Credential // made by [Limiter.Credential] from that name and the secret; zero if none was shown
}

// A Ticket is an attempt under way: the verdict on it, and what it holds until it is settled. It must not be copied and
// is not safe for concurrent use.
type Ticket struct {
	_       noCopy
	limiter *Limiter
	verdict Verdict
	held    [kinds]*entry // where it holds a token, nil where it does not
	order   Order
	acts    time.Time // when it goes on to a backend with a token of the global bucket; zero without one
}

// Ask opens an attempt at time t. Unless refused, it holds a token in each bucket of denials it falls into and has one
// of the global bucket, so the Ticket must be settled when the attempt is over.
func (l *Limiter) Ask(t time.Time, a Attempt) (k Ticket) {
	t = l.lock(t)
	defer l.mu.Unlock()
	k.limiter, k.verdict = l, pass
	k.order = Order{line: keyOf(ofNetwork, a.Addr)}
	if !l.policy.exempts(a.Addr) {
		k.hold(t, a.Addr)
	}
	if k.verdict.Action != Refuse {
		k.reserve(t)
	}
	if k.verdict.Action == Refuse {
		k.settle(t, Void)
	}
	return
}

// Verdict returns what was decided when the attempt was opened.
func (k *Ticket) Verdict() Verdict {
	return k.verdict
}

// Order returns the attempt's place among others, for whoever has to choose between them.
func (k *Ticket) Order() Order {
	return k.order
}

// Enter asks, once the wait of the verdict is over, for the attempt's turn to go to a backend. Pass says that it is now.
// Refuse says that it will not come in time. Wait says that the ticket queues and when its turn is expected; then
// [Limiter.Turn] will give who back when its fate is decided, unless the ticket is settled before.
//
// The verdict of the ticket becomes the stricter of what it was and what Enter returned. who is the caller's: whatever
// finds the session that waits.
func (k *Ticket) Enter(t time.Time, who any) Verdict {
	_, _ = t, who
	return pass
}

// Settle closes the attempt at time t. Denied spends its holds; Accepted and Void hand them back without trace. The
// global token stays spent, for a login that reached a backend has used it whatever the answer; only an attempt that is
// Void before its wait has passed, and so reached none, returns it. A refused ticket holds nothing, and settling it does
// nothing. Neither does settling again.
func (k *Ticket) Settle(t time.Time, o Outcome) {
	t = k.limiter.lock(t)
	defer k.limiter.mu.Unlock()
	k.settle(t, o)
}

// settle is Settle with the limiter locked.
func (k *Ticket) settle(t time.Time, o Outcome) {
	l := k.limiter
	for i, e := range k.held {
		if e == nil {
			continue
		}
		e.denials.holds--
		if o == Denied {
			e.denials.spend(t, l.policy.denials(kind(i)).rate)
		}
	}
	if o == Void && t.Before(k.acts) {
		l.global.restore(t, l.policy.Global)
	}
	k.held, k.acts = [kinds]*entry{}, time.Time{}
}

// hold judges the attempt by each bucket of denials it falls into, and takes a token in it.
func (k *Ticket) hold(t time.Time, addr netip.Addr) {
	l := k.limiter
	for i := range k.held {
		e := l.entry(t, kind(i), addr)
		if e == nil {
			l.shared++
			continue
		}
		v := l.policy.denials(kind(i)).judge(t, &e.denials, l.policy.WaitMax)
		k.verdict = stricter(k.verdict, v)
		k.held[i] = e
		e.denials.holds++
	}
	k.verdict.Wait = jittered(k.verdict.Wait, l.policy.WaitMax)
}

// reserve takes the attempt's token of the global bucket, or refuses it if waiting for one would take too long. This is
// no hold: a login that reaches a backend has used the token whatever the answer, so it is spent now, and each attempt
// waits for its turn in the order they came.
func (k *Ticket) reserve(t time.Time) {
	p := &k.limiter.policy
	if p.Global.off() {
		return
	}
	wait, ok := k.limiter.global.reserve(t, p.Global, p.WaitMax)
	if !ok {
		k.verdict = refusal(RuleGlobal)
		return
	}
	k.verdict = stricter(k.verdict, waiting(RuleGlobal, wait))
	k.acts = t.Add(k.verdict.Wait)
}

// noCopy makes vet complain where a ticket is copied: both would give back the same holds.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
