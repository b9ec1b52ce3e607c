// Package incident keeps the record of incidents: what was noticed, what was done about it, and by whom.
//
// A watch reports a state every 10 s. People need one thing to talk about that has a beginning, a course and an end. A
// [Log] makes that out of the states ([Log.Observe]) and of what people do ([Log.Do]). An [Incident] goes through phases,
// from suspected to resolved. At most one is open at a time: other trouble that comes meanwhile is attached to it.
//
// All that is known of an incident follows from its events. Every method that changes something returns the events it
// made. The caller appends them to a file, one line of JSON each, and after a restart [Replay] reads the lines again.
//
// The package stops there. It writes no file, sends no message and publishes nothing. Like package watch it has no clock,
// no goroutine and no I/O: every method takes the time.
package incident
