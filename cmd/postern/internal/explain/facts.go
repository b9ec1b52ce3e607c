package explain

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
)

// The headings of facts, in their order.
const (
	headHappened  = "What happened"
	headDecisions = "Decisions"
	headKnown     = "What is known"
	headBuckets   = "What is counted against it"
	headNow       = "What would happen now"
)

func (a *answer) fact(heading, format string, args ...any) {
	a.Facts = append(a.Facts, Fact{heading, capital(fmt.Sprintf(format, args...))})
}

// addFacts adds all facts in their order.
func (a *answer) addFacts() {
	a.addEvents()
	a.addDecisions()
	a.addKnown()
	a.addBuckets()
	a.addNow()
}

// eventFacts is how many events have a sentence of their own.
const eventFacts = 5

// addEvents says what happened.
func (a *answer) addEvents() {
	shown := a.events[:min(len(a.events), eventFacts)]
	if a.main != nil && !slices.ContainsFunc(shown, func(e recent.Event) bool { return e == *a.main }) {
		shown = append([]recent.Event{*a.main}, shown[:eventFacts-1]...)
	}
	for i := range shown {
		e := &shown[i]
		client := ""
		if e.Known {
			client = ", as a known user"
		}
		a.fact(headHappened, "%s%s: %s", clock(e.Time, a.Time), client, strings.TrimSuffix(happened(e), "."))
		if e.Why != "" && e.Why != eventlog.WhyRule(limiter.Rule(e.Rule)) && !isWhyOfEnd(e) {
			a.fact(headHappened, "The reason in the log is: %s", e.Why)
		}
	}
	if more := len(a.events) - len(shown); more > 0 {
		a.fact(headHappened, "%s more events are remembered%s", atLeast(more, len(a.events)), a.othersOfEvents())
	}
	if len(a.events) == 0 {
		a.fact(headHappened, "no refusal or wrong password is remembered; %s", a.remembered())
	}
}

// isWhyOfEnd reports whether the reason of an event is no more than the phrase for its end.
func isWhyOfEnd(e *recent.Event) bool {
	end, ok := endOf(e.Result)
	return ok && !e.Attempt && e.Why == eventlog.WhyEnd(end)
}

// atLeast is a number of events, of all that were counted.
func atLeast(n, counted int) string {
	if counted >= countedMax {
		return fmt.Sprintf("at least %d", n)
	}
	return fmt.Sprint(n)
}

// othersOfEvents names the accounts, or the sources of an account, of most events.
func (a *answer) othersOfEvents() string {
	counts, what := map[string]int{}, "of the accounts"
	for i := range a.events {
		switch e := &a.events[i]; {
		case a.subject != Account && e.Account != "":
			counts[e.Account]++
		case a.subject == Account && e.Addr.IsValid():
			counts[sourceName(e.Addr)]++
		}
	}
	if a.subject == Account {
		what = "from the sources"
	}
	if len(counts) == 0 {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(counts), func(x, y string) int { return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y)) })
	var list []string
	for _, name := range names[:min(len(names), eventFacts)] {
		list = append(list, fmt.Sprintf("%s (%d)", name, counts[name]))
	}
	rest := ""
	if n := len(names) - len(list); n > 0 {
		rest = fmt.Sprintf(" and %d others", n)
	}
	return fmt.Sprintf("; all %s are %s %s%s", atLeast(len(a.events), len(a.events)), what, strings.Join(list, ", "), rest)
}

// sourceName is the source of an address.
func sourceName(addr netip.Addr) string { return limiter.BlockName(limiter.Source(addr)) }

// addDecisions says what operators have decided.
func (a *answer) addDecisions() {
	for _, d := range a.Decisions {
		a.fact(headDecisions, "%s", decisionPhrase(&d, a.Time))
	}
	if e, listed := a.sources.Listed(a.Time, a.address); listed {
		drop := "a firewall that follows the list drops its new connections"
		if e.Observe {
			drop = "but verdicts are only observed, so no firewall should drop it"
		}
		a.fact(headDecisions, "the source %s is listed for firewalls since %s, until %s, because rule %s refused it again and again; %s", sourceName(a.address),
			clock(e.Listed, a.Time), clock(e.Until, a.Time), e.Rule, drop)
	}
	if a.now.Exempt {
		a.fact(headDecisions, "the address is in POSTERN_EXEMPT: no limit of its source, its network or the pair applies")
	}
	if a.observe {
		a.fact(headDecisions, "verdicts are only observed: nothing is delayed or refused")
	}
}

// decisionPhrase says what a decision is.
func decisionPhrase(d *decisions.Decision, now time.Time) string {
	kind, until := "blocked", "until it is ended"
	if d.Kind == decisions.Allow {
		kind = "allowed"
	}
	if !d.Until.IsZero() {
		until = "until " + clock(d.Until, now)
	}
	s := fmt.Sprintf("%s has %s %s at %s, %s", cmp.Or(d.Who(), "an operator"), kind, limiter.BlockName(d.Network), clock(d.Made, now), until)
	if d.Comment != "" {
		s += ": " + d.Comment
	}
	return s
}

