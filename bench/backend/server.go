// Package backend is the stand-in mail server behind all targets of the bench.
// It is built for speed, has every account there could be, and checks at most
// as many passwords a second as [Control.Limit] sets.
//
// The right password of an account is what [Secret] returns. A mailbox whose
// name is a number contains one message of that many octets: SELECT 262144, then
// FETCH 1 BODY.PEEK[]. It drops appended messages.
//
// It runs in a process of its own, so that its CPU time counts neither for the
// clients nor for the target. [Control] controls it through HTTP.
package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Addrs is where a [Server] listens, host:port each. The Proxied ports require a
// PROXY header of version 1 or 2.
type Addrs struct {
	IMAP, IMAPS, POP3, POP3S                             string
	ProxiedIMAP, ProxiedIMAPS, ProxiedPOP3, ProxiedPOP3S string
	Control                                              string // HTTP
}

// Server is the stand-in mail server.
type Server struct {
	Addrs Addrs

	auth       authQueue
	challenges atomic.Int64 // that were sent
	notifier   notifier
	tls        *tls.Config
	listeners  []net.Listener
	http       *http.Server

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]struct{} // nil once closed
}

// listenerKind is what a listener serves.
type listenerKind struct {
	protocol    func(*conn)
	tls         bool // implicit
	proxyHeader bool // required
}

// Serve opens all listeners on loopback, on ports that the system chooses, and
// serves until Close. config is for implicit TLS and STARTTLS.
func Serve(config *tls.Config) (*Server, error) {
	s := &Server{tls: config, conns: map[net.Conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	a := &s.Addrs
	for _, l := range []struct {
		addr *string
		kind listenerKind
	}{
		{&a.IMAP, listenerKind{protocol: (*conn).imap}},
		{&a.IMAPS, listenerKind{protocol: (*conn).imap, tls: true}},
		{&a.POP3, listenerKind{protocol: (*conn).pop3}},
		{&a.POP3S, listenerKind{protocol: (*conn).pop3, tls: true}},
		{&a.ProxiedIMAP, listenerKind{protocol: (*conn).imap, proxyHeader: true}},
		{&a.ProxiedIMAPS, listenerKind{protocol: (*conn).imap, proxyHeader: true, tls: true}},
		{&a.ProxiedPOP3, listenerKind{protocol: (*conn).pop3, proxyHeader: true}},
		{&a.ProxiedPOP3S, listenerKind{protocol: (*conn).pop3, proxyHeader: true, tls: true}},
	} {
		ln, err := s.listen(l.addr)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.wg.Go(func() { s.accept(ln, l.kind) })
	}
	control, err := s.listen(&a.Control)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.http = &http.Server{Handler: s.control()}
	s.wg.Go(func() { _ = s.http.Serve(control) })
	return s, nil
}

// listen opens a port and stores its address in addr.
func (s *Server) listen(addr *string) (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stand-in mail server: %w", err)
	}
	s.listeners = append(s.listeners, ln)
	*addr = ln.Addr().String()
	return ln, nil
}

// accept serves every connection of ln until it is closed.
func (s *Server) accept(ln net.Listener, k listenerKind) {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // out of file descriptors: the bench counts failed logins
		}
		if !s.track(c) {
			c.Close()
			return
		}
		go s.serve(c, k)
	}
}

// serve serves one connection and closes it.
func (s *Server) serve(raw net.Conn, k listenerKind) {
	defer func() {
		raw.Close()
		s.mu.Lock()
		delete(s.conns, raw)
		s.mu.Unlock()
		s.wg.Done()
	}()
	c := &conn{server: s, secure: k.tls}
	c.setConn(raw)
	defer c.release()
	if k.proxyHeader && c.skipHeader() != nil {
		return
	}
	if k.tls {
		c.setConn(tls.Server(buffered{raw, c.r}, s.tls))
	}
	k.protocol(c)
}

// track adds a connection that Close must close; false after Close.
func (s *Server) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return true
}

// Close ends the server with all its connections.
func (s *Server) Close() {
	s.cancel()
	for _, ln := range s.listeners {
		ln.Close()
	}
	if s.http != nil {
		s.http.Close()
	}
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
}
