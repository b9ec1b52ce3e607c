package watch

import "time"

// A UserResult is how a known user was served. Its text is used in metrics.
type UserResult string

// The results.
const (
	UserGood    UserResult = "good"    // accepted, and greeted within 2.5 s
	UserSlow    UserResult = "slow"    // accepted, but greeted or made to wait for longer than that
	UserLimited UserResult = "limited" // refused by postern: for lack of capacity, or although the credential worked before
	UserFault   UserResult = "fault"   // failed because of a backend
	UserDenied  UserResult = "denied"  // denied, or refused for denials of their own, without a credential that worked before
)

// UserResults returns every result.
func UserResults() []UserResult {
	return []UserResult{UserGood, UserSlow, UserLimited, UserFault, UserDenied}
}

// promptGreeting is how long the greeting may take for a known user's login to count as good.
const promptGreeting = 2500 * time.Millisecond

// UserResult returns how the attempt was served, or "" if it does not count: it is not known, or the client left.
//
// Known attempts that are refused for denials do not count as limited by postern unless they show the credential that was
// accepted last: else everybody with one account could raise an alarm by guessing at it.
func (a *Attempt) UserResult() UserResult {
	if !a.Known {
		return ""
	}
	switch a.Outcome {
	case Accepted:
		if a.Greeting > promptGreeting || a.Waited > promptGreeting {
			return UserSlow
		}
		return UserGood
	case Denied, Repeat:
		return UserDenied
	case Rejected:
		if a.Worked {
			return UserLimited
		}
		return UserDenied
	case Shed:
		return UserLimited
	case Fault:
		return UserFault
	}
	return ""
}
