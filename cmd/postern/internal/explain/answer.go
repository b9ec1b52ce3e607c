package explain

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
)

// Sources are what an Explanation is made of. All must be set.
type Sources struct {
	Recent    *recent.Memory
	Inspect   func(t time.Time, a limiter.Attempt) limiter.Inspection
	Users     func(t time.Time, network netip.Prefix, within time.Duration) (n int, ok bool) // known users who logged in from there, estimated
	Listed    func(t time.Time, addr netip.Addr) (firewall.Entry, bool)                      // for firewalls
	Decisions func() []decisions.Decision                                                    // in force
	Observing func() bool                                                                    // verdicts are not enforced
}

// ErrNotFound is in the error about a session of which nothing is remembered.
var ErrNotFound = errors.New("nothing is remembered of it")

const (
	eventsMax  = 50   // events of an Explanation
	countedMax = 1000 // events that are counted for it
)

// An answer is an Explanation in the making.
type answer struct {
	Explanation
	question
	sources Sources
	events  []recent.Event     // the latest first, more than the Explanation has
	main    *recent.Event      // the one that the summary is about, nil if there is none
	now     limiter.Inspection // of the address and the account
	observe bool
}

// Explain answers a question about the ID of a session, an address, a network in CIDR form
// or an account, as of t. Its error is a decisions.RequestError if the question makes no
// sense, and wraps ErrNotFound if it is about a session that is not remembered.
//
// The answer is for operators. It does not tell
// whether a password is right, except for what the mail servers have answered.
func Explain(t time.Time, about string, s Sources) (Explanation, error) {
	q, err := parse(about)
	if err != nil {
		return Explanation{}, err
	}
	a := answer{question: q, sources: s, observe: s.Observing()}
	a.Explanation = Explanation{Time: t, Subject: q.subject, Facts: []Fact{}, Advice: []Advice{}, Events: []recent.Event{}, Decisions: []decisions.Decision{}}
	if err := a.findEvents(t); err != nil {
		return Explanation{}, err
	}
	a.About = eventlog.Printable(a.name(), eventlog.NameMax)
	a.Events = append(a.Events, a.events[:min(len(a.events), eventsMax)]...)
	a.inspect(t)
	a.findDecisions()
	a.addFacts()
	a.addAdvice()
	a.Summary = a.summary()
	return a.Explanation, nil
}

// findEvents finds the events that the question is about. If no session has what looks like
// an ID, it may be the name of an account.
func (a *answer) findEvents(t time.Time) error {
	m := a.sources.Recent
	switch a.subject {
	case Session:
		if a.events = m.Find(a.session); len(a.events) > 0 {
			a.address, a.account = a.events[0].Addr, original(a.events[0].Account)
			break
		}
		if a.events = m.Search(recent.Query{Account: a.session}, countedMax); len(a.events) == 0 && !a.sources.Inspect(t, limiter.Attempt{Account: a.session}).Account.Known {
			return fmt.Errorf("session %s: %w: %s", a.session, ErrNotFound, a.remembered())
		}
		a.subject, a.Subject, a.account = Account, Account, a.session
	case Account:
		a.events = m.Search(recent.Query{Account: a.account}, countedMax)
	case Source, Network:
		a.events = m.Search(recent.Query{Network: a.network}, countedMax)
	}
	a.main = mainEvent(a.events)
	if a.subject == Account && len(a.events) > 0 {
		a.address = a.main.Addr
	}
	return nil
}

// mainEvent returns the event that a question is most likely about: the latest that postern
// refused or ended, else the latest that a mail server denied, else the latest.
func mainEvent(events []recent.Event) *recent.Event {
	var best *recent.Event
	rank := func(e *recent.Event) int {
		switch {
		case !e.Attempt && e.Result == "shutdown":
			return 1
		case e.Result == "accepted":
			return 0
		case e.Attempt && (e.Result == "void" || e.Result == "abandoned"):
			return 1
		case e.Attempt && e.Result == "denied":
			return 2
		}
		return 3
	}
	for i := range events {
		if best == nil || rank(&events[i]) > rank(best) {
			best = &events[i]
		}
	}
	return best
}

// inspect asks the limiter about the address and the account.
func (a *answer) inspect(t time.Time) {
	about := limiter.Attempt{Addr: a.address, Account: a.account}
	if a.subject == Network {
		about.Addr = a.network.Addr()
	}
	if a.main != nil && a.subject != Network && a.subject != Source {
		about.Token, about.JA4 = isToken(a.main.Method), a.main.JA4
	}
	a.now = a.sources.Inspect(t, about)
}

// isToken reports whether the secret of a SASL mechanism cannot be guessed.
func isToken(method string) bool { return method == "XOAUTH2" || method == "OAUTHBEARER" }

// findDecisions finds the blocks and allows that concern the address or the network.
func (a *answer) findDecisions() {
	for _, d := range a.sources.Decisions() {
		switch {
		case d.Kind != decisions.Block && d.Kind != decisions.Allow:
		case a.subject == Network && d.Network.Overlaps(a.network), a.subject != Network && d.Network.Contains(a.address):
			a.Decisions = append(a.Decisions, d)
		}
	}
}

// remembered says since when refusals are remembered.
func (a *answer) remembered() string {
	users, others := a.sources.Recent.Since()
	return fmt.Sprintf("refusals of known users are remembered since %s, those of others since %s; the log may have older ones, in field session", clock(users, a.Time), clock(others, a.Time))
}

// original is the name of an account as the client sent it, or as an event has it if it was cut.
func original(name string) string {
	if s, ok := eventlog.Original(name); ok {
		return s
	}
	return name
}
