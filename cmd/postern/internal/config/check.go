package config

import (
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/proxy"
	"postern/proxy/dialogue"
)

const (
	// tarpitCap is the longest delay that mail programs tolerate: mbsync gives
	// up after 20 s, and the backend needs some of that.
	tarpitCap = 15 * time.Second
	// repeatCap and knownCap are the longest times that the limiter allows.
	repeatCap = ttl(time.Hour)
	knownCap  = ttl(366 * 24 * time.Hour)
	// fdReserve is the number of descriptors kept for listeners, log, probes and
	// the admin API.
	fdReserve = 100
	// fdsEach is the largest number of descriptors that one connection needs:
	// one towards the client and, from login on, one towards the backend.
	fdsEach = 2
	// connectionsCap bounds the default where descriptors are plenty: beyond it
	// memory is the limit.
	connectionsCap = 250_000
)

// check finds settings that contradict each other, and derives MAX_CONNECTIONS
// from the descriptors this process may have.
func (c *Config) check(fdLimit uint64) (wrong []error) {
	checks := []func() error{
		c.checkListeners, c.checkLoops, c.checkNetworks, c.checkCertificates, c.checkBackendTLS, c.checkTimes, c.checkAdmin, c.checkPolicy, c.checkShare, c.checkNotices,
		func() error { return c.fitConnections(fdLimit) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			wrong = append(wrong, err)
		}
	}
	return wrong
}

// checkListeners requires a listener, backends for every protocol that has one,
// and no backend twice: log and metrics tell backends apart by their addresses.
func (c *Config) checkListeners() error {
	l, b := c.Listeners, c.Backend
	if len(l.Protocols()) == 0 {
		return Errorf("IMAPS_LISTEN", "got off like all other listeners, want at least one address, here or in another LISTEN setting")
	}
	for _, p := range l.Protocols() {
		if len(b.Of(p.Name())) == 0 {
			off := Prefix + strings.Join(l.settings(p, false), "=off and "+Prefix) + "=off"
			return Errorf(BackendsSetting(p.Name()), "got nothing, want host:port for the %s listeners, or %s", p.Title(), off)
		}
	}
	var before []string
	for _, p := range dialogue.Protocols() {
		want := "every backend once"
		if len(before) > 0 {
			want += ", and another port for each protocol"
		}
		before = append(before, b.Of(p.Name())...)
		if twice := firstTwice(before); twice != "" {
			return Errorf(BackendsSetting(p.Name()), "got %s twice, want %s", twice, want)
		}
	}
	return nil
}

// firstTwice returns the first of addrs that was there before, or "".
func firstTwice(addrs []string) string {
	for i, addr := range addrs {
		if slices.Contains(addrs[:i], addr) {
			return addr
		}
	}
	return ""
}

// checkCertificates requires pairs, and that there are some where TLS is
// needed. Whether the files are good is found out when they are loaded.
func (c *Config) checkCertificates() error {
	t := c.TLS
	switch {
	case len(t.Certs) == 0 && len(t.Keys) > 0:
		return Errorf("TLS_KEY", "got a key without %sTLS_CERT, want one key for each certificate", Prefix)
	case len(t.Certs) == 0 && t.TicketKeys != "":
		return Errorf("TLS_TICKET_KEYS", "got a file without %sTLS_CERT, want it only where TLS is offered", Prefix)
	case len(t.Certs) != len(t.Keys):
		return Errorf("TLS_KEY", "got %d for %d certificates in %sTLS_CERT, want one key for each, in the same order", len(t.Keys), len(t.Certs), Prefix)
	case len(t.Certs) == 0 && c.needsTLS() != "":
		return Errorf("TLS_CERT", "got nothing, want the path of a certificate chain for %s%s", Prefix, c.needsTLS())
	}
	return nil
}

// needsTLS names a listener that needs a certificate, or returns "". A listener
// in clear text needs one for STARTTLS, unless passwords are allowed in clear
// text.
func (c *Config) needsTLS() string {
	l := c.Listeners
	for _, mode := range []proxy.TLSMode{proxy.Implicit, proxy.Upgrade} {
		if mode == proxy.Upgrade && l.CleartextLogin {
			break
		}
		for _, kind := range proxy.ListenerKinds() {
			if kind.TLS == mode && len(l.Of(kind.Name)) > 0 {
				return ListenSetting(kind.Name)
			}
		}
	}
	return ""
}

// checkBackendTLS refuses settings that would look like protection and have no
// effect.
func (c *Config) checkBackendTLS() error {
	b := c.Backend
	if b.TLS != proxy.BackendClear {
		return nil
	}
	switch {
	case b.CA != "":
		return Errorf("BACKEND_TLS_CA", "got a file while %sBACKEND_TLS is off, want it only with starttls or tls", Prefix)
	case b.Name != "":
		return Errorf("BACKEND_TLS_NAME", "got a name while %sBACKEND_TLS is off, want it only with starttls or tls", Prefix)
	}
	return nil
}

