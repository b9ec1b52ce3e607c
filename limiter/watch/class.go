package watch

import "slices"

// A Class is what the watch calls the present situation. Its text is the word used in logs, metrics and messages.
type Class string

// The classes. Where several apply, the last of them in this list is reported; [State] has the others.
const (
	ClassNormal       Class = "normal"
	ClassLearning     Class = "learning"      // less than a day is known
	ClassGrowth       Class = "growth"        // more logins for hours, without more suspects
	ClassNotice       Class = "notice"        // enough excess to tighten limits for strangers, not enough to tell people
	ClassSingleSource Class = "single_source" // few networks make the excess; the limiter handles that
	ClassImpaired     Class = "impaired"      // the known are not served, and nothing below explains it
	ClassStorm        Class = "storm"         // sessions were lost, and clients reconnect all at once
	ClassBackendFault Class = "backend_fault" // backends do not answer
	ClassAuthFault    Class = "auth_fault"    // the known are denied: the password database is at fault
	ClassAttack       Class = "attack"        // many strangers are denied
)

// Classes returns every class, the mildest first.
func Classes() []Class {
	return []Class{
		ClassNormal, ClassLearning, ClassGrowth, ClassNotice, ClassSingleSource, ClassImpaired, ClassStorm,
		ClassBackendFault, ClassAuthFault, ClassAttack,
	}
}

// Graver returns the graver of two classes.
func Graver(a, b Class) Class {
	if slices.Index(Classes(), b) > slices.Index(Classes(), a) {
		return b
	}
	return a
}
