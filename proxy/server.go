package proxy

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// TLSMode is how TLS begins at a door.
type TLSMode uint8

// The modes.
const (
	Upgrade  TLSMode = iota // by STARTTLS or STLS
	Implicit                // at once
)

// Door is one way in: a protocol and how TLS begins. Several listeners can
// share a door.
type Listener struct {
	Name     string // the listener label of metrics and logs: imap, imaps, pop3, pop3s
	Protocol dialogue.Protocol
	TLS      TLSMode
	Config   *tls.Config // nil at an Upgrade door that cannot begin TLS
}

// Timeouts bound a connection's stay.
type Timeouts struct {
	Login     time.Duration // from accept to login, time in the tarpit excluded
	Handshake time.Duration // one TLS handshake, and one PROXY header
	Idle      time.Duration // silence after login
}

// Server relays mail sessions to backends. Its fields must not change once Serve
// is called; a Server cannot be used again after Shutdown or Close.
type Server struct {
	Limiter        *limiter.Limiter
	Backends       map[string]*Backends // by the protocol's name
	ProxyFrom      []netip.Prefix       // who must begin with a PROXY header; nobody else may
	CleartextLogin bool                 // allow passwords without TLS
	Tries          int                  // denied attempts per connection
	MaxConnections int                  // all doors together
	MaxDescriptors int                  // of which a connection takes one, and a second to a backend
	TarpitMax      time.Duration        // the longest an attempt waits for its turn
	Tarpit         TarpitLimits
	Timeouts       Timeouts

	// Settled is told of each attempt when it is settled, Done of each
	// connection when both its ends are closed. They are called from many
	// goroutines and must not block.
	Settled func(Attempt)
	Done    func(Record)

	begin      sync.Once
	tarpit     tarpit
	dispatcher dispatcher
	observing  atomic.Bool
	handshakes handshakes
	workers    workers

	mu        sync.Mutex
	listeners map[net.Listener]bool
	sessions  map[*session]bool
	prelogin  list.List // of *session, the longest-waiting first
	evicting  int       // of the sessions, evicted and not gone yet
	closing   bool
	idle      chan struct{} // closed when closing and no session is left
	life      string        // tells the IDs of one process from those of the next
	serial    uint64

	relaying  atomic.Int64
	emfile    atomic.Uint64
	otherFail atomic.Uint64
}

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("server closed")

// init prepares what has no useful zero value.
func (s *Server) init() {
	s.begin.Do(func() {
		s.tarpit.limits = s.Tarpit
		s.dispatcher.limiter = s.Limiter
		s.workers = newWorkers()
		s.listeners = map[net.Listener]bool{}
		s.sessions = map[*session]bool{}
		s.idle = make(chan struct{})
		s.life = strings.ToLower(rand.Text()[:6])
	})
}

// Observe says whether verdicts are only told of and not acted on: everybody
// passes who would pass without a Limiter. It may be called at any time, and is
// off at first.
func (s *Server) Observe(on bool) { s.observing.Store(on) }

// Serve accepts connections on ln for door d until Shutdown or Close, and then
// returns ErrServerClosed. It closes ln, which should be one of package socket: any
// other costs a goroutine for each connection that waits. A failing accept is tried
// again, for ever: running out of descriptors must slow the gate down, not end it.
func (s *Server) Serve(ln net.Listener, d Listener) error {
	s.init()
	defer ln.Close()
	if !s.listen(ln) {
		return ErrServerClosed
	}
	var pause time.Duration
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil && s.accept(conn, &d):
			pause = 0
		case err == nil || s.isClosing():
			return ErrServerClosed
		default:
			s.acceptFailed(err)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			<-time.After(pause)
		}
	}
}

// listen notes ln, unless the server is closing.
func (s *Server) listen(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[ln] = true
	return !s.closing
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// acceptFailed counts a failed accept. Where descriptors ran out, a connection
// that waits for nothing good makes room.
func (s *Server) acceptFailed(err error) {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		s.emfile.Add(1)
		s.mu.Lock()
		s.evict(nil)
		s.mu.Unlock()
		return
	}
	s.otherFail.Add(1)
}

// accept begins a session on conn, which the session closes. Where there are as
// many as there may be, it makes room for it, or, with everybody logged in, turns it
// away. It closes conn and returns false if the server is closing.
func (s *Server) accept(conn net.Conn, d *Listener) bool {
	ss := newSession(s, d, conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		conn.Close()
		return false
	}
	s.serial++
	ss.record.ID = s.life + "-" + strconv.FormatUint(s.serial, 36)
	if most := s.connectionLimit(); most > 0 && len(s.sessions)-s.evicting >= most {
		ss.overLimit = !s.evict(nil)
	}
	s.sessions[ss] = true
	if !ss.overLimit {
		ss.preloginElement = s.prelogin.PushBack(ss)
	}
	ss.next = ss.enter
	s.workers.run(ss)
	return true
}

// leavePrelogin takes ss off the list of those before login. s.mu must be held.
func (s *Server) leavePrelogin(ss *session) {
	if ss.preloginElement != nil {
		s.prelogin.Remove(ss.preloginElement)
		ss.preloginElement = nil
	}
}

// loggedIn notes that ss is no longer before login.
func (s *Server) loggedIn(ss *session) {
	s.mu.Lock()
	s.leavePrelogin(ss)
	s.relaying.Add(1)
	s.mu.Unlock()
	s.makeRoom(ss) // what its slot had may be another's by now
}

// gone forgets ss, whose connections are closed.
func (s *Server) forget(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leavePrelogin(ss)
	delete(s.sessions, ss)
	if ss.evicted {
		s.evicting--
	}
	if s.closing && len(s.sessions) == 0 {
		s.end()
	}
}

// end says that no session is left and none will come.
func (s *Server) end() {
	s.workers.end()
	close(s.idle)
}

// Shutdown stops accepting, takes leave of the clients that have not logged in,
// and waits until the others have left by themselves or ctx ends, when it
// closes them too. An attempt whose password is on its way to a backend is
// settled first. It returns ctx's error if that cut the wait short.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(func(ss *session) { ss.shutdown() })
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
}

// Close stops accepting and closes all connections, and returns when they have
// ended.
func (s *Server) Close() error {
	s.stop(func(ss *session) { ss.closeNow() })
	<-s.idle
	return nil
}

// stop closes the listeners and tells every session.
func (s *Server) stop(tell func(*session)) {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ln := range s.listeners {
		ln.Close()
	}
	if !s.closing && len(s.sessions) == 0 {
		s.end()
	}
	s.closing = true
	for ss := range s.sessions {
		tell(ss)
	}
}