// checkTimes keeps the parts of a connection shorter than the whole, and the
// delay of an answer shorter than mail programs wait.
func (c *Config) checkTimes() error {
	t := c.Timeouts
	switch {
	case c.Tarpit.Max > tarpitCap:
		return Errorf("TARPIT_MAX", "got %v, want at most %v: mail programs give up soon after", c.Tarpit.Max, tarpitCap)
	case c.Tarpit.Max >= t.Login:
		return Errorf("TARPIT_MAX", "got %v, want less than %sLOGIN_TIMEOUT, which is %v", c.Tarpit.Max, Prefix, t.Login)
	case c.Limits.Repeat > repeatCap:
		return Errorf("REPEAT_TTL", "got %v, want at most %v: a corrected password does not work before", time.Duration(c.Limits.Repeat), time.Duration(repeatCap))
	case c.Limits.Known > knownCap:
		return Errorf("KNOWN_TTL", "got %v, want at most %v", time.Duration(c.Limits.Known), time.Duration(knownCap))
	case t.Handshake > t.Login:
		return Errorf("HANDSHAKE_TIMEOUT", "got %v, want at most %sLOGIN_TIMEOUT, which is %v", t.Handshake, Prefix, t.Login)
	}
	return nil
}

// checkAdmin explains what would otherwise be an address in use.
func (c *Config) checkAdmin() error {
	if a := c.Admin; a.Listen != "" && a.Listen == a.Metrics {
		return Errorf("METRICS_LISTEN", "got %s, want an address of its own: %sADMIN_LISTEN serves /metrics already", a.Metrics, Prefix)
	}
	return nil
}

// checkPolicy requires a token where other hosts can connect: a program that can ask can also
// report denials, and so have users refused.
func (c *Config) checkPolicy() error {
	p := c.Policy
	switch {
	case p.PolicyListen == "" && p.PolicyToken != "":
		return Errorf("POLICY_TOKEN_FILE", "got a file without %sPOLICY_LISTEN, want it only with an address there", Prefix)
	case p.PolicyListen != "" && p.PolicyListen == c.Admin.Listen:
		return Errorf("POLICY_LISTEN", "got %s, want an address of its own: it is that of %sADMIN_LISTEN", p.PolicyListen, Prefix)
	case p.PolicyListen != "" && p.PolicyListen == c.Admin.Metrics:
		return Errorf("POLICY_LISTEN", "got %s, want an address of its own: it is that of %sMETRICS_LISTEN", p.PolicyListen, Prefix)
	case p.PolicyListen != "" && p.PolicyToken == "" && !p.PolicyListen.isLocal():
		return Errorf("POLICY_TOKEN_FILE", "got nothing, want a file with a token for %sPOLICY_LISTEN=%s, which other hosts may reach", Prefix, p.PolicyListen)
	}
	return nil
}

// isLocal reports whether only this machine can reach a.
func (a httpAddr) isLocal() bool {
	host, _, err := net.SplitHostPort(string(a))
	ip, ipErr := netip.ParseAddr(host)
	return a.IsSocket() || err == nil && (host == "localhost" || ipErr == nil && ip.IsLoopback())
}

// PolicyConnections is how many connections to POLICY_LISTEN there may be: each Dovecot may
// have a hundred.
const PolicyConnections = 256

// reserved is how many descriptors are not for connections of mail.
func (c *Config) reserved() uint64 {
	if c.Policy.PolicyListen == "" {
		return fdReserve
	}
	return fdReserve + PolicyConnections
}

// fitConnections checks MAX_CONNECTIONS against the descriptors, or derives it
// from them. There may be as many connections as there are descriptors as long
// as few have their second one: the server counts both.
func (c *Config) fitConnections(fdLimit uint64) error {
	reserved := c.reserved()
	if fdLimit < reserved+fdsEach {
		return Errorf("MAX_CONNECTIONS", "got a limit of %d file descriptors, want at least %d: raise it (LimitNOFILE, ulimit -n)", fdLimit, reserved+fdsEach)
	}
	available := min(fdLimit-reserved, math.MaxInt)
	c.MaxDescriptors = int(available)
	l := &c.Limits
	switch {
	case l.MaxConnections == 0:
		l.MaxConnections = int(min(available, connectionsCap))
	case uint64(l.MaxConnections) > available:
		return Errorf("MAX_CONNECTIONS", "got %d, want at most %d with a limit of %d file descriptors", l.MaxConnections, available, fdLimit)
	}
	return nil
}

// Warnings describes what is valid but may surprise. Dovecot refuses passwords
// on a connection that it takes for clear text, and only a v2 header can say
// that the client uses TLS.
func (c *Config) Warnings() (lines []string) {
	offersTLS := len(c.TLS.Certs) > 0
	if offersTLS && c.Backend.Proxy != proxy.ProxyV2 && c.Backend.TLS == proxy.BackendClear {
		lines = append(lines, Prefix+"BACKEND_PROXY: without v2 or "+Prefix+"BACKEND_TLS, Dovecot takes clients with TLS for clear text and refuses their passwords")
	}
	if c.Limits.Observe() {
		lines = append(lines, Prefix+"MODE: observe: no client is refused or delayed; log and metrics say which would have been")
	}
	if c.values["STATE_DIR"] == "" && c.State.Dir == "" {
		lines = append(lines, Prefix+"STATE_DIR: no directory can be written, so nothing survives a restart and there is no attack detection; set a path, or off")
	}
	if c.Share.engineURL().IsExposed() {
		lines = append(lines, Prefix+"SHARE_URL: without TLS, others in the network can read the password of the engine, and fill or empty it; what gateways share is encrypted")
	}
	if c.Policy.PolicyListen != "" && !c.Policy.PolicyListen.isLocal() {
		lines = append(lines, Prefix+"POLICY_LISTEN: there is no TLS, so others in the network can read the token and the names of accounts; passwords are sent as short digests only")
	}
	lines = append(lines, c.warnOfNetworks()...)
	for _, name := range c.overridden {
		lines = append(lines, name+": the environment has precedence over "+Prefix+"ENV_FILE, which has another value")
	}
	return lines
}
