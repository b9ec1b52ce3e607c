package main

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
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminServer answers the operator and the monitoring on one address.
type adminServer struct {
	http     *http.Server
	listener net.Listener
}

// openAdmin binds the addresses of ADMIN_LISTEN and METRICS_LISTEN. After an
// error nothing stays bound.
func (g *gate) openAdmin() error {
	metrics := http.NewServeMux()
	metrics.Handle("GET /metrics", g.metrics.handler())
	admin := http.NewServeMux()
	admin.Handle("GET /metrics", g.metrics.handler())
	admin.HandleFunc("GET /livez", answerLive)
	admin.HandleFunc("GET /readyz", g.answerReady)
	g.handleOperators(admin)
	for _, a := range []struct {
		setting string
		addr    httpAddr
		handler http.Handler
	}{{"ADMIN_LISTEN", g.config.Admin.Listen, admin}, {"METRICS_LISTEN", g.config.Admin.Metrics, metrics}} {
		if a.addr == "" {
			continue
		}
		ln, err := listenHTTP(a.addr)
		if err != nil {
			g.closeAdmin()
			return wrong(a.setting, "%v", err)
		}
		g.admin = append(g.admin, &adminServer{g.httpServer(guardHost(ln.Addr(), a.handler)), ln})
	}
	return nil
}

// httpServer has a limit for everything a client could draw out.
func (g *gate) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(g.journal.Handler(), slog.LevelDebug),
	}
}

// serveAdmin answers on one address until closeAdmin, and reports if it ends
// before: a gate that nobody can watch is to be restarted.
func (g *gate) serveAdmin(a *adminServer) {
	if err := a.http.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		g.fail(fmt.Errorf("serve the admin page on %s: %w", a.listener.Addr(), err))
	}
}

// closeAdmin gives the addresses back, served or not.
func (g *gate) closeAdmin() {
	for _, a := range g.admin {
		a.http.Close()
		a.listener.Close()
	}
}

// listenHTTP binds host:port or unix:/path. A socket file that nobody listens
// on any more is replaced; the group may use the new one.
func listenHTTP(addr httpAddr) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(string(addr), "unix:")
	if !isUnix {
		return listen(string(addr))
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("listen on %s: another process does", path)
		}
		os.Remove(path)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, reasonOf(err))
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return ln, nil
}

// guardHost lets only requests for this machine through where addr is a
// loopback address: a web page elsewhere could make a browser here resolve its
// own name to 127.0.0.1 and read the answers (DNS rebinding).
func guardHost(addr net.Addr, h http.Handler) http.Handler {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackName(r.Host) {
			http.Error(w, "this address answers to localhost only", http.StatusForbidden)
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

// handler answers with all metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// answerLive says no more than that requests are answered; whether the rooms
// are, the watchdog of the service manager knows.
func answerLive(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "alive\n") }

// answerReady says whether new clients should be sent here, or why not.
func (g *gate) answerReady(w http.ResponseWriter, _ *http.Request) {
	if why := g.unready(); why != "" {
		http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// unready names what keeps the gate from serving. An attack does not: the doors
// stay open.
func (g *gate) unready() string {
	switch g.state.Load() {
	case opening:
		return "the doors are not open yet"
	case draining:
		return "shutting down"
	}
	for _, protocol := range []string{"imap", "pop3"} {
		if b := g.backends[protocol]; b != nil && !b.Healthy() {
			return "no " + protocol + " backend is up"
		}
	}
	return ""
}
