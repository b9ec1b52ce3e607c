// Package mailtest is for tests of a mail proxy: it plays scripted dialogues
// through one, and runs a real Dovecot behind it when one is installed. Nothing of
// it may be part of a program.
//
//   - script*.go reads dialogues from *.dlg files, play.go plays them, end.go is
//     one end of a connection while it is played.
//   - backend.go is a listener whose connections a script plays.
//   - dovecot*.go runs Debian's Dovecot with a configuration of its own.
//
// The package does not import the proxy. Package standin has the certificates and
// the small mail servers that need no program.
package mailtest
