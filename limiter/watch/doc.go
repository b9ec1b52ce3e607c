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
//     10 % for an attack (more where logins are so few that chance could do it). Both must hold for 30 s.
//  4. It ends when excess stays below 60 % of its limit for 30 min.
//  5. Nothing is learned while anything is amiss, and a week may teach no more than x0.6 to x1.6.
//
// On the first day nothing is known, and only what is an attack by any measure counts: for a minute 40 % of the most logins
// an hour has had so far, one a second at least, from three times as many networks as in the hours before.
//
// A backend that is down settles its attempts as faults, and a broken password database denies the known as well: both
// are told apart from an attack by that. Suspects that it explains are not held against strangers.
//
// # What it cannot see
//
// Who knows all this can stay below it. The figures are of simulated weeks at 20 logins a second at the peak, about
// a million a day (TestAdversary prints them). They scale with the logins of a busy hour.
//
//   - Who stays 2 % of a busy hour above what is expected, at all hours, is never noticed, and is learned from: he has
//     72,000 attempts a day in the first week, 119,000 in the fourth, 223,000 in the eighth. A week teaches no more than
//     x1.18, today and yesterday add x1.5 and x1.6, and the drift shows it: x1.9 after four weeks. From there on an attack
//     is told of only when it is 10 % above that.
//   - Who stays 3.5 % above and hides whenever there is a notice is noticed most of the time, because others make small
//     waves too: 25,000 to 33,000 attempts a day, and nothing is learned from him.
//   - Who stays 6 % above, 122,000 attempts a day, meets such a wave within days. Then people are told, and it counts as
//     an attack for as long as he goes on.
//   - Who passes for known is no suspect. For that he must have the right password, or come from a network that the
//     account was accepted from before. Where 30 % of the attack of 2022 did, people were told after 11 min, not 8.
//   - Who comes from few networks counts for no more than 0.5 % of a busy hour with each. With fewer than 20 of them he is
//     a single_source at most, however loud. The rules about sources and networks are for him.
//   - Who tries one right password after the other, stolen elsewhere, is denied by nobody. The report lists accounts that
//     were accepted from networks which were denied others, nothing more.
//
// What these attempts can reach is bounded by the limiter, not here: each account has a handful of denials by strangers
// an hour, however many come.
package watch
