package proxy

import (
	"container/list"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"maps"
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

// TLSMode is how TLS begins on a listener.
type TLSMode uint8

// The modes.
const (
	Upgrade  TLSMode = iota // by STARTTLS or STLS
	Implicit                // at once
)

// Listener is one kind of listener: a protocol and how TLS begins. Several sockets can
// share it.
type Listener struct {
	Name     string // the listener label of metrics and logs, as in ListenerKinds
	Protocol dialogue.Protocol
	TLS      TLSMode
	Config   *tls.Config // nil on an Upgrade listener that cannot begin TLS

	devices *devicePool // clones of Config
}

// ListenerKinds lists the kinds of listener that a gateway may have, without Config.
func ListenerKinds() []Listener {
	return []Listener{
		{Name: "imap", Protocol: dialogue.IMAP{}, TLS: Upgrade},
		{Name: "imaps", Protocol: dialogue.IMAP{}, TLS: Implicit},
		{Name: "pop3", Protocol: dialogue.POP3{}, TLS: Upgrade},
		{Name: "pop3s", Protocol: dialogue.POP3{}, TLS: Implicit},
		{Name: "sieve", Protocol: dialogue.Sieve{}, TLS: Upgrade},
	}
}

// ListenerNames are the names of ListenerKinds.
func ListenerNames() (names []string) {
	for _, kind := range ListenerKinds() {
		names = append(names, kind.Name)
	}
	return names
}

// Timeouts bound the time that a connection may take.
type Timeouts struct {
	Login     time.Duration // from accept to login, time in the tarpit excluded
	Handshake time.Duration // one TLS handshake, and one PROXY header
	Idle      time.Duration // without data in either direction, after login
}

// Server relays mail sessions to backends. Its fields must not change once Serve is
// called; a Server cannot be used again after Shutdown or Close.
type Server struct {
	Limiter        *limiter.Limiter
	Backends       map[string]*Backends // by the protocol's name
	ProxyFrom      []netip.Prefix       // must begin with a PROXY header; no other address may
	ForwardedFrom  []netip.Prefix       // may name the client that they connect for, in the dialogue
	CleartextLogin bool                 // allow passwords without TLS
	Tries          int                  // denied attempts per connection
	MaxConnections int                  // all listeners together, and those of siblings; 0 for any number
	MaxDescriptors int                  // a connection takes one, and a second one to a backend
	TarpitMax      time.Duration        // the longest wait of an attempt for the global bucket and a login slot
	Tarpit         TarpitLimits
	Timeouts       Timeouts

	// Settled is called with each attempt when it is settled, Done with the Record of
	// each connection when both its ends are closed. They are called from many
	// goroutines and must not block.
	Settled func(Attempt)
	Done    func(Record)

	begin      sync.Once
	tarpit     tarpit
	dispatcher dispatcher
	observing  atomic.Bool
	handshakes handshakeQueue
	workers    workers

	mu        sync.Mutex
	listeners map[net.Listener]bool
	accepting sync.WaitGroup // accept loops
	noAccept  chan struct{}  // closed when no more connections are to be accepted
	sessions  map[*session]bool
	openAt    map[string]int // how many sessions, by the name of their listener
	prelogin  list.List      // of *session, the longest-waiting first
	sources   sources        // of those of prelogin whose client address is known
	evicting  int            // of the sessions, evicted and not closed yet
	closing   bool           // no session will come
	idle      chan struct{}  // closed when closing and no session is left
	drain     drain
	idPrefix  string // of session IDs; differs from process to process
	serial    uint64

	relaying  atomic.Int64
	refused   atomic.Int64 // sessions that wait for a hello before they are refused
	probes    atomic.Int64 // sessions of health checks
	unnamed   atomic.Int64 // sessions of forwarders that have not named a client yet
	emfile    atomic.Uint64
	otherFail atomic.Uint64

	siblings siblings
	external external
}

// ErrServerClosed is what Serve returns after StopAccepting, Shutdown or Close.
var ErrServerClosed = errors.New("server closed")

// init prepares what has no useful zero value.
func (s *Server) init() {
	s.begin.Do(func() {
		s.tarpit.limits = s.Tarpit
		s.dispatcher.limiter = s.Limiter
		s.workers = newWorkers()
		s.listeners = map[net.Listener]bool{}
		s.sessions, s.openAt = map[*session]bool{}, map[string]int{}
		s.sources = sources{}
		s.noAccept = make(chan struct{})
		s.idle = make(chan struct{})
		s.drain.changed = make(chan struct{}, 1)
		s.siblings.changed = make(chan struct{}, 1)
		s.idPrefix = strings.ToLower(rand.Text()[:6])
	})
}

// Observe sets observe mode: verdicts are reported and not enforced. It may be called at
// any time. Verdicts are enforced at first.
func (s *Server) Observe(on bool) { s.observing.Store(on) }

// Serve accepts connections on ln until StopAccepting, Shutdown or Close, and then
// returns ErrServerClosed. It closes ln, which should be one of package netpoll: with any other,
// each parked connection costs a goroutine. Accepting goes on after an error, for
// running out of descriptors must slow the service down and not end it.
func (s *Server) Serve(ln net.Listener, l Listener) error {
	s.init()
	l.devices = &devicePool{base: l.Config}
	defer ln.Close()
	if !s.listen(ln) {
		return ErrServerClosed
	}
	defer s.accepting.Done()
	var pause time.Duration
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil && s.accept(conn, &l):
			pause = 0
		case err == nil || !s.mayAccept():
			return ErrServerClosed
		default:
			s.acceptFailed(err)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-s.noAccept:
			}
		}
	}
}

