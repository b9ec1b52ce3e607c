package testbed

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// A FaultProxy is a network between a client and an engine that can have faults. It ends with the test.
type FaultProxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	pairs map[*proxyPair]struct{}
	pass  chan struct{} // closed unless the proxy is stalled
	delay time.Duration
	cut   int // octets to clients until all connections break; negative: none
	ended bool
}

// A proxyPair is a connection of a client and that to the engine.
type proxyPair struct{ client, engine net.Conn }

// NewFaultProxy returns a proxy to the TCP address target, without faults.
func NewFaultProxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &FaultProxy{listener: ln, target: target, pairs: map[*proxyPair]struct{}{}, pass: make(chan struct{}), cut: -1}
	close(p.pass)
	var running sync.WaitGroup
	running.Go(func() { p.serve(&running) })
	t.Cleanup(func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		ln.Close()
		p.Resume()
		p.Reset()
		running.Wait()
	})
	return p
}

// Addr is the address that clients connect to.
func (p *FaultProxy) Addr() string { return p.listener.Addr().String() }

// URL is a value for POSTERN_SHARE_URL.
func (p *FaultProxy) URL() string { return "valkey://" + p.Addr() }

// Delay delays what is sent from now on, in each direction.
func (p *FaultProxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Stall lets nothing through in either direction, as in a partition: connections remain open, and new ones get no answer.
func (p *FaultProxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.pass:
		p.pass = make(chan struct{})
	default: // it is stalled
	}
}

// Resume ends Stall. What was sent meanwhile arrives now.
func (p *FaultProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.pass:
	default:
		close(p.pass)
	}
}

// CutAfter breaks all connections after n more octets to clients.
func (p *FaultProxy) CutAfter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = n
}

// Reset breaks all connections with a TCP reset.
func (p *FaultProxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		for _, c := range []net.Conn{pair.client, pair.engine} {
			_ = c.(*net.TCPConn).SetLinger(0) // fails if it is closed already
			c.Close()
		}
		delete(p.pairs, pair)
	}
}

// HalfOpen closes the present connections to the engine, and clients do not notice: what they send is lost.
func (p *FaultProxy) HalfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		pair.engine.Close()
	}
}

// Open is how many connections are open.
func (p *FaultProxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// serve accepts connections. They end with Reset, or when a client or the engine closes.
func (p *FaultProxy) serve(running *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		engine, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		pair := &proxyPair{client, engine}
		p.mu.Lock()
		p.pairs[pair] = struct{}{}
		ended := p.ended
		p.mu.Unlock()
		if ended {
			p.Reset()
			return
		}
		running.Go(func() { p.fromClient(pair) })
		running.Go(func() { p.toClient(pair) })
	}
}

// fromClient forwards what the client sends, and ends the pair with the client.
func (p *FaultProxy) fromClient(pair *proxyPair) {
	buf := make([]byte, 32<<10)
	for {
		n, err := pair.client.Read(buf)
		if err != nil {
			break
		}
		p.admit(n, false)
		_, _ = pair.engine.Write(buf[:n]) // lost after HalfOpen
	}
	p.end(pair)
}

// toClient forwards what the engine sends. If the engine closes, so does the client's connection.
func (p *FaultProxy) toClient(pair *proxyPair) {
	buf := make([]byte, 32<<10)
	for {
		n, err := pair.engine.Read(buf)
		if n > 0 {
			admitted, broken := p.admit(n, true)
			_, _ = pair.client.Write(buf[:admitted])
			if broken {
				p.Reset()
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed): // HalfOpen, Reset or end
			return
		default:
			p.end(pair)
			return
		}
	}
}

// end closes both connections of a pair.
func (p *FaultProxy) end(pair *proxyPair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pair.client.Close()
	pair.engine.Close()
	delete(p.pairs, pair)
}

// admit waits as long as n octets are held up. It returns how many get through, and whether the connection breaks then.
func (p *FaultProxy) admit(n int, toClient bool) (int, bool) {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delay > 0 {
		<-time.After(delay)
	}
	p.mu.Lock()
	pass := p.pass
	p.mu.Unlock()
	<-pass
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut < 0 || !toClient {
		return n, false
	}
	if n < p.cut {
		p.cut -= n
		return n, false
	}
	n, p.cut = p.cut, -1
	return n, true
}
