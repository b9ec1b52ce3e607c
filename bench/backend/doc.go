// Package backend is the mail server that stands behind every target of the
// bench. It is built for speed, knows every account there could be, and checks
// no more passwords a second than it is told to, as a real one could not.
//
//   - server.go opens the listeners and counts; control.go is the HTTP side,
//     which also answers nginx where to find the mail server.
//   - desk.go checks passwords at a limited rate, in the order they come.
//   - conn.go reads and writes, imap.go and pop3.go speak.
//   - idle.go says a line now and then to those who idle.
//
// The right password of an account is what [Secret] says. A mailbox named by a
// number holds one message of that many octets: SELECT 262144, then FETCH 1
// BODY.PEEK[]. What is appended is counted and forgotten.
//
// It runs as a process of its own, so that its CPU time is nobody else's; a
// target named "direct" is this server without anything in front.
package backend
