package explain

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/recent"
	"postern/limiter"
	"postern/proxy"
)

func (a *answer) advise(text, command string) { a.Advice = append(a.Advice, Advice{text, command}) }

// addAdvice adds what an operator can do, the most likely first.
func (a *answer) addAdvice() {
	blocked := a.adviseBlocked()
	switch e := a.main; {
	case e == nil && a.now.Stranger.Action == limiter.Refuse && a.now.Stranger.Rule != limiter.RuleBlocked:
		a.adviseRule(a.now.Stranger.Rule)
	case e == nil && !blocked:
		a.advise("Nothing: no refusal is remembered, and a login would be let through. If the user still has trouble, ask for the time, or for the ID at the end of the error message.", "")
	case e == nil:
	case e.Attempt:
		a.adviseAttempt(e)
	default:
		a.adviseEnd(e)
	}
	if a.now.Account.CredentialDenied {
		a.advise("Check whether the password of the account was changed. If not, check the password database: the password that was accepted last is denied.", "")
	}
	a.adviseBlock()
}

// adviseBlocked says how to end a block that is in force.
func (a *answer) adviseBlocked() bool {
	if a.now.Allowed {
		return false
	}
	found := false
	for _, d := range a.Decisions {
		if d.Kind == decisions.Block {
			a.advise("If the client is not to be blocked, end the decision.", "postern release "+limiter.BlockName(d.Network))
			found = true
		}
	}
	return found
}

// attackMin is how many events without a known user suggest to block a source or network.
const attackMin = 20

// adviseBlock says how to block a source or network that only strangers fail from.
func (a *answer) adviseBlock() {
	user := func(e recent.Event) bool { return e.Known || e.Result == "accepted" }
	if (a.subject != Source && a.subject != Network) || a.now.Blocked || a.now.Exempt || len(a.events) < attackMin || slices.ContainsFunc(a.events, user) {
		return
	}
	a.advise("If it is an attack that disturbs, block it. postern says first how many known users that would hit.", "postern block "+a.networkName()+" -for 1h")
}

// networkName is the network of a decision about the subject, empty without an address.
func (a *answer) networkName() string {
	switch {
	case a.subject == Network:
		return a.network.String()
	case a.address.IsValid():
		return sourceName(a.address)
	}
	return ""
}

// adviseAttempt says what to do about an attempt.
func (a *answer) adviseAttempt(e *recent.Event) {
	switch {
	case e.Result == "refused" || e.Result == "repeat":
		a.adviseRule(limiter.Rule(e.Rule))
	case e.Result == "accepted" && e.Waited > 0:
		a.advise("Nothing: the login was accepted after the delay.", "")
	case e.Result == "accepted":
		a.advise("Nothing: the login was accepted.", "")
	case e.Result == "denied":
		a.adviseWrongPassword()
	case e.Result == "abandoned":
		a.advise("Have the user try again, with another method than "+e.Method+" in their program if it happens again.", "")
	default:
		a.advise("Have the user try again. If it happens again, check the mail servers.", "postern doctor")
	}
}

// adviseWrongPassword says what to do about a wrong password.
func (a *answer) adviseWrongPassword() {
	a.advise("Nothing at postern: the mail server says that the password or the name is wrong. The user should correct it in all their programs, also on old phones.", "")
}

