// Package dialogue knows what IMAP (RFC 3501, RFC 9051) and POP3 (RFC 1939,
// RFC 2449) say before login: to the client that wants in, and to the backend
// that decides.
//
// It parses, answers and replays. It does not decide: who may try, how long to
// wait and which backend to ask is the caller's business. It sets no deadlines
// and closes no connection; the caller does both.
//
// A Protocol is a stateless value. What a conversation must remember is in its
// Conn, or on the stack of Hear, and ends with it. The files are split by the
// face they show: imap_client.go and pop3_client.go speak to clients,
// imap_server.go and pop3_server.go to the backend.
//
// All text that a client may read is written in this package, and none of it
// repeats what the client sent, apart from a well-formed IMAP tag.
package dialogue
