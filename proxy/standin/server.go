package standin

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	// headerTimeout is how long a connection may take over its PROXY header;
	// Dovecot's haproxy_timeout is the same.
	headerTimeout = 3 * time.Second
	// acceptPause is the wait after an accept error, such as running out of
	// file descriptors.
	acceptPause = 50 * time.Millisecond
)

// Account is one mail user of a stand-in server.
type Account struct {
	Name     string   // as given at login, compared octet by octet
	Secret   string   // the password, likewise
	Messages [][]byte // RFC 5322 messages in the inbox at the start
}

// Login is one decided login at a stand-in server.
type Login struct {
	Protocol string // "imap" or "pop3"
	Account  string // the name as sent, known or not
	Accepted bool
	Peer     Peer // who the gate said the client is
}

// Options adjust a stand-in server. The zero value expects no PROXY header and
// tells nobody.
type Options struct {
	// ProxyHeader demands a PROXY header, version 1 or 2, at the beginning of
	// every connection; one without is closed unanswered. When false a header
	// is not looked for, and is a bad command to the server.
	ProxyHeader bool
	// Connect, if set, is called for every connection once its header is read.
	Connect func(Peer)
	// Login, if set, is called for every login before its answer is sent.
	//
	// Both are called from the goroutine of the connection: several at once.
	Login func(Login)
}

// connected tells whoever asked about a connection.
func (o Options) connected(p Peer) {
	if o.Connect != nil {
		o.Connect(p)
	}
}

// loggedIn tells whoever asked about a login.
func (o Options) loggedIn(l Login) {
	if o.Login != nil {
		o.Login(l)
	}
}

// Server is a running stand-in mail server. Its passwords arrive in clear
// text: TLS has ended in front of it. Close ends it.
type Server struct {
	ln *listener
}

// serve runs accept in the background. It must return once ln is closed.
func serve(ln *listener, accept func()) *Server {
	ln.busy.Go(accept)
	return &Server{ln: ln}
}

// Addr is the address the server listens on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close stops listening, closes every connection and returns when all of them
// are done; no hook is called after that. Closing again is harmless.
func (s *Server) Close() error { return s.ln.Close() }

// listener hands out connections that know their Peer, and closes those still
// open when it is closed itself. Its Accept never fails before that.
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

// Accept waits for the next connection. It does not read from it: the header
// is read by whoever asks for the Peer. The error is always net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			return l.add(c)
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

// add takes c in, or closes it when the listener is closed already.
func (l *listener) add(raw net.Conn) (net.Conn, error) {
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

// Close closes the listener and its connections, and waits for their ends.
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
		c.raw.Close() // its goroutine sees that and calls c.Close
	}
	l.busy.Wait()
	return err
}

// conn is a connection to a stand-in server. Its own goroutine closes
// it, whatever ended it.
type conn struct {
	net.Conn // raw, or proxied over it
	raw      net.Conn
	proxied  *proxyproto.Conn // nil when no header is expected
	ln       *listener
	once     sync.Once
}

// peer reads the PROXY header, if one is expected, and tells what it said. An
// error means that the header is missing, late or malformed.
func (c *conn) peer() (Peer, error) {
	if c.proxied == nil {
		return socketPeer(c.raw), nil
	}
	h := c.proxied.ProxyHeader()
	if h == nil {
		return Peer{}, errors.New("read PROXY header: missing, late or malformed")
	}
	return headerPeer(h, c.raw)
}

// CloseWrite ends the sending direction. On a connection that knows no such
// thing, like a pipe, it returns errors.ErrUnsupported.
func (c *conn) CloseWrite() error { return closeWrite(c.raw) }

// closeWrite ends the sending direction of c, or returns errors.ErrUnsupported.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection and signs it off.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// leave signs the connection off: the listener no longer closes it, nor waits
// for it.
func (c *conn) leave() {
	c.once.Do(func() {
		c.ln.mu.Lock()
		delete(c.ln.open, c)
		c.ln.mu.Unlock()
		c.ln.busy.Done()
	})
}
