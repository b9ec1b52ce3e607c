package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
	"postern/proxy/standin"
)

// Addresses of the proxy, a client and two backends.
const (
	proxyAddr   = "192.0.2.1:143"
	clientAddr  = "203.0.113.7:40000"
	backendAddr = "192.0.2.25:143"
	otherAddr   = "192.0.2.26:143"
)

var (
	clientIP      = netip.MustParseAddrPort(clientAddr).Addr()
	testCert      = mustCertificate("mail.example.org")
	imapListener  = Listener{Name: "imap", Protocol: dialogue.IMAP{}, Config: testCert.Server()}
	imapsListener = Listener{Name: "imaps", Protocol: dialogue.IMAP{}, TLS: Implicit, Config: testCert.Server()}
	pop3Listener  = Listener{Name: "pop3", Protocol: dialogue.POP3{}, Config: testCert.Server()}
	pop3sListener = Listener{Name: "pop3s", Protocol: dialogue.POP3{}, TLS: Implicit, Config: testCert.Server()}
)

func mustCertificate(names ...string) *standin.Certificate {
	c, err := standin.NewCertificate(names...)
	if err != nil {
		panic(err)
	}
	return c
}

// testProxy is a Server in memory, with backends played by the test. It lives in a
// synctest bubble. When the test ends it is closed, and nothing may be left.
type testProxy struct {
	*Server
	t        testing.TB
	backends *Backends
	policy   limiter.Policy
	running  sync.WaitGroup

	mu           sync.Mutex
	backendFuncs map[string]func(*peer) // by the backend's address; all other addresses refuse
	dials        map[string]int
	attempts     []Attempt
	records      []Record
}

// newTestProxy returns a proxy that has one backend, limits nothing and allows passwords
// in clear text.
func newTestProxy(t *testing.T, p dialogue.Protocol, play func(*peer)) *testProxy {
	return newTestProxyWith(t, p, BackendConfig{Addrs: []string{backendAddr}, Logins: 10}, map[string]func(*peer){backendAddr: play})
}

func newTestProxyWith(t *testing.T, p dialogue.Protocol, c BackendConfig, plays map[string]func(*peer)) *testProxy {
	t.Helper()
	proxy := &testProxy{t: t, backendFuncs: plays, dials: map[string]int{}, backends: NewBackends(p, c)}
	proxy.backends.connect = proxy.dialBackend
	offer := offers[p.Name()]
	proxy.backends.offered.Store(&offer)
	proxy.Server = newServer(t, proxy.backends)
	proxy.CleartextLogin = true
	proxy.Settled = func(a Attempt) {
		proxy.mu.Lock()
		defer proxy.mu.Unlock()
		proxy.attempts = append(proxy.attempts, a)
	}
	proxy.Done = func(r Record) {
		proxy.mu.Lock()
		defer proxy.mu.Unlock()
		proxy.records = append(proxy.records, r)
	}
	t.Cleanup(proxy.cleanUp)
	return proxy
}

// dialBackend connects to a backend.
func (proxy *testProxy) dialBackend(addr string, _ time.Time) (netpoll.Conn, error) {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	proxy.dials[addr]++
	play := proxy.backendFuncs[addr]
	if play == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	if addr == namedAddr {
		addr = backendAddr
	}
	near, far := newMemPair("192.0.2.1:50000", addr)
	proxy.running.Go(func() {
		defer far.Close()
		play(newBackend(proxy.t, far))
	})
	return netpoll.Wrap(near), nil
}

// setBackend changes what a backend does; nil makes it refuse connections.
func (proxy *testProxy) setBackend(addr string, play func(*peer)) {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	proxy.backendFuncs[addr] = play
}

