// Package standin has what stands in for the rest of a mail site: certificates and
// small mail servers to put behind a proxy. "postern demo", the bench and tests use
// it, so it never needs a *testing.T.
//
//   - cert.go makes a self-signed certificate and the configuration of a client
//     that trusts it.
//   - server.go, imap.go and pop3*.go are mail servers that expect a PROXY header,
//     as Dovecot does behind a proxy. peer.go tells what the header said.
//   - accept.go accepts connections of which the caller speaks the protocol.
//
// The servers keep mail in memory, start no program and take passwords in clear
// text: TLS has ended in front of them. They are not for production.
package standin
