package watch

import "time"

// When denials of proven credentials are a fault.
const (
	provenShare = 0.08 // of the accounts in one of the windows
	provenLeast = 8    // accounts
)

// changesKept is what is left of the number of changes after a tick.
var changesKept = 1 - fading(time.Hour)

// provenWindows are the times over which denials are counted, in ticks, the longest last.
var provenWindows = [...]int{6, 12, recentTicks}

// proven counts the accounts whose proven credential, the one that was accepted last, is accepted or denied now. If the
// password database fails, proven credentials are denied, whatever address they come from. Somebody who does not know the
// password cannot show one.
//
// A person who changes the password makes the old one fail, too, until one of their programs has the new one. So accounts
// that were accepted with a new credential do not count, and for each of them in the last hour one more is expected to
// follow.
type proven struct {
	accepted [recentTicks]accountSet
	denied   [recentTicks]accountSet
	n        int // ticks
	latest   int // the latest tick with an attempt

	changed      [2]accountSet // accepted with a new credential, in the last one to two hours
	deniedLately [2]accountSet // denied with the proven one, likewise
	changes      float64       // number of changes, with a half-life of an hour
	began        time.Time     // of the first of each pair
}

// A provenKind is what an attempt says about a credential that worked.
type provenKind uint8

const (
	provenDenied   provenKind = iota // it is denied now
	provenAccepted                   // it is accepted now
	provenRenewed                    // another one was accepted for the account
	provenKinds
)

// provenKind returns what a says, which proves something.
func (a *Attempt) provenKind() provenKind {
	switch {
	case a.Outcome == Accepted && a.Worked:
		return provenAccepted
	case a.Outcome == Accepted:
		return provenRenewed
	}
	return provenDenied
}

// attempt counts an attempt at t.
func (p *proven) attempt(t time.Time, a *hashedAttempt) { p.add(t, a.provenKind(), a.accountHash) }

// add counts an attempt at t on the account with this hash.
func (p *proven) add(t time.Time, kind provenKind, account uint64) {
	if t.Sub(p.began) >= time.Hour {
		p.began = t
		p.changed = [2]accountSet{{}, p.changed[0]}
		p.deniedLately = [2]accountSet{{}, p.deniedLately[0]}
	}
	p.latest = p.n
	i := p.n % recentTicks
	switch kind {
	case provenAccepted:
		p.accepted[i].add(account)
	case provenRenewed:
		if denied := p.deniedLately[0].has(account) || p.deniedLately[1].has(account); denied && !p.hasChanged(account) {
			p.changed[0].add(account)
			p.changes++
		}
	case provenDenied:
		p.denied[i].add(account)
		p.deniedLately[0].add(account)
	}
}

// hasChanged reports whether the account was accepted with a new credential in the last hour.
func (p *proven) hasChanged(account uint64) bool {
	return p.changed[0].has(account) || p.changed[1].has(account)
}

// tick ends a tick. It returns the share of the accounts that are denied, over 5 min, and whether there is a fault. In
// the first minute there is none: the clients with a wrong password retry most often, and are the first to be counted.
func (p *proven) tick() (share float64, fault bool) {
	p.changes *= changesKept
	p.n++
	if p.n-p.latest > recentTicks {
		return 0, false
	}
	for _, ticks := range provenWindows {
		denied, all := p.window(ticks)
		fault = fault || p.n >= provenWindows[0] && denied >= provenLeast && denied >= provenShare*all
		share = denied / max(all, 1)
	}
	i := p.n % recentTicks
	p.accepted[i], p.denied[i] = accountSet{}, accountSet{}
	return share, fault
}

// window returns the estimated number of accounts that were denied in the last ticks, without those that changed, and of
// all.
func (p *proven) window(ticks int) (denied, all float64) {
	var d, either accountSet
	for i := max(0, p.n-ticks); i < p.n; i++ {
		for k := range d {
			d[k] |= p.denied[i%recentTicks][k]
			either[k] |= p.accepted[i%recentTicks][k]
		}
	}
	for k := range d {
		d[k] &^= p.changed[0][k] | p.changed[1][k]
		either[k] |= d[k]
	}
	return max(0, d.count()-p.changes), either.count()
}
