// Package report makes the report on an incident: what happened, how many users were affected, where it came from and what
// was done.
//
// After an incident operators have to explain it, to colleagues and to the public. Most of that is figures, which are known
// here. A [History] keeps the minutes and hours that a watch returns, and [New] makes a [Report] from them and from the
// incident. A report has two forms: the internal one has everything; the public one has no addresses, no names and no
// thresholds. Each can be written as JSON or as Markdown.
//
// The package stops there. It decides nothing and sends nothing. What only people can write is marked as to do. Like
// package watch it has no clock, no goroutine and no I/O: every method takes the time.
package report
