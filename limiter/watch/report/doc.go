// Package report makes the report on an incident: what happened, how many users were affected, who was behind it and what
// was done.
//
// After an incident people have to explain it, to colleagues and to the public. Most of that is figures, and the figures
// are known here. A [History] keeps the minutes and hours that a watch hands out, and [New] makes a [Report] out of them
// and of the incident. A report has two forms: the internal one has everything; the public one has no addresses, no names
// and no thresholds. Each can be written as JSON or as Markdown.
//
// The package stops there. It decides nothing and sends nothing, and what only people can tell is marked as still to be
// written. Like package watch it has no clock, no goroutine and no I/O: every method takes the time.
package report
