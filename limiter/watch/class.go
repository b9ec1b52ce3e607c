package watch

import "slices"

// A Class says what the watch takes the present for. Its text is the word used in logs, metrics and messages.
type Class string

// The classes. Where several apply, the one further down here is told; [State] has the others.
const (
	ClassNormal       Class = "normal"
	ClassLearning     Class = "learning"      // too early to tell: less than a day is known
	ClassGrowth       Class = "growth"        // more logins for hours, none of it by suspects
	ClassNotice       Class = "notice"        // excess enough to tighten limits for strangers, not to tell people
	ClassSingleSource Class = "single_source" // few networks make the excess; the limiter handles that
	ClassImpaired     Class = "impaired"      // the known are not served, and nothing below explains it
	ClassStorm        Class = "storm"         // sessions were lost, and clients come back all at once
	ClassBackendFault Class = "backend_fault" // backends do not answer
	ClassAuthFault    Class = "auth_fault"    // the known are denied: the password database is at fault
	ClassAttack       Class = "attack"        // many strangers are denied
)

// Classes returns every class there is, from the mildest to the one that speaks over all others.
func Classes() []Class {
	return []Class{
		ClassNormal, ClassLearning, ClassGrowth, ClassNotice, ClassSingleSource, ClassImpaired, ClassStorm,
		ClassBackendFault, ClassAuthFault, ClassAttack,
	}
}

// graver returns the graver of two classes.
func Graver(a, b Class) Class {
	if slices.Index(Classes(), b) > slices.Index(Classes(), a) {
		return b
	}
	return a
}
