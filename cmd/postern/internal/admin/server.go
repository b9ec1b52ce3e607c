// Package admin is postern's HTTP API, for operators and monitoring: the server
// of /metrics, /livez, /readyz, /v1 and the page, and the client that the commands of
// postern use. It also serves POLICY_LISTEN, whose handler is in package authpolicy.
//
// What names addresses or accounts needs a token or the Unix socket, and what changes
// anything needs the admin token or the socket. The package checks who may ask; the
// answers come from a Gateway. What the page looks like is in package page.
//
// In reading order:
//
//	server.go, listen.go  the addresses, and their life
//	connections.go        how many connections there may be
//	routes.go             every path, with the role that it needs; openapi.yaml describes them
//	request.go            how a request becomes an answer and a line in the log
//	access.go, token.go   who the sender is, by a token
//	session.go, tries.go  likewise by the cookie of the page
//	problem.go            refusals
//	live.go               views as server-sent events
//	incidents.go, decide.go, maintenance.go  what operators ask for
//	client.go             the other side
package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/view"
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

	View      func(now time.Time, detail bool) *view.View // shared and not changed
	Decisions func() []decisions.Decision                 // in force, the newest first
	// Decide makes a decision. remote is the operator's address; the zero value for the Unix socket.
	Decide  func(t time.Time, r decisions.Request, remote netip.Addr) (decisions.Result, error)
	End     func(t time.Time, id, by string) (decisions.Decision, error) // ends a decision, and returns it
	Release func(time.Time, decisions.Release) (decisions.Released, error)
	Forget  func(time.Time, decisions.Forget) (decisions.Forgotten, error)
	Explain func(t time.Time, about string) (explain.Explanation, error)
	// Firewall returns the sources that a firewall should drop; client identifies the program that asks.
	Firewall func(t time.Time, client string, q firewall.Query) firewall.Stream
	// Operator is called with the address of each request of an operator, but not of the Unix socket. It may be nil.
	Operator func(t time.Time, addr netip.Addr)
	Page     http.Handler // of / and /page/; nil: there is no page
	Policy   http.Handler // of POLICY_LISTEN

	// Passed returns the socket that another process passed for an address of a listener (admin, metrics or policy), or nil if that
	// must be bound. Its owner is the service manager if it made the socket and keeps it. It may be nil.
	Passed func(listener, addr string) (f *os.File, managed bool)
}

// Server answers on the addresses of ADMIN_LISTEN, METRICS_LISTEN and POLICY_LISTEN.
type Server struct {
	gateway Gateway
	tokens  tokens // for requests to ADMIN_LISTEN
	socket  bool   // ADMIN_LISTEN is a socket, which needs no token
	asnFile string
	live    *live

	crossOrigin *http.CrossOriginProtection
	logins      *tries        // to log in at the page
	strangerLog *rate.Limiter // lines about refused commands without a token

	endpoints []endpoint // those that are not off; ADMIN_LISTEN is first

	retiring    atomic.Bool
	closing     sync.Mutex    // held while the listeners are closed, or it is decided what becomes of their files
	served      chan struct{} // closed when Serve has returned
	connections *connections  // of admin and metrics
	policy      *connections  // of POLICY_LISTEN
}

// endpoint is one address with what it serves.
type endpoint struct {
	name     string // admin, metrics or policy
	addr     string // in the settings
	listener net.Listener
	managed  bool // by the service manager
	http     *http.Server
}

// Open binds the addresses. It reads the token first, or creates it. After an
// error, which names the setting, no address is bound.
func Open(c *config.Config, g Gateway) (*Server, error) {
	tokens, err := loadTokens(c)
	if err != nil {
		return nil, err
	}
	s := &Server{
		gateway: g, tokens: tokens, asnFile: string(c.Incidents.ASNFile), live: newLive(g.Log, g.View), served: make(chan struct{}),
		crossOrigin: http.NewCrossOriginProtection(), connections: newConnections(connsMax), policy: newConnections(config.PolicyConnections),
		logins: newTries(rate.Every(loginEvery)), strangerLog: rate.NewLimiter(1, 10),
	}
	if err := s.open("admin", "ADMIN_LISTEN", string(c.Admin.Listen), s.adminHandler(), s.connections); err != nil {
		return nil, err
	}
	s.socket = len(s.endpoints) > 0 && s.Addr().Network() == "unix"
	metrics := http.NewServeMux()
	metrics.Handle("GET /metrics", g.Metrics)
	err = s.open("metrics", "METRICS_LISTEN", string(c.Admin.Metrics), metrics, s.connections)
	if err == nil {
		err = s.open(policyName, "POLICY_LISTEN", string(c.Policy.PolicyListen), g.Policy, s.policy)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// policyName is the name of the endpoint of POLICY_LISTEN.
const policyName = "policy"

// open adds an endpoint, unless addr is empty.
func (s *Server) open(name, setting, addr string, h http.Handler, conns *connections) error {
	if addr == "" {
		return nil
	}
	ln, managed, err := s.listen(name, addr)
	if err != nil {
		return config.Errorf(setting, "%w", err)
	}
	s.endpoints = append(s.endpoints, endpoint{name, addr, ln, managed, s.newHTTP(guardHost(ln.Addr(), h), conns)})
	return nil
}

// newHTTP returns a server with a limit for everything that a client could
// prolong.
func (s *Server) newHTTP(h http.Handler, conns *connections) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ConnState:         conns.count,
		ErrorLog:          slog.NewLogLogger(s.gateway.Log.Handler(), slog.LevelDebug),
	}
}

// Addr is where ADMIN_LISTEN is bound. It must not be off.
func (s *Server) Addr() net.Addr { return s.endpoints[0].listener.Addr() }

// PolicyAddr is where POLICY_LISTEN is bound, nil if it is off.
func (s *Server) PolicyAddr() net.Addr {
	for _, e := range s.endpoints {
		if e.name == policyName {
			return e.listener.Addr()
		}
	}
	return nil
}

// Serve answers until Close or StopAccepting, and then returns nil, or until an address fails. It is called once.
func (s *Server) Serve() error {
	defer close(s.served)
	s.ownFiles()
	failed := make(chan error)
	for _, e := range s.endpoints {
		go func() {
			err := e.http.Serve(e.listener)
			if errors.Is(err, http.ErrServerClosed) || s.retiring.Load() && errors.Is(err, net.ErrClosed) {
				failed <- nil
				return
			}
			failed <- fmt.Errorf("serve HTTP on %s: %w", e.listener.Addr(), err)
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
			newProblem(http.StatusForbidden, "this address serves localhost only").write(w)
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
