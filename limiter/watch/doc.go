// Package watch decides whether all logins together look like an attack.
//
// Rules for one source or one account cannot detect an attack from very many addresses with a few attempts each. This
// package counts all attempts and compares them with the usual ones at this time of the week.
//
// A [Watch] gets every attempt when it is settled, and every session when it begins and ends. Each tick of 10 s it
// evaluates its counts and returns a [State]. Each minute and each hour it returns the counts as a [Minute] and an [Hour].
// What it has learned can be saved and restored as a snapshot. Its whole state, the evidence of the last seconds
// included, can be exported to the process that takes over at an upgrade.
//
// The package stops there. It changes no limit, sends no message and stores nothing. Package incident makes incidents out
// of the states, and package report makes reports out of incidents, minutes and hours. There is no clock, no goroutine and
// no I/O here. Every method takes the time, so a test can simulate a week in seconds.
//
// # Terms
//
//	suspect      a new guess by a stranger, or an attempt or connection of theirs that ends without an answer
//	networks     the distinct networks behind the suspects of one tick
//	expected     the usual rates in this quarter-hour of the week, in local time
//	busy         logins in a busy hour, without suspects; excess is measured by it
//	excess       suspects above the expected, each network counted only up to a cap, as a share of busy
//	score        grows as long as more networks than usual are behind the suspects
//	notice       excess of 4.5 %: limits for strangers may be tightened; no alert
//	attack       excess of 10 %: alert
//	proven       a credential that was the last one accepted for its account
//	quiet        a network with one to three suspects in an hour
//	habit        the most logins to an account in an hour, slowly decaying
//
// # Suspects
//
// Mail programs with an old password repeat it. Attackers show new ones. So a denied or rejected attempt by a stranger is a
// suspect if its source, account and credential have not been seen for half a day to a day. Without a credential it counts
// once in ten minutes. A credential that worked before never counts: it was changed, or the password database fails.
//
// A stranger's attempt without an answer counts once in ten minutes for each guess: the client hung up, or something was
// full. So does a connection that is held without an attempt, for each source. But users who are strangers hang up, too,
// and more often in an outage or when all clients reconnect. So of these suspects only those beyond
//
//	1.5 E_A R + 2 max(0, 0.8 E_K - K)
//
// count. E_A is the expected number of strangers accepted. E_K and K are the expected and the answered attempts of the
// known. R is how many times as many attempts as expected the known make.
//
// # Attacks
//
// A rise in volume comes late in an attack, and often has harmless reasons. But nearly all logins that an attack adds are
// denied, come from strangers, and each of them comes from another network. So in each tick the watch counts the networks
// behind suspects, D, and the suspects, F. Each network counts at most max(1, 0.5 % of busy). Where one suspect a tick is
// more than 0.5 %, at fewer than 20 logins a second, a network counts once in several ticks.
//
//  1. E_D and E_F are expected: the mean of the same quarter-hour in former weeks, or of yesterday if that is larger.
//  2. z = (D - 1.25 E_D) / sqrt(phi (E_D + 1)), where phi is the recent variance of D over the variance by chance. Then
//     score = max(0, score + min(z, 4) - 0.5). It must be above 8. As z is cut off at 4, no single tick is enough.
//  3. excess = mean of (F - E_F) with a half-life of 30 s, as a share of busy. It must reach 4.5 % for a notice and
//     10 % for an attack, or more where logins are so few that chance could do it. Both must hold for 30 s.
//  4. A notice or an attack ends when excess stays below 60 % of its limit for 30 min.
//  5. Nothing is learned while there is any trouble. One week changes what is expected by x0.6 to x1.6 at most. Suspects
//     beyond the accepted attempts are never learned, unless a person has said that they are usual: then up to x1.6 of
//     what they were.
//
// # The first day
//
// As long as nothing is learned, there is an attack if one of these holds for 30 s:
//
//   - From the first minute on, unless nothing is accepted at all: in two minutes there are at least 30 new guesses, 2.5
//     times as many as accepted attempts, from 20 networks or more.
//   - After half an hour: excess is 15 % of what a busy hour is assumed to have, and the score is above 8. A busy hour is
//     assumed to have the most logins an hour has had so far. If it is more, it is the logins accepted now, divided by 0.8
//     by day, 0.4 in the early morning and the evening, and 0.15 at night.
//   - After half an hour: for a minute, suspects are 40 % of the most logins an hour has had so far and at least one a
//     second, from three times as many networks as in the hours before.
//
// # Faults
//
// Attempts on a backend that is down end as faults. A failing password database denies proven credentials, which only their
// owners can show, from whatever address. There is a fault of authentication if, in one, two or five minutes, 8 % of the
// accounts with a proven credential are denied, and at least eight.
//
// People who change their password cause such denials, too. So accounts that are accepted with a new credential after that
// do not count, and as many more as changed in the last hour are subtracted. Where no credentials are known, 25 % of the
// attempts of the known must be denied; as long as nothing is learned, it is also a fault if in five minutes nothing is
// accepted and at least 30 attempts are denied, from 20 networks or more. Suspects that a fault explains are not counted.
//
// # Account abuse
//
// Stolen passwords that work cause no denials. They cause more logins to an account than are usual for it. So the watch
// keeps for each account, by a keyed hash, the accepted logins of this hour and a habit: the most logins of an hour,
// decaying by half in four weeks. An account is abused in an hour with more than 20 logins and
//
//   - more than four times its habit, or twice with five logins from networks that the account was never accepted from;
//   - if it has no habit yet, more than four times what 99.9 % of the accounts do; with five logins from such networks, 20
//     are enough.
//
// When clients reconnect after an outage, all accounts have more logins. So all these limits are multiplied by the growth
// of the frequent accounts over their habits, up to x4. It is the growth that 40 % of them do not reach, so an attacker must
// use 60 % of them to change it.
//
// The class is account_abuse when more accounts are abused in an hour than 10, than 0.2 % of the active ones, and than twice
// the usual number plus five standard deviations. It ends when there have been fewer than 60 % of that in this hour and in
// the one before, for 30 min. During an alarm nothing is learned from abuse. On the first day there is none.
//
// # Slow sprays
//
// Attempts of very many networks, one or two an hour each, are below 10 % of a busy hour and are no attack. So the watch
// counts the quiet networks of each hour. Old passwords, the password that worked last, and networks that the account was
// accepted from are left out. It expects the mean of the same hour in the last four weeks. The class is slow_spray when
//
//   - the excess over 100 min is at least 4.5 % of busy and 4.5 standard deviations of what it was in former weeks, and 60 %
//     of that in nine of ten parts of 10 min. A wave of bots ends sooner. A part counts for x1.5 at most; or
//   - the sum of 24 h is at least x1.3 of what is expected and 4.5 standard deviations above it, and half of that excess
//     is there in two thirds of the day. This is for large sites, where 4.5 % of busy is much. It needs two weeks of history.
//
// It ends when the excess has been below 60 % for 3 h. An hour is learned a day later, unless there has been an alarm. While
// an attack or a failing password database explains the denials, what is expected counts instead.
//
// # Several gateways
//
// A site can have several gateways. Each tick, a gateway takes its own counts ([Watch.TakeTick]) and adds those of the others
// ([Watch.AddTick]). All evaluate the sum, ten seconds after the tick, so they come to the same result at the same time. What
// was learned is then of the whole site. A gateway that has learned alone before multiplies that, when it has had counts of the
// others for 5 min, by the logins of the known at all of them per login of its own.
//
// These are summed: outcomes, how the known were served, sessions, suspects by network, the accounts with a proven
// credential that were accepted or denied, the quiet networks, and of the hour the numbers of distinct sources, networks and
// accounts, the rules, and the accounts whose password should be reset. Of more than 2,000 networks in a tick, or fewer if
// 32 KB are not enough, those with the fewest suspects are only counted; one that attacks at several gateways counts at each then.
// Of more than 128 suspects in a tick, the most frequent sources, networks and accounts of the hour are from a fair sample.
//
// These each gateway evaluates for itself:
//
//   - The habits of accounts, and whether too many are abused. An alarm of one gateway is one of all. But an attacker who
//     spreads the logins to an account over N gateways can have N times as many in an hour before it counts as abused.
//   - Whether a guess is new. A program with an old password counts once at each gateway, so do repeated guesses: an attacker
//     who repeats them looks larger, not smaller, and what is expected includes it.
//   - Which networks attack, if one gateway alone has more than 128 suspects in a tick: an account that is accepted at another
//     gateway from such a network may be missed in the list of passwords to reset.
//
// A gateway that cannot reach the others ([Watch.SetAlone]) sees a part of the site. It expects as much of what was learned as
// is its share in the logins of the known before, or as the known make now if that is more, because clients of the others may
// come to it. It learns nothing then, and detects no slow spray. After a day it is taken for the whole site. The
// alert for the incident of 2022 comes 3 to 4 min later then with three gateways, and up to 7 min with eight
// (TestSimulationGatewaysAlone); if the whole were expected, it would come 15 min later or not at all. An attacker who
// attacks one gateway alone gains nothing by that. A gateway that leaves the site changes nothing that is expected.
//
// # Limits
//
// Attackers who know all this can stay below the limits. The figures are of simulated weeks at 20 logins a second at the
// peak, about a million a day (TestSimulationAdversary prints them). They scale with the logins of a busy hour.
//
//   - Attackers who stay 2 % of a busy hour above what is expected, at all hours, are never noticed, and the watch learns
//     from them: they have 73,000 attempts a day in the first week, 125,000 in the fourth, 237,000 in the eighth. A week
//     raises the baseline by x1.18 at most, today and yesterday add x1.5 and x1.6, and the drift shows it: x1.9 after four
//     weeks. From there on an attack is reported only when it is 10 % above that.
//   - Attackers who stay 3.5 % above and pause during every notice are noticed most of the time, because others make small
//     waves too. They have 27,000 to 33,000 attempts a day, and the watch learns nothing from them.
//   - Attackers who stay 6 % above, 122,000 attempts a day, meet such a wave within days. Then there is an alert for as
//     long as they continue.
//   - Attackers who count as known are no suspects. For that they need the right password, or a device or an address
//     of the account's owner. Where this was 30 % of the attack of 2022, the alert came after 11 min,
//     not 8.
//   - Attackers in few networks count for no more than 0.5 % of a busy hour with each. With fewer than 20 networks they are
//     a single_source at most, however many attempts they make. The limits for sources and networks are for them.
//   - Attackers who try right passwords stolen elsewhere, one after the other, are not denied. The hours list accounts that
//     were accepted from networks which were denied others, nothing more.
//   - Attackers who repeat guesses are not seen, because they learn nothing by it. So many that it is a load are the
//     business of the limits for connections.
//   - Attackers who hang up or hold connections may add 1.5 times the strangers usually accepted before any of it counts,
//     which is 4 % of a busy hour here, and more in an outage: with all backends down and threefold retries, 1.7 times a
//     busy hour.
//   - Attackers with accounts of their own, some 8 % of all that are in use, can make a fault of authentication by showing
//     old passwords. It hides no attack: it explains 1.5 times the strangers usually accepted, at most.
//   - On the first day, a password database that refuses most but not all users within the first minutes looks
//     like an attack, because no credential is proven yet. An attack of less than 15 % of a busy hour is learned.
//   - A restart without a hand-over forgets the guesses: each program with an old password counts once more, unless that password worked.
//   - Attackers who use a stolen account for at most 20 logins an hour, or four times its habit, are not seen. The habit of a
//     settled account rises by 6 % in an hour with logins at most: to raise it fourfold first takes a day. Only
//     accepted logins fill the table of habits; of more than 2^18 accounts the settled ones are kept.
//   - Attackers who are always 20 % above the expected number of quiet networks have 9,800 attempts a day in the first
//     week, 17,400 in the fourth and 40,600 in the eighth (TestSimulationSlowSprayAdversary). Those with four or more
//     attempts an hour from each network are not counted as quiet; what is said above about attacks holds for them.
//   - A false alarm costs an attacker what it is about: 11 accounts whose passwords they have, or hours of denials from
//     as many networks.
//
// The limiter bounds what these attempts can reach, not this package: each account has a handful of denials by strangers
// an hour, however many come.
package watch
