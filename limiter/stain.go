package limiter

import "time"

// A stain outlives the buckets. While everybody can be served it changes nothing. When strangers are too many, those go
// last who come from where denials came from, or who ask again and again; and those go first who were turned away once
// or twice for want of a turn and have come back, as people and mail programs do and attackers with addresses to waste
// do not.
const (
	stainOfDenial = time.Hour        // how long a denial counts against its source
	stainOfVain   = 15 * time.Minute // how long a source that was turned away is remembered
	patience      = 2                // how often it may be turned away and still goes first

	networkDenial = 15 * time.Minute // what one denial adds to the stain of its network
	networkVain   = 3 * time.Minute  // what one who was turned away adds
	networkShows  = 40 * time.Minute // a longer stain of a network counts: from the third denial in an hour
	networkMax    = 2 * time.Hour
)

// denied is the vain of a source that was denied.
const denied = 255

// soil marks e with a denial, or with an attempt that was turned away for want of a turn. Pairs and accounts say nothing
// of where an attempt comes from.
func (e *entry) penalize(now ticks, wasDenied bool) {
	switch e.kind {
	case ofSource:
		e.soilSource(now, wasDenied)
	case ofNetwork:
		by := networkVain
		if wasDenied {
			by = networkDenial
		}
		e.penaltyUntil = min(max(e.penaltyUntil, now).add(by), now.add(networkMax))
	}
}

func (e *entry) soilSource(now ticks, wasDenied bool) {
	if e.penaltyUntil <= now {
		e.starved = 0
	}
	if wasDenied {
		e.starved, e.penaltyUntil = denied, now.add(stainOfDenial)
		return
	}
	e.starved = max(e.starved, min(e.starved+1, denied-1))
	e.penaltyUntil = max(e.penaltyUntil, now.add(stainOfVain))
}

// rank returns the class of a stranger of class c who falls into e.
func (e *entry) rank(now ticks, c class) class {
	switch {
	case e.penaltyUntil <= now || c == penalized:
		return c
	case e.kind == ofSource && e.starved > patience, e.kind == ofNetwork && now.until(e.penaltyUntil) > networkShows:
		return penalized
	case e.kind == ofSource:
		return returning
	}
	return c
}
