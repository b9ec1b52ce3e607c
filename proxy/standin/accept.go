package standin

import "net"

// Accept takes the part of a backend of which the caller speaks the protocol: it
// accepts connections on ln, reads the PROXY header of each when o.ProxyHeader is
// set, tells o.Connect about it, and hands the connection over to the receiver,
// who closes it. A connection with a bad header is closed and reported to failed.
// Closing the Server ends it all and closes connections that nobody received.
func Accept(ln net.Listener, o Options, failed func(error)) (<-chan net.Conn, *Server) {
	tracked := newListener(ln, o)
	accepted := make(chan net.Conn)
	srv := serve(tracked, func() {
		for {
			c, err := tracked.Accept()
			if err != nil {
				return
			}
			go handOver(c.(*conn), o, accepted, failed)
		}
	})
	return accepted, srv
}

// handOver reads the header of c and sends c to accepted.
func handOver(c *conn, o Options, accepted chan<- net.Conn, failed func(error)) {
	peer, err := c.peer()
	if err != nil {
		failed(err)
		c.Close()
		return
	}
	o.connected(peer)
	c.leave()
	select {
	case accepted <- c:
	case <-c.ln.done:
		c.Close()
	}
}