// adviseRule says what to do about a refusal by a rule.
func (a *answer) adviseRule(rule limiter.Rule) {
	if a.passesNow(rule) {
		after := ""
		if a.now.Stranger.Wait > 0 && !a.observe {
			after = ", after " + seconds(a.now.Stranger.Wait)
		}
		a.advise("Have the user try again: a login would be let through to a mail server now"+after+".", "")
	}
	switch rule {
	case limiter.RuleSource, limiter.RuleNetwork, limiter.RulePrefix:
		a.adviseDenials(rule, a.networkName())
		a.adviseAllow("If many users share the address, such as those of an office, let them in for a while.")
	case limiter.RulePair:
		a.adviseDenials(rule, a.releasable())
	case limiter.RuleAccount:
		a.advise("The owner can log in from where they usually do, with a known device, or with the usual password as long as there are looks.", "")
		a.adviseAllow("If they are at a new place, let that place in for a while. Strangers elsewhere remain limited.")
		a.adviseDenials(rule, a.releasable())
	case limiter.RuleRepeat:
		a.adviseWrongPassword()
		a.advise("After a correction, nothing needs to be released: only the same wrong password is denied in this way.", "")
	case limiter.RuleSpray:
		a.advise("Have the user choose another password, which nobody else uses: attackers try this one at many accounts.", "")
	case limiter.RuleConnect, limiter.RuleOpen, limiter.RuleOpenPrelogin:
		a.advise("Have the user close programs that connect again and again, or have them wait a minute.", "")
		a.adviseAllow("If many users share the address, let them in for a while.")
		a.adviseRelease("Forget the connections that were counted.", a.networkName(), rule == limiter.RuleConnect)
	case limiter.RuleBlocked:
		a.advise("List what operators have decided.", "postern decisions")
	default:
		a.adviseCapacity(rule)
	}
	if s := settings(rule); s != "" && rule != limiter.RuleSpray && rule != limiter.RuleRepeat {
		a.advise("If it happens to many users, change the limit: "+s+".", "postern config "+strings.ReplaceAll(strings.ReplaceAll(s, "POSTERN_", ""), ",", ""))
	}
}

// adviseCapacity says what to do about a refusal for lack of capacity.
func (a *answer) adviseCapacity(rule limiter.Rule) {
	a.advise("Have the user try again in a few minutes. They have done nothing wrong, so there is nothing to release.", "")
	a.advise("See whether there is an attack, and whether all mail servers are up.", "postern check")
	switch rule {
	case limiter.RuleGlobal, limiter.RuleTarpit, limiter.RuleHandshakes:
		a.adviseAllow("If many users are at this address, let them in before strangers for a while.")
	}
}

// adviseDenials says what to do about a bucket of wrong passwords.
func (a *answer) adviseDenials(rule limiter.Rule, target string) {
	text := "When the user has corrected the password in all their programs, release what is counted."
	if rule == limiter.RuleAccount {
		text = "Or release the account: strangers then have as many guesses at its password again."
	}
	a.adviseRelease(text, target, true)
	if at, ok := a.freeAt(rule); ok {
		a.advise("Or wait until "+clock(at, a.Time)+": the next attempt is possible at about that time.", "")
	}
}

// adviseRelease says how to release target, if it can be named.
func (a *answer) adviseRelease(text, target string, on bool) {
	if on && target != "" {
		a.advise(text, "postern release "+target)
	}
}

// adviseAllow says how to allow the network of the subject.
func (a *answer) adviseAllow(text string) {
	if net := a.networkName(); net != "" && !a.now.Allowed {
		a.advise(text, "postern allow "+net+" -for 8h")
	}
}

