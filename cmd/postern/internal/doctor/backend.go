package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/proxy"
	"postern/proxy/dialogue"
	"postern/tlsconf"
)

// Limits on how long a backend may take to accept a connection, and to do what is asked
// on it. Dovecot waits 3 s for a PROXY header (haproxy_timeout) before it closes.
const (
	connectMax  = 3 * time.Second
	converseMax = 5 * time.Second
)

// backend is one backend of the settings.
type backend struct {
	protocol dialogue.Protocol
	setting  string // that names it, with the prefix
	addr     string
	config   config.Backend
	tls      *tls.Config // to verify it; nil without TLS
}

// String names the backend for a Finding.
func (b *backend) String() string { return "backend " + b.protocol.Name() + " " + b.addr }

// way is a way to talk to a backend: with a PROXY header or not, in TLS or not.
type way struct {
	proxy proxy.ProxyVersion
	tls   proxy.BackendTLS
}

// String describes the way.
func (w way) String() string {
	header, inTLS := "without a PROXY header", "in clear text"
	if w.proxy != proxy.ProxyOff {
		header = "with a PROXY " + w.proxy.String() + " header"
	}
	switch w.tls {
	case proxy.BackendStartTLS:
		inTLS = "with STARTTLS"
	case proxy.BackendImplicit:
		inTLS = "in TLS"
	}
	return header + " " + inTLS
}

// configured is the way in the settings.
func (b *backend) configured() way { return way{b.config.Proxy, b.config.TLS} }

// backends lists the backends of the protocols that have a listener.
func (e *examination) backends() (all []*backend, err error) {
	c := e.config.Backend
	var secure *tls.Config
	if c.TLS != proxy.BackendClear {
		if secure, err = tlsconf.Client(string(c.CA), string(c.Name)); err != nil {
			return nil, err
		}
	}
	for _, p := range e.config.Listeners.Protocols() {
		for _, addr := range c.Of(p.Name()) {
			b := &backend{p, config.Prefix + config.BackendsSetting(p.Name()), addr, c, secure}
			if secure != nil && secure.ServerName == "" {
				b.tls = secure.Clone()
				b.tls.ServerName, _, _ = net.SplitHostPort(addr)
			}
			all = append(all, b)
		}
	}
	return all, nil
}

// checkBackends checks every backend, all at the same time.
func (e *examination) checkBackends(ctx context.Context) (found []Finding) {
	all, err := e.backends()
	if err != nil {
		return []Finding{failure("backends", err.Error(), "correct "+config.Prefix+"BACKEND_TLS_CA: it needs a readable file with CA certificates in PEM format")}
	}
	results := make([][]Finding, len(all))
	var busy sync.WaitGroup
	for i, b := range all {
		busy.Go(func() {
			results[i] = b.check(ctx)
			if e.User != "" && len(results[i]) > 0 && results[i][0].Level == OK {
				results[i] = append(results[i], b.checkPenalty(ctx))
			}
		})
	}
	busy.Wait()
	for _, r := range results {
		found = append(found, r...)
	}
	return found
}

// check checks one backend: its name, the connection, the PROXY header, TLS, and what it
// offers to a client in TLS.
func (b *backend) check(ctx context.Context) []Finding {
	host, _, _ := net.SplitHostPort(b.addr)
	resolve, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	if _, err := net.DefaultResolver.LookupNetIP(resolve, "ip", host); err != nil {
		return []Finding{failure(b.String(), "its name does not resolve: "+err.Error(), "correct "+b.setting+", or see why DNS does not answer (/etc/resolv.conf, /etc/hosts)")}
	}
	started := time.Now()
	t := b.talk(ctx, b.configured())
	took := time.Since(started).Round(time.Millisecond)
	switch {
	case !t.connected:
		return []Finding{failure(b.String(), "cannot be reached: "+t.err.Error(), b.unreachableRemedy(t.err))}
	case t.err != nil || len(t.strays) > 0:
		return []Finding{b.diagnose(ctx, t)}
	}
	found := []Finding{ok(b.String(), "greets %s in %v", b.configured(), took)}
	return append(found, b.checkOffer(t))
}

// unreachableRemedy says what to do about a backend that accepts no connection.
func (b *backend) unreachableRemedy(err error) string {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "start the mail server there, give it an inet_listener on this port, or correct " + b.setting
	}
	return "see that the machine is up and its firewall lets this gateway in, or correct " + b.setting
}

