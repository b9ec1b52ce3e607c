package proxytest

import (
	"net"
	"testing"
)

// Upstream plays the part of a backend's listener for Gate: it accepts
// connections on ln, reads the PROXY header of each when o.ProxyHeader is set,
// tells o.Connect about it, and hands the connection over to whoever receives,
// who closes it. A connection whose header is bad fails t. Listening ends with
// the test, and what nobody received is closed.
func Upstream(t testing.TB, ln net.Listener, o Options) <-chan net.Conn {
	t.Helper()
	tracked := newListener(ln, o)
	arrived := make(chan net.Conn)
	srv := serve(tracked, func() {
		for {
			c, err := tracked.Accept()
			if err != nil {
				return
			}
			go handOver(t, c.(*standinConn), o, arrived)
		}
	})
	t.Cleanup(func() { srv.Close() })
	return arrived
}

// handOver reads the header of c and sends it to arrived.
func handOver(t testing.TB, c *standinConn, o Options, arrived chan<- net.Conn) {
	peer, err := c.peer()
	if err != nil {
		t.Errorf("connection to the backend: %v", err)
		c.Close()
		return
	}
	o.connected(peer)
	c.leave()
	select {
	case arrived <- c:
	case <-c.ln.done:
		c.Close()
	}
}
