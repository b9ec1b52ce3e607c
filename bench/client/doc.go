// Package client is the mail program of the bench: it connects, logs in, moves
// bytes and leaves, as fast as it can and with a deadline for everything.
//
//   - caller.go connects: from which address, with which TLS.
//   - session.go is one connection; imap.go and pop3.go speak, idle.go listens.
//   - unfinished.go begins handshakes that it does not finish.
//   - ending.go puts what may go wrong into a few words to count by.
//
// It believes nothing: an answer that is not one is an error, and so is a
// certificate that is not the expected one.
package client
