package proxy

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// A connection that was accepted while StopAccepting came is served, and so are all others.
func TestStopAcceptingServesAccepted(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(l.Protocol.Name()))
		inside, waiting := proxy.connectGreeted(l), proxy.connectGreeted(l)
		sendLogin(inside, l, "right")
		inside.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
		near, far := newMemPair(clientAddr, proxyAddr)
		ln, served := &lateListener{newMemListener(proxyAddr), far}, make(chan error, 1)
		go func() { served <- proxy.Serve(ln, l) }()
		synctest.Wait()
		proxy.StopAccepting()
		proxy.StopAccepting()
		if err := receivedNow(t, served); err != ErrServerClosed {
			t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
		}
		late := newClient(t, near)
		proxy.awaitGreeting(late, l)
		for _, client := range []*peer{late, waiting} {
			sendLogin(client, l, "right")
			client.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
		}
		for _, client := range []*peer{inside, late, waiting} {
			client.send("hello")
			client.expect("echo hello")
		}
		ended := proxy.startShutdown(time.Hour)
		notReceived(t, ended)
		for _, client := range []*peer{inside, late, waiting} {
			client.Close()
		}
		if err := receivedNow(t, ended); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// heldListener holds back what Accept returns until release is closed.
type heldListener struct {
	*memListener
	release chan bool
}

func (l *heldListener) Accept() (net.Conn, error) {
	conn, err := l.memListener.Accept()
	<-l.release
	return conn, err
}

// StopAccepting returns when no connection can come any more.
func TestStopAcceptingWaitsForAcceptLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := &heldListener{newMemListener(proxyAddr), make(chan bool)}
		go func() { _ = proxy.Serve(ln, imapListener) }()
		near, _ := ln.dial(clientAddr)
		stopped := make(chan bool, 1)
		go func() {
			proxy.StopAccepting()
			stopped <- true
		}()
		notReceived(t, stopped)
		if s := proxy.Stats(); s.Open != 0 {
			t.Errorf("got stats %+v, want Open 0", s)
		}
		close(ln.release)
		receivedNow(t, stopped)
		if s := proxy.Stats(); s.Open != 1 || s.Prelogin != 1 {
			t.Errorf("got stats %+v, want Open 1, Prelogin 1", s)
		}
		newClient(t, near).expect("* OK …")
	})
}

// StopAccepting does not wait for the pause after a failed accept. No listener can be served
// afterwards.
func TestStopAcceptingInPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(imapListener)
		for range 10 {
			ln.fail(errors.New("accept failed"))
		}
		start := time.Now()
		proxy.StopAccepting()
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want 0", took)
		}
		late := newMemListener(proxyAddr)
		if err := proxy.Serve(late, imapListener); err != ErrServerClosed {
			t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
		}
		if _, err := late.Accept(); err == nil {
			t.Error("the listener was not closed")
		}
		if err := proxy.Shutdown(t.Context(), Grace{Total: time.Hour}); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// newGeneration returns a Server that serves ln.
func newGeneration(t *testing.T, ln net.Listener, records *atomic.Int64) *Server {
	t.Helper()
	s := newServer(t, NewBackends(dialogue.IMAP{}, BackendConfig{Logins: 1}))
	s.Done = func(Record) { records.Add(1) }
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, imapListener) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
		}
	})
	return s
}

// Server after server takes over a socket while clients connect all the time. None of them
// is lost, and those that wait before login remain where they are.
func TestStopAcceptingUnderFlood(t *testing.T) {
	const generations, clients = 20, 8
	ln, err := netpoll.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	connect := func() *peer {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return nil
		}
		client := newClient(t, conn)
		client.timeout = realTimeout
		if line, err := client.readLine(); err != nil {
			t.Errorf("got %q, %v, want a greeting", line, err)
		}
		return client
	}
	var records, connected atomic.Int64
	var flood sync.WaitGroup
	done := make(chan bool)
	for range clients {
		flood.Go(func() {
			for client := connect(); client != nil; client = connect() {
				connected.Add(1)
				client.Close()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	server := newGeneration(t, ln, &records)
	servers, waiting := []*Server{server}, []*peer{}
	for range generations {
		waiting = append(waiting, connect())
		for seen := connected.Load(); connected.Load() < seen+20 && !t.Failed(); {
			waiting[0].send("a1 NOOP")
			waiting[0].expect("a1 OK …")
		}
		f, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		if ln, err = netpoll.FromFile(f); err != nil {
			t.Fatal(err)
		}
		next := newGeneration(t, ln, &records)
		server.StopAccepting()
		servers, server = append(servers, next), next
	}
	close(done)
	flood.Wait()
	for _, client := range waiting {
		client.send("a1 NOOP")
		client.expect("a1 OK …")
	}
	for _, s := range servers {
		s.Close()
	}
	if n := connected.Load() + generations; records.Load() != n {
		t.Errorf("got %d records, want %d, one for each connection", records.Load(), n)
	}
}