// checkOffer checks that a client in TLS may log in with a password.
func (b *backend) checkOffer(t *talk) Finding {
	check := b.String()
	remedy := "set " + config.Prefix + "BACKEND_PROXY=v2, which tells Dovecot that the client uses TLS, or " + config.Prefix + "BACKEND_TLS; else Dovecot needs disable_plaintext_auth = no (2.4: auth_allow_cleartext = yes) there"
	switch {
	case t.loginDisabled:
		return warning(check, "refuses passwords of clients in TLS, because it takes them for clear text (LOGINDISABLED)", remedy)
	case len(t.mechanisms) == 0:
		return warning(check, "offers no way to log in to a client in TLS", remedy)
	case !slices.Contains(t.mechanisms, "PLAIN"):
		return warning(check, "offers a client in TLS no PLAIN, as which postern passes every password on, but "+strings.Join(t.mechanisms, " "),
			"add plain to auth_mechanisms of Dovecot; if it is there, the client is taken for clear text: "+remedy)
	}
	return ok(check, "takes clients in TLS as secured, offers %s", strings.Join(t.mechanisms, " "))
}

// talk is what came of one connection to a backend.
type talk struct {
	err           error
	connected     bool
	greeted       bool
	heard         bool       // it has sent something
	gateway       netip.Addr // local address of the connection
	strays        []string   // lines that answer nothing that was asked
	mechanisms    []string
	loginDisabled bool
}

// talk connects, announces this gateway as a client in TLS, reads the greeting, and asks
// for the capabilities.
func (b *backend) talk(ctx context.Context, w way) *talk {
	t := &talk{}
	ctx, cancel := context.WithTimeout(ctx, connectMax+converseMax)
	defer cancel()
	raw, err := b.connect(ctx)
	if err != nil {
		t.err = err
		return t
	}
	defer raw.Close()
	t.connected, t.gateway = true, addrPort(raw.LocalAddr()).Addr().Unmap()
	ctx, cancel = context.WithTimeout(ctx, converseMax)
	defer cancel()
	var c *mailConn
	c, t.err = b.open(ctx, raw, w, addrPort(raw.LocalAddr()))
	if t.err == nil {
		var offered []string
		offered, t.err = c.capabilities()
		t.mechanisms = c.mechanisms(offered)
		for _, item := range offered {
			t.loginDisabled = t.loginDisabled || strings.EqualFold(item, "LOGINDISABLED")
		}
	}
	t.heard, t.greeted, t.strays = c.heard, c.greeted, c.strays
	return t
}

// connect connects to the backend. The caller closes the connection.
func (b *backend) connect(ctx context.Context) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: connectMax}).DialContext(ctx, "tcp", b.addr)
	return c, eventlog.WithoutAddr(err)
}

// open announces client on raw as a client in TLS, begins TLS towards the backend and reads
// the greeting, each as w says.
func (b *backend) open(ctx context.Context, raw net.Conn, w way, client netip.AddrPort) (*mailConn, error) {
	c := newMailConn(ctx, raw, b.protocol)
	if w.proxy != proxy.ProxyOff {
		header, err := proxy.Header(w.proxy, client, addrPort(raw.RemoteAddr()), true)
		if err != nil {
			return c, err
		}
		if _, err := raw.Write(header); err != nil {
			return c, err
		}
	}
	if w.tls == proxy.BackendImplicit {
		if err := c.begin(ctx, b.tlsConfig()); err != nil {
			return c, err
		}
	}
	if err := c.greeting(); err != nil || w.tls != proxy.BackendStartTLS {
		return c, err
	}
	return c, c.startTLS(ctx, b.tlsConfig())
}

// tlsConfig verifies the backend as the gateway does. Where the gateway uses no TLS, TLS is
// tried to find out what the backend speaks, and nothing is verified.
func (b *backend) tlsConfig() *tls.Config {
	if b.tls == nil {
		return &tls.Config{InsecureSkipVerify: true}
	}
	return b.tls
}

// addrPort is the address of one end of a TCP connection.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

// isTimeout reports whether err says that nothing came in time.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// describe is err for people.
func describe(err error) string {
	switch {
	case err == nil:
		return "greets"
	case isTimeout(err):
		return "sends nothing in time"
	case errors.Is(err, io.EOF):
		return "closes the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "resets the connection"
	}
	var refusal *replyError
	if errors.As(err, &refusal) {
		return fmt.Sprintf("answers %s with %.*q", refusal.command, quoteMax, refusal.line)
	}
	return "fails: " + err.Error()
}
