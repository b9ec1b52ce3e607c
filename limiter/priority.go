package limiter

import "time"

// A class is a group of attempts of equal priority.
type class uint8

const (
	classKnown       class = iota // before all strangers
	classReturning                // strangers whose source was starved once or twice and tries again
	classUnpenalized              // strangers without a penalty
	classPenalized                // strangers whose source or network has a penalty
	classCount
)

// A Priority decides which attempts are served first where not all can be: the known first; then strangers, one from
// each network in rotation. Of every eight strangers, five are returning, two unpenalized and one penalized, while
// attempts of each class queue. A ticket has one, see [Ticket.Priority]. The zero value is that of the known.
type Priority struct {
	class class
	flow  key // strangers of one flow are served in rotation with other flows
}

// Known reports whether p goes before all strangers. A known attempt beyond its share of the reserved lane does not.
func (p Priority) Known() bool {
	return p.class == classKnown
}

// String describes p for operators.
func (p Priority) String() string {
	return [...]string{"known", "returning stranger", "stranger", "penalized stranger"}[p.class]
}

// A penalty outlives the denials in the buckets. It has no effect while everybody can be served. When there are too
// many strangers, those from a source or network with denials, or that ask again and again, get the fewest tokens, and
// those that were starved once or twice and try again get the most: people and mail programs try again, attackers with
// many addresses do not.
const (
	deniedPenalty  = time.Hour        // the penalty of a source after a denial
	starvedPenalty = 15 * time.Minute // the penalty of a source after it was starved
	starvedLimit   = 2                // up to this many times starved, a source keeps its better priority

	networkDeniedPenalty  = 15 * time.Minute // added to the penalty of a network by each denial
	networkStarvedPenalty = 3 * time.Minute  // added by each starved attempt
	networkThreshold      = 40 * time.Minute // a network's penalty has an effect above this: from the third denial in an hour
	networkPenaltyMax     = 2 * time.Hour
)

// starvedDenied is the value of entry.starved for a source that was denied.
const starvedDenied = 255

// penalize adds a penalty to e for a denial, or for a starved attempt. Pairs and accounts get none: they do not say
// where an attempt comes from.
func (e *entry) penalize(now ticks, denied bool) {
	switch e.kind {
	case kindSource:
		e.penalizeSource(now, denied)
	case kindNetwork:
		by := networkStarvedPenalty
		if denied {
			by = networkDeniedPenalty
		}
		e.penaltyUntil = min(max(e.penaltyUntil, now).add(by), now.add(networkPenaltyMax))
	}
}

func (e *entry) penalizeSource(now ticks, denied bool) {
	if e.penaltyUntil <= now {
		e.starved = 0
	}
	if denied {
		e.starved, e.penaltyUntil = starvedDenied, now.add(deniedPenalty)
		return
	}
	e.starved = max(e.starved, min(e.starved+1, starvedDenied-1))
	e.penaltyUntil = max(e.penaltyUntil, now.add(starvedPenalty))
}

// priorityClass returns the class of a stranger of class c after the penalty of e.
func (e *entry) priorityClass(now ticks, c class) class {
	switch {
	case e.penaltyUntil <= now || c == classPenalized:
		return c
	case e.kind == kindSource && e.starved > starvedLimit, e.kind == kindNetwork && now.until(e.penaltyUntil) > networkThreshold:
		return classPenalized
	case e.kind == kindSource:
		return classReturning
	}
	return c
}
