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

// Addrs is where a [Server] listens, host:port each. The Proxied ports demand a
// PROXY header, of version 1 or 2, before anything else.
type Addrs struct {
	IMAP, IMAPS, POP3, POP3S                             string
	ProxiedIMAP, ProxiedIMAPS, ProxiedPOP3, ProxiedPOP3S string
	Control                                              string // HTTP
}

// Server is the stand-in mail server.
type Server struct {
	Addrs Addrs

	desk      desk
	bell      bell
	open      atomic.Int64
	tls       *tls.Config
	listeners []net.Listener
	http      *http.Server

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]struct{} // nil once closed
}

// door is one listener's kind.
type door struct {
	speak  func(*conn)
	tls    bool // from the first octet
	header bool // a PROXY header comes before anything else
}

// Serve opens all listeners on loopback, on ports the system chooses, and
// serves until Close. config is shown by the TLS ports and after STARTTLS.
func Serve(config *tls.Config) (*Server, error) {
	s := &Server{tls: config, conns: map[net.Conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	a := &s.Addrs
	for _, l := range []struct {
		addr *string
		door door
	}{
		{&a.IMAP, door{speak: (*conn).imap}},
		{&a.IMAPS, door{speak: (*conn).imap, tls: true}},
		{&a.POP3, door{speak: (*conn).pop3}},
		{&a.POP3S, door{speak: (*conn).pop3, tls: true}},
		{&a.ProxiedIMAP, door{speak: (*conn).imap, header: true}},
		{&a.ProxiedIMAPS, door{speak: (*conn).imap, header: true, tls: true}},
		{&a.ProxiedPOP3, door{speak: (*conn).pop3, header: true}},
		{&a.ProxiedPOP3S, door{speak: (*conn).pop3, header: true, tls: true}},
	} {
		ln, err := s.listen(l.addr)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.wg.Go(func() { s.accept(ln, l.door) })
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

// listen opens a port and notes where it is.
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
func (s *Server) accept(ln net.Listener, d door) {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // out of descriptors: the bench sees logins fail
		}
		if !s.track(c) {
			c.Close()
			return
		}
		go s.serve(c, d)
	}
}

// serve speaks on c and closes it.
func (s *Server) serve(raw net.Conn, d door) {
	s.open.Add(1)
	defer func() {
		raw.Close()
		s.open.Add(-1)
		s.mu.Lock()
		delete(s.conns, raw)
		s.mu.Unlock()
		s.wg.Done()
	}()
	c := &conn{server: s, secure: d.tls}
	c.use(raw)
	defer c.release()
	if d.header && c.skipHeader() != nil {
		return
	}
	if d.tls {
		c.use(tls.Server(buffered{raw, c.r}, s.tls))
	}
	d.speak(c)
}

// track notes a connection that Close has to end; false when it is too late.
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
