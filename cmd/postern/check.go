package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"postern/proxy"
)

const (
	// tarpitCap is the longest wait that mail programs put up with: mbsync
	// gives up after 20 s, and the backend needs a part.
	tarpitCap = 15 * time.Second
	// repeatCap and knownCap are as long as the limiter allows.
	repeatCap = ttl(time.Hour)
	knownCap  = ttl(366 * 24 * time.Hour)
	// fdReserve is kept for listeners, log, probes and the admin page.
	fdReserve = 100
	// fdsEach is what one connection needs at most: one descriptor towards the
	// client and, while it logs in and when it is logged in, one towards the backend.
	fdsEach = 2
	// connectionsCap bounds the default where descriptors are plenty: beyond it
	// memory is what runs out.
	connectionsCap = 250_000
)

// wrong is the complaint about the setting name.
func wrong(name, format string, args ...any) error {
	return fmt.Errorf("%s%s: %s", prefix, name, fmt.Sprintf(format, args...))
}

// check finds settings that contradict each other, and fits MAX_CONNECTIONS to
// the descriptors this process may have.
func (c *Config) check(fdLimit uint64) error {
	checks := []func() error{c.checkDoors, c.checkCertificates, c.checkBackendTLS, c.checkTimes, c.checkAdmin}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return c.fitConnections(fdLimit)
}

// checkDoors demands a door, backends for every protocol that has one, and no
// backend twice: log and metrics tell backends apart by their addresses.
func (c *Config) checkDoors() error {
	d, b := c.Doors, c.Backend
	imap, pop3 := len(d.IMAP)+len(d.IMAPS), len(d.POP3)+len(d.POP3S)
	switch {
	case imap+pop3 == 0:
		return wrong("IMAPS_LISTEN", "off like every other door: takes at least one address, here or in another LISTEN setting")
	case imap > 0 && len(b.IMAP) == 0:
		return wrong("IMAP_BACKENDS", "not set, but an IMAP door is open: takes host:port, or close them with POSTERN_IMAP_LISTEN=off and POSTERN_IMAPS_LISTEN=off")
	case pop3 > 0 && len(b.POP3) == 0:
		return wrong("POP3_BACKENDS", "not set, but a POP3 door is open: takes host:port, or close them with POSTERN_POP3_LISTEN=off and POSTERN_POP3S_LISTEN=off")
	case twice(b.IMAP) != "":
		return wrong("IMAP_BACKENDS", "%s twice: takes every backend once", twice(b.IMAP))
	case twice(slices.Concat(b.IMAP, b.POP3)) != "":
		return wrong("POP3_BACKENDS", "%s twice: takes every backend once, and no port speaks both protocols", twice(slices.Concat(b.IMAP, b.POP3)))
	}
	return nil
}

// twice returns the first of addrs that comes a second time, or "".
func twice(addrs hostPorts) string {
	for i, addr := range addrs {
		if slices.Contains(addrs[:i], addr) {
			return addr
		}
	}
	return ""
}

// checkCertificates demands pairs, and that there are some where TLS is needed.
// Whether the files are good is found out when they are loaded.
func (c *Config) checkCertificates() error {
	t := c.TLS
	switch {
	case len(t.Certs) == 0 && len(t.Keys) > 0:
		return wrong("TLS_KEY", "set without %sTLS_CERT: takes one key for each certificate", prefix)
	case len(t.Certs) == 0 && t.TicketKeys != "":
		return wrong("TLS_TICKET_KEYS", "set without %sTLS_CERT: takes a file only where TLS is offered", prefix)
	case len(t.Certs) != len(t.Keys):
		return wrong("TLS_KEY", "%d for %d certificates in %sTLS_CERT: takes one key for each, in the same order", len(t.Keys), len(t.Certs), prefix)
	case len(t.Certs) == 0 && c.needsTLS() != "":
		return wrong("TLS_CERT", "not set, but %s%s needs it: takes the path of a certificate chain", prefix, c.needsTLS())
	}
	return nil
}

// needsTLS names a setting that cannot do without a certificate. A clear door
// needs one for STARTTLS, unless passwords may come in clear.
func (c *Config) needsTLS() string {
	d := c.Doors
	switch {
	case len(d.IMAPS) > 0:
		return "IMAPS_LISTEN"
	case len(d.POP3S) > 0:
		return "POP3S_LISTEN"
	case d.CleartextLogin:
		return ""
	case len(d.IMAP) > 0:
		return "IMAP_LISTEN"
	default:
		return "POP3_LISTEN"
	}
}