// cleanUp closes the server and checks that nothing is left.
func (proxy *testProxy) cleanUp() {
	proxy.Close()
	proxy.running.Wait()
	if s := proxy.Stats(); s.Open != 0 || s.Tarpit != 0 || s.Relay != 0 {
		proxy.t.Errorf("after Close: got stats %+v, want none open", s)
	}
	if n := proxy.prelogin.Len(); n != 0 {
		proxy.t.Errorf("after Close: got %d sessions before login, want none", n)
	}
	if n := len(proxy.sources); n != 0 {
		proxy.t.Errorf("after Close: got %d sources before login, want none", n)
	}
	for _, b := range proxy.backends.Stats() {
		if b.Logins != 0 || b.Sessions != 0 {
			proxy.t.Errorf("after Close: got backend %s with %d logins and %d sessions, want none", b.Addr, b.Logins, b.Sessions)
		}
	}
	if n := proxy.handshakes.inUse(); n != 0 {
		proxy.t.Errorf("after Close: got %d handshakes, want none", n)
	}
}

// listen serves a listener until the test ends.
func (proxy *testProxy) listen(l Listener) *memListener {
	proxy.t.Helper()
	ln := newMemListener(proxyAddr)
	served := make(chan error, 1)
	go func() { served <- proxy.Serve(ln, l) }()
	proxy.t.Cleanup(func() {
		proxy.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			proxy.t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
		}
	})
	return ln
}

// connect returns a client that has connected from addr and sent nothing yet.
func (proxy *testProxy) connect(addr string, ln *memListener) *peer {
	proxy.t.Helper()
	near, _ := ln.dial(addr)
	return newClient(proxy.t, near)
}

// connectGreeted returns a client that has been greeted.
func (proxy *testProxy) connectGreeted(l Listener) *peer {
	proxy.t.Helper()
	client := proxy.connect(clientAddr, proxy.listen(l))
	proxy.awaitGreeting(client, l)
	return client
}

// awaitGreeting takes a client as far as the greeting.
func (proxy *testProxy) awaitGreeting(client *peer, l Listener) {
	proxy.t.Helper()
	if l.TLS == Implicit {
		client.startTLS(nil)
	}
	client.expect(map[string]string{"imap": "* OK …", "pop3": "+OK …"}[l.Protocol.Name()])
}

// dialCount is how often a backend was dialled.
func (proxy *testProxy) dialCount(addr string) int {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	return proxy.dials[addr]
}

// settledAttempts are the attempts reported so far.
func (proxy *testProxy) settledAttempts() []Attempt {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	return append([]Attempt(nil), proxy.attempts...)
}

// finalRecord closes the server and returns the record of its only connection.
func (proxy *testProxy) finalRecord() Record {
	proxy.t.Helper()
	all := proxy.finalRecords()
	if len(all) != 1 {
		proxy.t.Fatalf("got %d records, want 1: %+v", len(all), all)
	}
	return all[0]
}

// finalRecords waits until all goroutines are idle, closes the server and returns the
// records of all connections.
func (proxy *testProxy) finalRecords() []Record {
	synctest.Wait()
	proxy.Close()
	synctest.Wait()
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	return append([]Record(nil), proxy.records...)
}

// watchBackends probes the backends until the test ends or stop is called.
func (proxy *testProxy) watchBackends() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { proxy.backends.Watch(ctx) })
	stop = func() {
		cancel()
		watching.Wait()
	}
	proxy.t.Cleanup(stop)
	synctest.Wait()
	return stop
}

// backendStats returns the stats of one backend.
func (proxy *testProxy) backendStats(addr string) BackendStats {
	proxy.t.Helper()
	for _, s := range proxy.backends.Stats() {
		if s.Addr == addr {
			return s
		}
	}
	proxy.t.Fatalf("there is no backend %s", addr)
	return BackendStats{}
}

// newProxyWithTwoBackends returns a proxy with two backends.
func newProxyWithTwoBackends(t *testing.T, logins int, one, other func(*peer)) *testProxy {
	c := BackendConfig{Addrs: []string{backendAddr, otherAddr}, Logins: logins}
	return newTestProxyWith(t, dialogue.IMAP{}, c, map[string]func(*peer){backendAddr: one, otherAddr: other})
}

// connectAndExpect returns a client that has connected and read one line.
func (proxy *testProxy) connectAndExpect(ln *memListener, addr, expects string) *peer {
	proxy.t.Helper()
	client := proxy.connect(addr, ln)
	client.expect(expects)
	return client
}
