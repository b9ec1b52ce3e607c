// Package tlsconf provides the certificates and the TLS policy of the gateway.
//
// A [Source] reads certificate pairs, and optionally session ticket keys, from files.
// It returns one [tls.Config] for each protocol and keeps all of them up to date, so
// that certificates are renewed and ticket keys rotated without closing a connection:
//
//	src, err := tlsconf.Load(tlsconf.Config{Certs: certs, Keys: keys})
//	...
//	conn := tls.Server(raw, src.Server("imap"))
//	go src.Watch(ctx, time.Minute, report)
//
// The policy is fixed: TLS 1.2 or later (RFC 8314, RFC 9325); a client that offers
// ALPN must offer the protocol of the listener (RFC 7301), which prevents
// cross-protocol attacks; no client certificates; no Encrypted Client Hello. Servers
// of crypto/tls never renegotiate.
//
// [JA4] makes a fingerprint of what a client offers.
//
// The package stops at the configuration: it opens no connection, writes no log and
// sets no deadline for the handshake.
package tlsconf

import (
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where certificates and keys are, and which TLS versions are allowed.
type Config struct {
	// Certs and Keys are the paths of PEM files, in pairs. A certificate file
	// holds the leaf certificate, then its chain. The first pair is the default.
	Certs, Keys []string

	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13. Zero means TLS 1.2.
	MinVersion uint16

	// TicketKeyFile is the path of a file of session ticket keys. With it, several
	// gateways can resume each other's sessions, and sessions survive a restart.
	//
	// Each line is 32 random octets in base64, as `openssl rand -base64 32`
	// prints them. Empty lines and lines that begin with # are ignored. The first
	// key encrypts new tickets; all keys decrypt. To rotate, insert a new key at
	// the top, and delete the old one a week later, when its tickets have expired.
	//
	// Without a file, and unless [Source.SetTicketKeys] is called, each
	// [Source.Server] config makes its own keys, replaces them daily and deletes
	// them after a week.
	TicketKeyFile string
}

// ConfigError is the error of [Load] and [Source.Reload].
type ConfigError struct {
	Field string // the field of Config that is wrong or names the file at fault
	Err   error  // names the file
}

// Error returns the text of Err.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

func configError(field, format string, args ...any) error {
	return &ConfigError{Field: field, Err: fmt.Errorf(format, args...)}
}

// Source provides the current certificates and ticket keys to any number of
// listeners. All its methods may be called concurrently.
type Source struct {
	config  Config
	current atomic.Pointer[material] // for handshakes

	// mu serializes Reload, SetTicketKeys and Server, so that no config misses a
	// change of ticket keys.
	mu      sync.Mutex
	servers map[string]*tls.Config // by ALPN name
	tickets [][ticketKeySize]byte  // empty: crypto/tls makes and rotates its own
}

// Load reads every file of c. Its error is a [*ConfigError]. An expired certificate is
// no error, because a warning in mail programs is better than no service; see
// [Source.NotAfter].
func Load(c Config) (*Source, error) {
	switch {
	case len(c.Certs) == 0:
		return nil, configError("Certs", "load certificates: got 0 certificate files, want at least 1")
	case len(c.Certs) != len(c.Keys):
		return nil, configError("Keys", "load certificates: got %d key files, want one for each of %d certificate files", len(c.Keys), len(c.Certs))
	}
	switch c.MinVersion {
	case 0:
		c.MinVersion = tls.VersionTLS12
	case tls.VersionTLS12, tls.VersionTLS13:
	default:
		return nil, configError("MinVersion", "minimum TLS version: got %s, want TLS 1.2 or 1.3", tls.VersionName(c.MinVersion))
	}
	d, err := read(c)
	if err != nil {
		return nil, err
	}
	m, err := parse(c, d)
	if err != nil {
		return nil, err
	}
	s := &Source{config: c, servers: make(map[string]*tls.Config), tickets: m.tickets}
	s.current.Store(m)
	return s, nil
}

// Server returns the config for the listeners of one protocol; alpn is its IANA name,
// "imap" or "pop3". A client that offers only other protocols gets the alert
// no_application_protocol. A client that does not use ALPN is accepted.
//
// Server returns the same config for the same name each time, so a session of port 143
// can be resumed at port 993. A clone does not follow changes of the ticket keys: one
// that serves handshakes must have callbacks for tickets that use the keys of the
// original ([tls.Config.EncryptTicket], [tls.Config.DecryptTicket]).
func (s *Source) Server(alpn string) *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.servers[alpn]; c != nil {
		return c
	}
	// GetConfigForClient is not needed: GetCertificate follows reloads, and ticket
	// keys may be set while a config is in use.
	c := &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.current.Load().names.pick(hello), nil
		},
		MinVersion: s.config.MinVersion,
		NextProtos: []string{alpn},
	}
	if len(s.tickets) > 0 {
		c.SetSessionTicketKeys(s.tickets)
	}
	s.servers[alpn] = c
	return c
}

// SetTicketKeys replaces the session ticket keys of all configs, for a caller that keeps
// keys itself. The first key encrypts new tickets; all keys decrypt. There must be at
// least one. It must not be used with [Config.TicketKeyFile], whose keys would come back
// with the next change of a file.
func (s *Source) SetTicketKeys(keys [][ticketKeySize]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setTicketKeys(keys)
}

// setTicketKeys is SetTicketKeys with s.mu held.
func (s *Source) setTicketKeys(keys [][ticketKeySize]byte) {
	s.tickets = keys
	for _, c := range s.servers {
		c.SetSessionTicketKeys(keys)
	}
}

// Reload reads all files again and reports whether anything changed. New contents
// apply to handshakes that begin afterwards. After an error, which is a
// [*ConfigError], nothing changes, ticket keys included.
//
// Sessions of a former certificate can still be resumed. That is safe: clients do not
// authenticate by certificate, so a ticket only shortens the handshake, and the TLS
// version is negotiated before the ticket is used.
func (s *Source) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := read(s.config)
	if err != nil {
		return false, err
	}
	if d.digest == s.current.Load().digest {
		return false, nil
	}
	m, err := parse(s.config, d)
	if err != nil {
		return false, err
	}
	s.current.Store(m)
	if len(m.tickets) > 0 {
		s.setTicketKeys(m.tickets)
	}
	return true, nil
}

// Serves reports whether a certificate covers the DNS name, exactly or with a wildcard.
// It is false for everything that is not a valid DNS name, so a name it accepts is safe
// to send to a backend. A certificate without DNS names covers none, but it can be the
// default.
func (s *Source) Serves(name string) bool { return s.current.Load().names.covering(name) != nil }

// NotAfter returns the earliest expiry of the leaf certificates. It may be in the past.
func (s *Source) NotAfter() time.Time { return s.current.Load().notAfter }
