package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// loopback is a Server with one backend over real TCP.
type loopback struct {
	*Server
	addr    string // of the door
	config  *tls.Config
	records chan Record
}

// newLoopback serves door d in front of a backend played by play.
func newLoopback(t testing.TB, d Listener, play func(*peer)) *loopback {
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
				b.patience = truePatience
				play(b)
			})
		}
	})
	backends := NewBackends(d.Protocol, BackendConfig{Addrs: []string{ln.Addr().String()}, Logins: 100})
	offer := offers[d.Protocol.Name()]
	backends.offered.Store(&offer)
	l := &loopback{Server: newTestServer(t, backends), records: make(chan Record, 1000)}
	l.CleartextLogin = true
	l.Done = func(r Record) { l.records <- r }
	if d.TLS == Implicit {
		l.config = gateCert.Client()
	}
	t.Cleanup(func() {
		ln.Close()
		playing.Wait()
	})
	l.addr = serve(t, l.Server, d)
	return l
}

// enter returns a client that has been greeted, and its TCP connection.
func (l *loopback) enter(t testing.TB) (*peer, *net.TCPConn) {
	t.Helper()
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	c.patience = truePatience
	if l.config != nil {
		c.startTLS(l.config)
	}
	if line, err := c.line(); err != nil {
		t.Fatalf("greeting %q: %v", line, err)
	}
	return c, conn.(*net.TCPConn)
}

// in has an IMAP backend let the client in, and goes on with play.
func in(play func(*peer)) func(*peer) {
	return func(b *peer) {
		b.readHeader()
		b.say(imapHello)
		if _, err := b.line(); err != nil {
			return
		}
		b.say("1 OK in")
		b.SetDeadline(time.Time{})
		play(b)
	}
}

// noise is n octets that differ with seed.
func noise(n int, seed byte) []byte {
	var b bytes.Buffer
	sum := sha256.Sum256([]byte{seed})
	for b.Len() < n {
		b.Write(sum[:])
		sum = sha256.Sum256(sum[:])
	}
	return b.Bytes()[:n]
}

// trade sends one lot of octets while it receives another.
func trade(p *peer, sends, wants []byte) error {
	p.SetDeadline(time.Now().Add(p.patience))
	sent := make(chan error, 1)
	go func() {
		_, err := p.Write(sends)
		sent <- err
	}()
	got := make([]byte, len(wants))
	if n, err := io.ReadFull(p.r, got); err != nil || !bytes.Equal(got, wants) {
		return errors.Join(errors.New("received something else"), err, errors.New(string(got[:min(n, 40)])))
	}
	return <-sent
}

// TestRelayMuchBothWays sends ten million octets each way at once.
func TestRelayMuchBothWays(t *testing.T) {
	up, down := noise(10_000_000, 1), noise(10_000_003, 2)
	for _, d := range []Listener{imapDoor, imapsDoor} {
		t.Run(d.Name, func(t *testing.T) {
			l := newLoopback(t, d, in(func(b *peer) {
				if err := trade(b, down, up); err != nil {
					t.Errorf("backend: %v", err)
				}
				b.seeEnd()
			}))
			c, _ := l.enter(t)
			c.say("a1 LOGIN u p")
			c.hear("a1 OK in")
			if err := trade(c, up, down); err != nil {
				t.Errorf("client: %v", err)
			}
			c.Close()
			r := <-l.records
			if r.FromClient != int64(len(up)) || r.ToClient != int64(len(down)) || r.End != EndClient {
				t.Errorf("%d octets from the client, %d to it, %v: %v", r.FromClient, r.ToClient, r.End, r.Err)
			}
		})
	}
}

// Kernels tell of the end in their own ways.
func TestEndsOverTCP(t *testing.T) {
	for name, c := range map[string]struct {
		client  func(*peer, *net.TCPConn)
		backend func(*peer)
		end     End
	}{
		"client closes":       {func(p *peer, _ *net.TCPConn) { p.Close() }, (*peer).seeBreak, EndClient},
		"client breaks off":   {func(_ *peer, c *net.TCPConn) { c.SetLinger(0); c.Close() }, (*peer).seeBreak, EndClient},
		"client half-closes":  {func(p *peer, _ *net.TCPConn) { p.halfClose(); p.hear("bye"); p.seeEnd() }, func(b *peer) { b.seeEnd(); b.say("bye") }, EndClient},
		"backend closes":      {func(p *peer, _ *net.TCPConn) { p.seeEnd(); p.Close() }, func(*peer) {}, EndBackend},
		"backend breaks off":  {func(p *peer, _ *net.TCPConn) { p.seeEnd() }, func(b *peer) { b.Conn.(*net.TCPConn).SetLinger(0) }, EndBackend},
		"backend half-closes": {func(p *peer, _ *net.TCPConn) { p.seeEnd(); p.Close() }, func(b *peer) { b.halfClose(); b.seeBreak() }, EndBackend},
	} {
		for _, d := range []Listener{imapDoor, imapsDoor} {
			t.Run(name+" "+d.Name, func(t *testing.T) {
				l := newLoopback(t, d, in(c.backend))
				p, tcp := l.enter(t)
				p.say("a1 LOGIN u p")
				p.hear("a1 OK in")
				c.client(p, tcp)
				select {
				case r := <-l.records:
					if r.End != c.end || r.Step != StepRelay {
						t.Errorf("end %v in %v: %v", r.End, r.Step, r.Err)
					}
				case <-time.After(truePatience):
					t.Error("the session goes on")
				}
			})
		}
	}
}
