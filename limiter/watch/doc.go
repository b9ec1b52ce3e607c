// Package watch asks one question of all logins together: is this an attack?
//
// A [Watch] is told of every attempt when it is settled and of every session when it begins and ends. Each 10 s it closes
// a tick and says what it sees ([State]); each minute and each hour it hands out what it counted ([Minute], [Hour]) for a
// [History]. [Incidents] makes a record of one attack out of the states, and a [Report] is drawn from both. Nothing here
// acts: whoever asks may tighten limits, tell people or publish. The package contains no clock, no goroutine and no I/O.
// Every method takes the time of what it is told, so a test can play a week in no time.
//
// # Words
//
//	suspect      an attempt by a stranger that was denied, or rejected for earlier denials
//	networks     the distinct networks behind the suspects of one tick
//	expected     what this quarter-hour of the week brought so far, in local time
//	busy         logins in a busy hour that are no suspects; excess is measured by it
//	excess       suspects above the expected, each network counted only up to a cap, as a share of busy
//	score        how sure it is that more networks are behind them than usual
//	notice       excess of 4.5 %: limits for strangers may be tightened, and nobody is told
//	attack       excess of 10 %: people are told
//	incident     the record of what was noticed, what was done about it and who said so
//
// # How it decides
//
// Volume rises late and rises for harmless reasons too. But nearly all logins that an attack adds are denied, come from
// people who do not belong here, and each from a network of its own. So of each tick it takes the networks behind
// suspects, D, and the suspects, F, each network counted at most max(1, 0.5 % of busy):
//
//  1. E_D and E_F are expected: the mean of the same quarter-hour of former weeks, or of yesterday if that is larger.
//  2. z = (D - 1.25 E_D) / sqrt(phi (E_D + 1)); score = max(0, score + min(z, 4) - 0.5). It must be above 8. As z is cut
//     off at 4, no single tick can do that. phi is how much more than by chance D has varied of late.
//  3. excess = mean of (F - E_F) with a half-life of 30 s, as a share of busy. It must be at 4.5 % for a notice, at
//     10 % for an attack. Both must hold for 30 s.
//  4. It ends when excess stays below 60 % of its limit for 30 min.
//  5. Nothing is learned while anything is amiss, and a week may teach no more than x0.6 to x1.6.
//
// A backend that is down settles its attempts as faults, and a broken password database denies the known as well: both
// are told apart from an attack by that. Suspects that it explains are not held against strangers.
package watch
