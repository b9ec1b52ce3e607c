// Package standin provides certificates and small mail servers that replace the rest of
// a mail site in the demo, in benchmarks and in tests.
//
// The servers are backends for a proxy: they can require a PROXY header, like Dovecot
// behind a proxy, and report the client in it to their user (Peer). ServeIMAP and
// ServePOP3 serve mail. Accept leaves the protocol to its caller. NewCertificate makes
// a self-signed certificate and matching TLS configurations.
//
// The package stops short of a real mail server: mail is kept in memory, passwords are
// accepted without TLS and are not limited. Do not use it in production. It does not
// import package testing, since the demo is part of the daemon; package mailtest has
// what only tests need.
package standin

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	// headerTimeout is the timeout for reading the PROXY header. It is that of
	// Dovecot (haproxy_timeout).
	headerTimeout = 3 * time.Second
	// acceptPause is the wait after an accept error, such as too many open files.
	acceptPause = 50 * time.Millisecond
)

// Account is a mail account of a server.
type Account struct {
	Name     string   // compared octet by octet
	Secret   string   // the password, compared octet by octet
	Messages [][]byte // the inbox at the start, in RFC 5322 format
}

// Login is a login attempt at a server.
type Login struct {
	Protocol string // "imap" or "pop3"
	Account  string // the name as sent, even if there is no such account
	Accepted bool
	Peer     Peer
}

// Options are the options of a server. With the zero value it expects no PROXY header
// and calls no hook.
type Options struct {
	// ProxyHeader requires a PROXY header, version 1 or 2, at the start of every
	// connection. A connection without a valid one is closed without an answer. If
	// it is false, a PROXY header is a bad command.
	ProxyHeader bool
	// Connect, if set, is called for every connection after its header is read.
	Connect func(Peer)
	// Login, if set, is called for every login attempt before it is answered.
	//
	// Both hooks are called from the goroutines of the connections, concurrently.
	Login func(Login)
}

// connected calls the Connect hook.
func (o Options) connected(p Peer) {
	if o.Connect != nil {
		o.Connect(p)
	}
}

// loggedIn calls the Login hook.
func (o Options) loggedIn(l Login) {
	if o.Login != nil {
		o.Login(l)
	}
}

// Server is a running server. The user closes it.
type Server struct {
	ln      *listener
	deliver func(account string, message []byte) error // nil without mailboxes that change
}

// serve runs accept in the background. accept must return when ln is closed.
func serve(ln *listener, accept func()) *Server {
	ln.busy.Go(accept)
	return &Server{ln: ln}
}

// Deliver appends a message to the inbox of an account. Sessions in IDLE are notified.
// Only servers of ServeIMAP can do it.
func (s *Server) Deliver(account string, message []byte) error {
	if s.deliver == nil {
		return fmt.Errorf("deliver to %q: %w", account, errors.ErrUnsupported)
	}
	return s.deliver(account, message)
}

// Addr is the address the server listens on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close closes the listener and every connection, and returns when their goroutines
// have ended. No hook is called afterwards. It may be called again.
func (s *Server) Close() error { return s.ln.Close() }

// Accept accepts connections on ln for a backend whose protocol the caller speaks. It
// reads the PROXY header of each if o.ProxyHeader is set, calls o.Connect, and sends
// the connection to the channel. The receiver closes it. After an invalid header it
// closes the connection and calls failed. Closing the Server closes ln and the
// connections that were not received.
func Accept(ln net.Listener, o Options, failed func(error)) (<-chan net.Conn, *Server) {
	tracked := newListener(ln, o)
	accepted := make(chan net.Conn)
	srv := serve(tracked, func() {
		for {
			c, err := tracked.Accept()
			if err != nil {
				return
			}
			go deliver(c.(*conn), o, accepted, failed)
		}
	})
	return accepted, srv
}

// deliver reads the header of c and sends c to accepted.
func deliver(c *conn, o Options, accepted chan<- net.Conn, failed func(error)) {
	peer, err := c.peer()
	if err != nil {
		failed(err)
		c.Close()
		return
	}
	o.connected(peer)
	c.untrack()
	select {
	case accepted <- c:
	case <-c.ln.done:
		c.Close()
	}
}

// listener tracks the connections it accepts, and closes those still open when it is
// closed. Its Accept returns no error before that.
type listener struct {
	net.Listener
	header bool // every connection begins with a PROXY header

	busy sync.WaitGroup // the accept loop and every open connection
	done chan struct{}  // closed with the listener

	mu   sync.Mutex
	open map[*conn]struct{} // nil once closed
}

func newListener(ln net.Listener, o Options) *listener {
	return &listener{
		Listener: ln,
		header:   o.ProxyHeader,
		done:     make(chan struct{}),
		open:     make(map[*conn]struct{}),
	}
}

// Accept implements net.Listener. It does not read the PROXY header, which could block;
// conn.peer does. Its error is always net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			return l.track(c)
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		select {
		case <-l.done:
			return nil, net.ErrClosed
		case <-time.After(acceptPause):
		}
	}
}

// track adds raw to the open connections, or closes it if the listener is closed.
func (l *listener) track(raw net.Conn) (net.Conn, error) {
	c := &conn{Conn: raw, raw: raw, ln: l}
	if l.header {
		c.proxied = proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.REQUIRE),
			proxyproto.SetReadHeaderTimeout(headerTimeout))
		c.Conn = c.proxied
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		raw.Close()
		return nil, net.ErrClosed
	}
	l.open[c] = struct{}{}
	l.busy.Add(1)
	return c, nil
}

// Close closes the listener and its connections, and waits until they are untracked.
func (l *listener) Close() error {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	var err error
	if open != nil {
		close(l.done)
		err = l.Listener.Close()
	}
	for c := range open {
		c.raw.Close() // the goroutine of c then calls c.Close
	}
	l.busy.Wait()
	return err
}

// conn is a connection of a listener. The goroutine that serves it closes it.
type conn struct {
	net.Conn // raw, or proxied over it
	raw      net.Conn
	proxied  *proxyproto.Conn // nil when no header is expected
	ln       *listener
	once     sync.Once
}

// peer returns the Peer, which it reads from the PROXY header if one is expected.
func (c *conn) peer() (Peer, error) {
	if c.proxied == nil {
		return socketPeer(c.raw), nil
	}
	h := c.proxied.ProxyHeader()
	if h == nil {
		return Peer{}, errors.New("read PROXY header: got a missing, late or malformed one, want version 1 or 2")
	}
	return headerPeer(h, c.raw)
}

// CloseWrite shuts down the writing side. On a connection without that operation, such
// as a pipe, it returns errors.ErrUnsupported.
func (c *conn) CloseWrite() error {
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes and untracks the connection.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.untrack()
	return err
}

// untrack removes the connection from its listener, which then neither closes it nor
// waits for it.
func (c *conn) untrack() {
	c.once.Do(func() {
		c.ln.mu.Lock()
		delete(c.ln.open, c)
		c.ln.mu.Unlock()
		c.ln.busy.Done()
	})
}
