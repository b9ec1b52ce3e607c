package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/netpoll"
)

// tcpProxy is a Server with one backend over real TCP.
type tcpProxy struct {
	*Server
	addr    string // of the listener
	config  *tls.Config
	records chan Record
}

// newTCPProxy serves listener l in front of a backend. configure changes the server
// before it accepts.
func newTCPProxy(t testing.TB, l Listener, play func(*peer), configure ...func(*Server)) *tcpProxy {
	t.Helper()
	ln := listen(t)
	var playing sync.WaitGroup
	playing.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			playing.Go(func() {
				defer conn.Close()
				b := newBackend(t, conn)
				b.timeout = realTimeout
				play(b)
			})
		}
	})
	backends := NewBackends(l.Protocol, BackendConfig{Addrs: []string{ln.Addr().String()}, Logins: 100})
	offer := offers[l.Protocol.Name()]
	backends.offered.Store(&offer)
	proxy := &tcpProxy{Server: newServer(t, backends), records: make(chan Record, 1000)}
	proxy.CleartextLogin = true
	for _, set := range configure {
		set(proxy.Server)
	}
	proxy.Done = func(r Record) { proxy.records <- r }
	if l.TLS == Implicit {
		proxy.config = testCert.Client()
	}
	t.Cleanup(func() {
		ln.Close()
		playing.Wait()
	})
	proxy.addr = serve(t, proxy.Server, l)
	return proxy
}

// dial returns a client that has connected and sent nothing yet.
func (proxy *tcpProxy) dial(t testing.TB) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.addr)
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, conn)
	client.timeout = realTimeout
	return client
}

// connectGreeted returns a client that has been greeted, and its TCP connection.
func (proxy *tcpProxy) connectGreeted(t testing.TB) (*peer, *net.TCPConn) {
	t.Helper()
	client := proxy.dial(t)
	tcp := client.Conn.(*net.TCPConn)
	if proxy.config != nil {
		client.startTLS(proxy.config)
	}
	if line, err := client.readLine(); err != nil {
		t.Fatalf("greeting: got %q, %v", line, err)
	}
	return client, tcp
}

// acceptLogin is an IMAP backend that accepts the login and goes on as play does.
func acceptLogin(play func(*peer)) func(*peer) {
	return func(b *peer) {
		b.readHeader()
		b.send(imapHello)
		if _, err := b.readLine(); err != nil {
			return
		}
		b.send("1 OK in")
		b.SetDeadline(time.Time{})
		play(b)
	}
}

// newServer returns a Server that limits nothing, in front of backends.
func newServer(t testing.TB, backends *Backends) *Server {
	t.Helper()
	return &Server{
		Limiter:   newLimiter(t, limiter.Policy{}),
		Backends:  map[string]*Backends{backends.protocol.Name(): backends},
		Tries:     3,
		TarpitMax: 10 * time.Second,
		Timeouts:  Timeouts{Login: time.Minute, Handshake: 10 * time.Second, Idle: time.Hour},
	}
}

// newLimiter returns a limiter with policy p.
func newLimiter(t testing.TB, p limiter.Policy) *limiter.Limiter {
	t.Helper()
	p.WaitMax, p.TableMax = 10*time.Second, 10_000
	l, err := limiter.New(p, limiter.Key{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve serves a listener of s on loopback until the test ends, and returns its
// address.
func serve(t testing.TB, s *Server, l Listener) string {
	t.Helper()
	ln, err := netpoll.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
		}
	})
	return ln.Addr().String()
}