// addKnown says what is known of the account and the address.
func (a *answer) addKnown() {
	if k := &a.now.Account; a.account != "" && k.Known {
		a.fact(headKnown, "the account %s is known: the latest login was accepted around %s, and %s, %s, %s and %s of it are known", a.accountName(),
			clock(k.Last, a.Time), eventlog.Count(k.Credentials, "password"), eventlog.Count(k.Sources, "source"), eventlog.Count(k.Networks, "network"), eventlog.Count(k.Devices, "device"))
		if k.CredentialDenied {
			a.fact(headKnown, "the password that was accepted last is denied now: it was changed, or the password database is at fault")
		}
	} else if a.account != "" {
		a.fact(headKnown, "the account %s is not known: no login to it was accepted within POSTERN_KNOWN_TTL, so its clients are strangers", a.accountName())
	}
	switch {
	case !a.address.IsValid():
	case a.now.NearSource:
		a.fact(headKnown, "the account was accepted from the source %s", sourceName(a.address))
	case a.now.NearNetwork:
		a.fact(headKnown, "the account was accepted from the network %s, not from this source", limiter.Network(a.address))
	case a.account != "":
		a.fact(headKnown, "the account was not accepted from the source %s or its network, so a client there is a stranger unless its device or password is known", sourceName(a.address))
	}
	if a.address.IsValid() && a.now.KnownSource {
		a.fact(headKnown, "logins from the source %s were accepted%s", sourceName(a.address), growth(a.now.Growth))
	}
	if a.subject == Source || a.subject == Network {
		a.addUsers()
	}
}

// growth says how the limits of a source have grown.
func growth(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf("; it is used by several users, so its limits are %d times those of one source", n)
}

// addUsers says how many users are at a source or network.
func (a *answer) addUsers() {
	block := a.network
	if a.subject == Source {
		block = limiter.Source(a.address)
	}
	if n, ok := a.sources.Users(a.Time, block, 24*time.Hour); ok {
		a.fact(headKnown, "%s logged in from %s within the last day, by estimate", eventlog.Count(n, "known user"), block)
		return
	}
	a.fact(headKnown, "how many known users log in from %s is not known: the network is too wide", block)
}

// accountName is the account as events have it.
func (a *answer) accountName() string { return eventlog.Printable(a.account, eventlog.NameMax) }

// addBuckets says how full each bucket is.
func (a *answer) addBuckets() {
	if a.address.IsValid() {
		a.fact(headBuckets, "source %s: %s, %s before login", sourceName(a.address),
			of(a.now.Open, a.now.OpenMax, "connections open"), of(a.now.Prelogin, a.now.PreloginMax, "of them"))
		if c := a.now.Connect; c.Size > 0 {
			a.fact(headBuckets, "source %s: %s spent%s (rule connect, %s)", sourceName(a.address), of(c.Spent, c.Size, "new connections"), fullIn(c.Full), settings(limiter.RuleConnect))
		}
	}
	for _, b := range a.now.Buckets {
		if a.subject == Network && (b.Rule == limiter.RuleSource || b.Rule == limiter.RulePair) || b.Size == 0 {
			continue
		}
		held, looks := "", ""
		if b.Held > 0 {
			held = fmt.Sprintf(", %d held by attempts under way", b.Held)
		}
		if b.LookSize > 0 && b.LooksSpent > 0 {
			looks = ", " + of(b.LooksSpent, b.LookSize, "looks") + " spent"
		}
		a.fact(headBuckets, "%s: %s spent%s%s%s (rule %s, %s)", a.bucketName(b.Of), of(b.Spent, b.Size, "denials"), held, looks, fullIn(b.Full), b.Rule, settings(b.Rule))
	}
}

// bucketName is what a bucket counts for, with its name if it is the subject's.
func (a *answer) bucketName(of string) string {
	network := a.network
	if a.address.IsValid() {
		network = limiter.Network(a.address)
	}
	switch {
	case of == "source" && a.address.IsValid():
		return "source " + sourceName(a.address)
	case of == "network" && network.IsValid():
		return "network " + network.String()
	case of == "account":
		return "account " + a.accountName() + ", of strangers"
	}
	return of
}

// of is a number of things of a limit.
func of(n, limit int, things string) string {
	if limit == 0 {
		return fmt.Sprintf("%d %s", n, things)
	}
	return fmt.Sprintf("%d of %d %s", n, limit, things)
}

// fullIn says when a bucket is full again, empty if it is.
func fullIn(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return ", all free again in " + seconds(d)
}

// addNow says what would happen now.
func (a *answer) addNow() {
	client := "a client with a password that is not known"
	if a.account == "" {
		client = "a stranger's login"
	}
	a.fact(headNow, "%s %s", client, verdictPhrase(a.now.Stranger))
	if a.account != "" && a.now.Account.Known {
		a.fact(headNow, "a client with the password that was accepted last %s", verdictPhrase(a.now.Known))
	}
	if a.now.AttackJA4 {
		a.fact(headNow, "attackers use the TLS fingerprint %s of this client, and hardly any user does: where not all can log in, strangers with it are served after others", a.main.JA4)
	}
	if a.address.IsValid() && a.now.OpenMax > 0 && a.now.Open >= a.now.OpenMax {
		a.fact(headNow, "a new connection would be refused %s", cause(string(limiter.RuleOpen)))
	}
	if c := a.now.Connect; a.address.IsValid() && c.Size > 0 && c.Spent >= c.Size {
		a.fact(headNow, "a new connection would be refused %s", cause(string(limiter.RuleConnect)))
	}
	if a.observe && (a.now.Stranger.Action != limiter.Pass || a.now.Known.Action != limiter.Pass) {
		a.fact(headNow, "but verdicts are only observed now, so it would go on all the same")
	}
}