// listen adds ln to the listeners and its accept loop to accepting, and returns false if
// no more connections are to be accepted.
func (s *Server) listen(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayAccept() {
		return false
	}
	s.listeners[ln] = true
	s.accepting.Add(1)
	return true
}

// mayAccept reports whether connections are still to be accepted.
func (s *Server) mayAccept() bool {
	select {
	case <-s.noAccept:
		return false
	default:
		return true
	}
}

// acceptFailed counts a failed accept. If descriptors ran out, it closes a connection
// before login.
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

// accept begins a session on conn, which the session closes. At the limit of connections
// it evicts another before login, or, if all are logged in, has the new session refused.
// It closes conn and returns false if the server is closing.
func (s *Server) accept(conn net.Conn, l *Listener) bool {
	ss := newSession(s, l, conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		conn.Close()
		return false
	}
	s.serial++
	ss.record.ID = s.idPrefix + "-" + strconv.FormatUint(s.serial, 36)
	if s.full() {
		ss.overLimit = !s.evict(nil)
	}
	s.sessions[ss] = true
	s.openAt[l.Name]++
	s.countsChanged()
	if !ss.overLimit {
		ss.prelogin = &preloginEntry{all: s.prelogin.PushBack(ss)}
	}
	ss.next = ss.enter
	s.workers.start(ss)
	return true
}

// leavePrelogin takes ss off the list of those before login. s.mu must be held.
func (s *Server) leavePrelogin(ss *session) {
	if ss.prelogin != nil {
		s.prelogin.Remove(ss.prelogin.all)
		s.sources.remove(ss.prelogin)
		ss.prelogin = nil
	}
}

// loggedIn notes that ss is no longer before login.
func (s *Server) loggedIn(ss *session) {
	s.mu.Lock()
	s.leavePrelogin(ss)
	s.relaying.Add(1)
	s.countsChanged()
	s.mu.Unlock()
	s.evictFor(ss) // its login slot may be in use again
}

// forget forgets ss, whose connections are closed.
func (s *Server) forget(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leavePrelogin(ss)
	delete(s.sessions, ss)
	s.openAt[ss.listener.Name]--
	if ss.evicted {
		s.evicting--
	}
	s.countsChanged()
	if s.closing && len(s.sessions) == 0 {
		s.end()
	}
}

// Stats is the state of a Server. Counters begin at the start of the process.
type Stats struct {
	Open           int            // connections, in any state
	OpenAt         map[string]int // of them, by the name of their listener
	Prelogin       int            // connections that have not logged in, except those that are being refused or evicted
	Tarpit         int            // attempts that wait
	Relay          int            // sessions logged in
	MaxConnections int            // how many may be open, with so many logged in
	AcceptNoFile   uint64         // accepts that failed for want of descriptors
	AcceptOther    uint64         // accepts that failed for another reason
}

// Stats returns the state of s.
func (s *Server) Stats() Stats {
	s.init()
	s.mu.Lock()
	open, openAt, prelogin := len(s.sessions), maps.Clone(s.openAt), s.prelogin.Len()
	s.mu.Unlock()
	return Stats{
		Open: open, OpenAt: openAt, Prelogin: prelogin, Tarpit: s.tarpit.size(), Relay: int(s.relaying.Load()), MaxConnections: s.connectionLimit(),
		AcceptNoFile: s.emfile.Load(), AcceptOther: s.otherFail.Load(),
	}
}
