// Package loginlog reads logins from the logs of a mail service: from Dovecot's login log, 2.3 and 2.4, and from postern's
// own.
//
// A [Reader] reads several files, plain or compressed, and returns the events of all of them by time. It keeps neither
// the files nor the events in memory. What is learned from the events is not decided here.
//
// # Forms
//
// A line is one of
//
//	Nov 27 12:00:00 host dovecot: imap-login: ...             syslog (RFC 3164), journalctl -o short; also dovecot[123]
//	2026-11-27T12:00:00.123456+01:00 host dovecot: ...        syslog in files (ISO 8601), journalctl -o short-iso
//	<22>1 2026-11-27T12:00:00Z host dovecot 123 - - ...       syslog (RFC 5424)
//	Nov 27 12:00:00 imap-login: Info: ...                     Dovecot's own log file, also with an ISO time
//	{"__REALTIME_TIMESTAMP":"...","MESSAGE":"...",...}        journalctl -o json
//	{"ts":"...","event":"login",...}, ts=... event=login ...  postern's log, by itself or in one of the forms above
//
// or a line of a record of journalctl -o export. In Dovecot's log, these are logins:
//
//	Login: FIELDS, Logged in: FIELDS                          accepted, by 2.3 and 2.4
//	proxy(NAME): started proxying to HOST: FIELDS             accepted, by a Dovecot that is a proxy
//	Disconnected: ... (auth failed, N attempts ...): FIELDS   N denied; also Aborted login, Login aborted, and other reasons
//
// FIELDS is user=<NAME>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, and so on, as login_log_format_elements says; user
// must be the first.
//
// # What clients choose
//
// A client chooses the user name, and Dovecot logs all printable characters of it. A name may look like the end of the
// field and further fields. So the program, the verb and the first field are taken by their position, before anything that
// a client chose; every other field may appear once in a line; and a line in which anything is ambiguous counts as not
// understood. A name that Dovecot may have changed or cut is left out of the event.
package loginlog

import (
	"bytes"
	"net/netip"
	"time"
)

// An Event is what one line says about logins.
type Event struct {
	At       time.Time
	Addr     netip.Addr // of the client
	Account  string     // the user name; empty if the log does not have all of it
	Outcome  Outcome
	Attempts int  // how many attempts the line is about, at least one
	Known    bool // by postern's log: the client was known
}

// An Outcome is how a login ended.
type Outcome uint8

// The outcomes. Those after Denied are of postern's log, except Fault.
const (
	Accepted Outcome = iota
	Denied           // wrong credentials
	Fault            // the authentication service failed
	Repeat           // denied again without asking a backend
	Rejected         // refused by a rule about denials
	Shed             // refused for lack of capacity
)

// attemptsMost is the largest number of attempts that one line may stand for. Dovecot closes a connection earlier.
const attemptsMost = 16

// A meaning says what a line is.
type meaning uint8

const (
	other     meaning = iota // no login, as far as this package is concerned
	login                    // an event
	obscure                  // a login, or no line of a log at all, that is not understood
	continues                // part of a record of several lines
)

// examplesMost is how many lines that are not understood are kept, and exampleMax how many octets of each.
const (
	examplesMost = 5
	exampleMax   = 200
)

// Stats counts lines.
type Stats struct {
	Lines    int // all
	Logins   int // that are about a login
	Obscure  int // that are about a login and were not understood, or are no lines of a log
	Examples []Example
}

// An Example is a line that was not understood.
type Example struct {
	File string
	Line int
	Text string // its beginning, as it is in the file
}

// count counts a line of s, nil for the end of the file. It keeps examples from different places of a log rather than
// the first few lines of one burst: the lines number 1, 2, 4, 8 and 16 that were not understood.
func (st *Stats) count(s *source, m meaning, line []byte) {
	if st == nil {
		return
	}
	if line != nil {
		st.Lines++
	}
	switch m {
	case login:
		st.Logins++
	case obscure:
		st.Obscure++
		if len(st.Examples) < examplesMost && st.Obscure == 1<<len(st.Examples) {
			text := string(bytes.Clone(line[:min(len(line), exampleMax)]))
			st.Examples = append(st.Examples, Example{File: s.name, Line: s.number, Text: text})
		}
	}
}
