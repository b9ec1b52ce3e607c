// Package incident keeps incidents: what was detected, what was done about it, and by which person.
//
// A watch reports a state every 10 s. An operator needs one incident with a beginning and an end instead. A [Log] makes it
// from the states ([Log.Observe]) and from the commands of people ([Log.Do]). An [Incident] goes through phases, from
// suspected to resolved. At most one is open at a time: other trouble in this time is attached to it.
//
// An incident is the result of its events. Every method that changes something returns the new events, to be appended to a
// file, one line of JSON each. After a restart [Replay] reads the lines. What was seen of the trouble that is on is lost
// then. At an upgrade the next process takes over that as well, with [Log.Export] and [Import].
//
// The package stops there. It writes no file, sends no message and publishes nothing. Like package watch it has no clock,
// no goroutine and no I/O: every method takes the time.
package incident
