// Package proxytest is what stands around the gate when the real world does
// not: certificates, mail servers behind it, scripted conversations through
// it, and a real Dovecot when one is installed.
//
//   - cert.go makes a self-signed certificate and the client that trusts it.
//   - standin.go, imap.go and pop3*.go are honest little mail servers that
//     expect a PROXY header, as Dovecot does behind a gate. peer.go tells what
//     the header said.
//   - script*.go reads dialogues from *.dlg files, play.go plays them, end.go is
//     one end of a connection while it is played, upstream.go a listener whose
//     connections a script plays.
//   - dovecot*.go runs Debian's Dovecot with a configuration of its own.
//
// The mail servers and certificates also serve "postern demo" and the bench,
// so they never need a *testing.T. They keep mail in memory and start no
// program. The package knows nothing of the gate it stands around.
package proxytest
