package mailtest

import (
	"net"
	"testing"

	"postern/proxy/standin"
)

// AcceptBackend hands over the connections that a proxy makes to its backend at ln,
// for [Endpoints], as [standin.Accept] does. A connection with a bad PROXY header
// fails t. Listening ends with the test.
func AcceptBackend(t testing.TB, ln net.Listener, o standin.Options) <-chan net.Conn {
	t.Helper()
	accepted, server := standin.Accept(ln, o, func(err error) { t.Errorf("connection to the backend: %v", err) })
	t.Cleanup(func() { server.Close() })
	return accepted
}