// adviseEnd says what to do about a connection that ended without an attempt that
// explains it.
func (a *answer) adviseEnd(e *recent.Event) {
	end, _ := endOf(e.Result)
	switch end {
	case proxy.EndRefused, proxy.EndBlocked:
		a.adviseRule(limiter.Rule(e.Rule))
	case proxy.EndTries:
		a.adviseWrongPassword()
		a.advise("How many wrong passwords end a connection is set by POSTERN_TRIES.", "postern config TRIES")
	case proxy.EndTimeout:
		a.advise("Have the user try again. If their network is slow, raise POSTERN_LOGIN_TIMEOUT.", "postern config LOGIN_TIMEOUT")
	case proxy.EndProtocol:
		a.advise("Have the user compare the port and the kind of encryption in their program: ports 993 and 995 begin with TLS, ports 143 and 110 use STARTTLS.", "")
	case proxy.EndTLS:
		a.advise("Have the user compare the port, the kind of encryption and the server name in their program. It must support the version in POSTERN_TLS_MIN.", "postern config TLS_MIN")
		a.advise("Check the certificates.", "postern doctor")
	case proxy.EndProxyHeader:
		a.advise("List the load balancer, and nothing else, in POSTERN_PROXY_FROM, and have it send PROXY headers.", "postern config PROXY_FROM")
	case proxy.EndEvicted:
		a.advise("Have the user try again. If it happens to many users, raise POSTERN_LIMIT_OPEN_PRELOGIN or POSTERN_MAX_CONNECTIONS.", "postern config LIMIT_OPEN_PRELOGIN MAX_CONNECTIONS")
		a.adviseAllow("If many users share the address, let them in for a while.")
	case proxy.EndPanic:
		a.advise("Have the user try again, and report the fault with the lines of this session in the log, which have the stack.", "")
	default:
		a.advise("Have the user try again. If it happens again, check the mail servers.", "postern doctor")
	}
}

// passesNow reports whether a login of the subject that a rule has refused would not be
// refused now. Without an account, that is not known of rules about accounts.
func (a *answer) passesNow(rule limiter.Rule) bool {
	switch rule {
	case limiter.RuleRepeat, limiter.RuleSpray:
		return false
	case limiter.RulePair, limiter.RuleAccount:
		if a.account == "" {
			return false
		}
	}
	connects := a.now.Connect.Size == 0 || a.now.Connect.Spent < a.now.Connect.Size
	return a.observe || connects && a.now.Stranger.Action < limiter.Repeat
}

// freeAt is about when a bucket of a rule that is empty has a token again.
func (a *answer) freeAt(rule limiter.Rule) (at time.Time, ok bool) {
	for _, b := range a.now.Buckets {
		if b.Rule == rule && b.Size > 0 && b.Spent >= b.Size && b.Full > 0 {
			at, ok = a.Time.Add((b.Full/time.Duration(b.Size) + time.Second).Truncate(time.Second)), true
		}
	}
	return at, ok
}

// plainName are names that need no quotes in a shell.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_@+][A-Za-z0-9._@+-]*$`)

// printableName are names that mean themselves in single quotes and on a terminal.
var printableName = regexp.MustCompile(`^[\p{L}\p{N}\p{P}\p{S} ]+$`)

// releasable is the account as an argument of a command, else the address. A client has
// chosen the name: it must neither end the quotes nor look like a flag or an address.
func (a *answer) releasable() string {
	_, err := netip.ParseAddr(a.account)
	switch {
	case err == nil || a.account == "" || strings.HasPrefix(a.account, "-") || strings.ContainsAny(a.account, `'/\`):
	case plainName.MatchString(a.account):
		return a.account
	case printableName.MatchString(a.account):
		return "'" + a.account + "'"
	}
	return a.networkName()
}

// summary is the answer in one or two sentences.
func (a *answer) summary() string {
	var first string
	switch {
	case a.main != nil:
		first = clock(a.main.Time, a.Time) + ": " + strings.TrimSuffix(happened(a.main), ".")
	case a.subject == Account:
		first = "no refusal or wrong password is remembered of the account " + a.accountName()
	default:
		first = "no refusal or wrong password is remembered of " + a.About
	}
	second := "now a login " + verdictPhrase(a.now.Stranger)
	if v := a.now.Stranger; v.Action == limiter.Refuse && a.main != nil && a.main.Result == "refused" && a.main.Rule == string(v.Rule) {
		second = "a login would be refused now, too"
	}
	if a.now.Stranger.Action == limiter.Refuse && a.account != "" && a.now.Account.Known && a.now.Known.Action < limiter.Repeat {
		second += ", except with a known device or password"
	}
	if a.observe {
		second = "verdicts are only observed now, so a login would be let through"
	}
	return capital(first) + " " + capital(second)
}