// checkBackendTLS refuses settings that would look like protection and be none.
func (c *Config) checkBackendTLS() error {
	b := c.Backend
	if b.TLS != proxy.BackendClear {
		return nil
	}
	switch {
	case b.CA != "":
		return wrong("BACKEND_TLS_CA", "set while %sBACKEND_TLS is off: takes a file only with starttls or tls", prefix)
	case b.Name != "":
		return wrong("BACKEND_TLS_NAME", "set while %sBACKEND_TLS is off: takes a name only with starttls or tls", prefix)
	}
	return nil
}

// checkTimes keeps the parts of a stay shorter than the whole, and the wait for
// an answer shorter than mail programs wait.
func (c *Config) checkTimes() error {
	t := c.Timeouts
	switch {
	case c.Tarpit.Max > tarpitCap:
		return wrong("TARPIT_MAX", "%v: takes at most %v, because mail programs give up soon after", c.Tarpit.Max, tarpitCap)
	case c.Tarpit.Max >= t.Login:
		return wrong("TARPIT_MAX", "%v: takes less than %sLOGIN_TIMEOUT, which is %v", c.Tarpit.Max, prefix, t.Login)
	case c.Limits.Repeat > repeatCap:
		return wrong("REPEAT_TTL", "%v: takes at most %v, or a password that has been corrected does not work", time.Duration(c.Limits.Repeat), time.Duration(repeatCap))
	case c.Limits.Known > knownCap:
		return wrong("KNOWN_TTL", "%v: takes at most %v", time.Duration(c.Limits.Known), time.Duration(knownCap))
	case t.Handshake > t.Login:
		return wrong("HANDSHAKE_TIMEOUT", "%v: takes at most %sLOGIN_TIMEOUT, which is %v", t.Handshake, prefix, t.Login)
	}
	return nil
}

// checkAdmin explains what would else be an address in use.
func (c *Config) checkAdmin() error {
	if a := c.Admin; a.Listen != "" && a.Listen == a.Metrics {
		return wrong("METRICS_LISTEN", "%s: takes an address of its own; %sADMIN_LISTEN serves /metrics already", a.Metrics, prefix)
	}
	return nil
}

// fitConnections checks MAX_CONNECTIONS against the descriptors, or derives it
// from them. There may be as many connections as there are descriptors as long as
// few have their second one: the server counts both.
func (c *Config) fitConnections(fdLimit uint64) error {
	if fdLimit < fdReserve+fdsEach {
		return wrong("MAX_CONNECTIONS", "the limit of %d file descriptors leaves no room for a connection: raise it (LimitNOFILE, ulimit -n)", fdLimit)
	}
	room := min(fdLimit-fdReserve, math.MaxInt)
	c.descriptors = int(room)
	l := &c.Limits
	switch {
	case l.MaxConnections == 0:
		l.MaxConnections = int(min(room, connectionsCap))
	case uint64(l.MaxConnections) > room:
		return wrong("MAX_CONNECTIONS", "%d: takes at most %d with a limit of %d file descriptors", l.MaxConnections, room, fdLimit)
	}
	return nil
}

// warnings tells what is allowed but will surprise: no backend of Dovecot's
// takes a password from a connection it believes to be in the clear, and only a
// v2 header can say that the client is in TLS.
func (c *Config) warnings() (lines []string) {
	offersTLS := len(c.TLS.Certs) > 0
	if offersTLS && c.Backend.Proxy != proxy.ProxyV2 && c.Backend.TLS == proxy.BackendClear {
		lines = append(lines, prefix+"BACKEND_PROXY: without v2 or "+prefix+"BACKEND_TLS, Dovecot takes TLS clients to be in clear text and refuses their passwords")
	}
	if c.Limits.Mode == observe {
		lines = append(lines, prefix+"MODE: observe: nobody is refused or made to wait, the log and the metrics say who would have been")
	}
	for _, name := range c.overridden {
		lines = append(lines, name+": the environment wins over "+prefix+"ENV_FILE, where it has another value")
	}
	return lines
}
