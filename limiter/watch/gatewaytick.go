package watch

import (
	"math/bits"
	"net/netip"
	"time"
)

// The bounds of the lists of a gatewayTick.
const (
	tickGuesses     = 128 // sampled from all suspects
	tickAcceptances = 20
	tickAbused      = 20
)

// A gatewayTick has the counts of one gateway in a tick, for the watches of the other gateways.
type gatewayTick struct {
	counts counts
	slow   map[netip.Prefix]uint8 // suspects of a network that can be part of a slow spray, sprayQuiet+1 at most
	proven [provenKinds]accountSet

	guesses  []sharedGuess // a fair sample of the suspects
	suspects int           // all of them
	distinct Distinct      // likewise

	acceptances []Acceptance // accounts that were accepted from networks which attack
	rules       []RuleCounts
	abuses      []Abuse // accounts that became abused
	abused      int     // abused accounts, in the last hour
	abuseAlarm  bool    // too many of them
}

// A sharedGuess is a suspect, as far as hours need it.
type sharedGuess struct {
	source  netip.Prefix
	network netip.Prefix
	account string // folded
}

func newGatewayTick() *gatewayTick {
	return &gatewayTick{counts: newCounts(), slow: map[netip.Prefix]uint8{}}
}

// suspect adds a suspect. Of more suspects than are kept, each is kept with the same probability (Algorithm R, Vitter 1985).
// What decides is a hash whose key attackers do not know.
func (k *gatewayTick) suspect(h hasher, a *hashedAttempt) {
	k.suspects++
	k.distinct.Accounts.add(a.accountHash)
	k.distinct.Sources.add(h.block(a.Source))
	k.distinct.Networks.add(a.networkHash)
	g := sharedGuess{a.Source, a.Network, a.name}
	if len(k.guesses) < tickGuesses {
		k.guesses = append(k.guesses, g)
		return
	}
	random := (a.accountHash ^ bits.RotateLeft64(a.networkHash, 32) ^ uint64(k.suspects)) * 0x9e3779b97f4a7c15
	if place, _ := bits.Mul64(random, uint64(k.suspects)); place < tickGuesses {
		k.guesses[place] = g
	}
}

// slowly adds a suspect from a network that can be part of a slow spray.
func (k *gatewayTick) slowly(network netip.Prefix) {
	n, there := k.slow[network]
	if n <= sprayQuiet && (there || len(k.slow) < tickNetworks) {
		k.slow[network] = n + 1
	}
}

// accepted adds an account whose password should be reset.
func (k *gatewayTick) accepted(a Acceptance) {
	if len(k.acceptances) < tickAcceptances {
		k.acceptances = append(k.acceptances, a)
	}
}

// abuse adds an account that became abused at t.
func (k *gatewayTick) abuse(t time.Time, a *hashedAttempt, u use) {
	if u.first && len(k.abuses) < tickAbused {
		k.abuses = append(k.abuses, Abuse{Time: t, Account: a.name, Logins: u.logins, Habit: u.habit(), Networks: max(1, u.fresh)})
	}
}

// weight returns how many suspects the guess with this index stands for.
func (k *gatewayTick) weight(i int) int {
	n := len(k.guesses)
	return k.suspects*(i+1)/n - k.suspects*i/n
}
