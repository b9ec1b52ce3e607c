// Package admin is postern's HTTP API, for operators and monitoring: the server
// of /metrics, /livez, /readyz and /v1, and the client that the commands of
// postern use.
//
// What names addresses or accounts, and what changes anything, needs the admin
// token or the Unix socket. The package checks who may ask; the answers come from a
// Gateway.
package admin

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/monitor"
)

// Gateway is what the server reports on and acts on.
type Gateway struct {
	Log       *eventlog.Log
	Metrics   http.Handler
	Unready   func() string // why new clients should go elsewhere, empty if they need not
	State     func(time.Time) monitor.State
	Incidents *incidents.Manager
	Learn     func(time.Time, Learned) (Knowledge, error) // merges what was learned from logs with what is known
	Upgrade   func() (monitor.Generation, error)          // starts the next generation, and returns it once it serves
	Reload    func() (Reloaded, error)                    // reads the settings again
	// Passed returns the socket that another process passed for an address of a listener, admin or metrics, or nil if that
	// must be bound. Its owner is the service manager if it made the socket and keeps it. It may be nil.
	Passed func(listener, addr string) (f *os.File, managed bool)
}

// Server answers on the addresses of ADMIN_LISTEN and METRICS_LISTEN.
type Server struct {
	gateway   Gateway
	token     string // for requests to ADMIN_LISTEN; empty refuses all
	socket    bool   // ADMIN_LISTEN is a socket, which needs no token
	asnFile   string
	endpoints []endpoint // those that are not off; ADMIN_LISTEN is first

	retiring    atomic.Bool
	served      chan struct{}  // closed when Serve has returned
	connections sync.WaitGroup // that were accepted and are open; no more once served is closed
}

// endpoint is one address with what it serves.
type endpoint struct {
	name     string // admin or metrics
	addr     string // in the settings
	listener net.Listener
	managed  bool // by the service manager
	http     *http.Server
}

// Open binds the addresses. It reads the token first, or creates it. After an
// error, which names the setting, no address is bound.
func Open(c *config.Config, g Gateway) (*Server, error) {
	s := &Server{gateway: g, asnFile: string(c.Incidents.ASNFile), served: make(chan struct{})}
	var err error
	if s.token, err = loadToken(c); err != nil {
		return nil, err
	}
	if err := s.open("admin", "ADMIN_LISTEN", string(c.Admin.Listen), s.adminHandler()); err != nil {
		return nil, err
	}
	s.socket = len(s.endpoints) > 0 && s.Addr().Network() == "unix"
	metrics := http.NewServeMux()
	metrics.Handle("GET /metrics", g.Metrics)
	if err := s.open("metrics", "METRICS_LISTEN", string(c.Admin.Metrics), metrics); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// open adds an endpoint, unless addr is empty.
func (s *Server) open(name, setting, addr string, h http.Handler) error {
	if addr == "" {
		return nil
	}
	ln, managed, err := s.listen(name, addr)
	if err != nil {
		return config.Errorf(setting, "%w", err)
	}
	s.endpoints = append(s.endpoints, endpoint{name, addr, ln, managed, s.newHTTP(guardHost(ln.Addr(), h))})
	return nil
}

// newHTTP returns a server with a limit for everything that a client could
// prolong.
func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ConnState:         s.count,
		ErrorLog:          slog.NewLogLogger(s.gateway.Log.Handler(), slog.LevelDebug),
	}
}

// count counts connections. Each is new before Serve can return.
func (s *Server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.connections.Done()
	}
}

// Addr is where ADMIN_LISTEN is bound. It must not be off.
func (s *Server) Addr() net.Addr { return s.endpoints[0].listener.Addr() }

// Serve answers until Close or Retire, and then returns nil, or until an address fails. It is called once.
func (s *Server) Serve() error {
	defer close(s.served)
	s.unlinkOnClose(true)
	failed := make(chan error)
	for _, e := range s.endpoints {
		go func() {
			err := e.http.Serve(e.listener)
			if errors.Is(err, http.ErrServerClosed) || s.retiring.Load() && errors.Is(err, net.ErrClosed) {
				failed <- nil
				return
			}
			failed <- fmt.Errorf("serve the admin API on %s: %w", e.listener.Addr(), err)
		}()
	}
	var first error
	for range s.endpoints {
		if err := <-failed; err != nil && first == nil {
			first = err
			s.Close() // ends the other one
		}
	}
	return first
}

// adminHandler routes all that ADMIN_LISTEN serves.
func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.gateway.Metrics)
	mux.HandleFunc("GET /livez", serveLive)
	mux.HandleFunc("GET "+readyPath, s.serveReady)
	mux.HandleFunc("GET "+monitor.Path, s.serveState)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET " + IncidentsPath: s.serveIncidents, "GET " + IncidentsPath + "/{id}": s.serveIncident,
		"POST " + IncidentsPath: s.serveCommand, "GET " + ReportPath: s.serveReport, "POST " + LearnPath: s.serveLearn,
		"POST " + UpgradePath: s.serveUpgrade, "POST " + ReloadPath: s.serveReload,
	} {
		mux.Handle(pattern, s.guardToken(h))
	}
	return mux
}

// readyPath is where the server says whether the gateway is ready.
const readyPath = "/readyz"

// serveLive says that requests are answered. Whether mail is, the watchdog of the
// service manager finds out.
func serveLive(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "alive\n") }

// serveReady says whether new clients should be sent here, or why not.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	if why := s.gateway.Unready(); why != "" {
		http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// serveState gives monitoring systems the state. It names no address and no
// account, so it needs no token.
func (s *Server) serveState(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, s.gateway.State(time.Now()))
}

// guardHost refuses requests for another host where addr is a loopback address:
// a web page elsewhere could make a browser here resolve its own name to
// 127.0.0.1 and read the answers (DNS rebinding).
func guardHost(addr net.Addr, h http.Handler) http.Handler {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackName(r.Host) {
			http.Error(w, "this address serves localhost only", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isLoopbackName reports whether a Host header names this machine by a name
// that DNS cannot change.
func isLoopbackName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return strings.EqualFold(name, "localhost") || err == nil && ip.IsLoopback()
}
