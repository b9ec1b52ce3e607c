// Package tlsconf holds the gateway's certificates and its TLS policy.
//
// A [Source] reads certificate pairs and, if asked to, session ticket keys
// from files. It hands one [tls.Config] to each door and keeps all of them
// up to date, so that certificates are renewed and ticket keys rotated while
// connections stay open:
//
//	src, err := tlsconf.Load(tlsconf.Config{Certs: certs, Keys: keys})
//	...
//	conn := tls.Server(raw, src.Server("imap"))
//	go src.Watch(ctx, time.Minute, report)
//
// The policy is fixed: TLS 1.2 or later (RFC 8314, RFC 9325), a client that
// offers ALPN must offer the door's own protocol (RFC 7301, the defence
// against cross-protocol attacks), no client certificates, no Encrypted
// Client Hello and, as always in crypto/tls servers, no renegotiation.
//
// The package opens no connection and writes no log. A deadline for the
// handshake is the caller's to set: crypto/tls has none of its own.
package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where certificates and keys are and what is demanded of clients.
type Config struct {
	// Certs and Keys are paired PEM files. A certificate file holds the leaf
	// first, then its chain. The first pair is the default.
	Certs, Keys []string

	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13. Zero means TLS 1.2.
	MinVersion uint16

	// TicketKeyFile names a file of session ticket keys, which lets several
	// gateways resume each other's sessions and sessions outlive a restart.
	//
	// Each line is 32 random octets in base64, as `openssl rand -base64 32`
	// prints them; empty lines and lines that begin with # are skipped. The
	// first key encrypts new tickets, all of them decrypt. To rotate, put a
	// new key on top and drop the old one a week later, when its tickets have
	// expired.
	//
	// Without a file each [Source.Server] config makes its own keys, replaces
	// them daily and forgets them after a week.
	TicketKeyFile string
}

// Source serves the newest certificates and ticket keys to any number of
// doors. All its methods may be called concurrently.
type Source struct {
	files Config
	now   atomic.Pointer[material] // what handshakes are served from

	// mu serialises reloads with each other and with the making of door
	// configs, so that no config misses a change of ticket keys.
	mu    sync.Mutex
	doors map[string]*tls.Config // by ALPN name
}

// Load reads every file that c names. An error names the file at fault or the
// field that makes no sense. An expired certificate is loaded all the same,
// because a warning in a mail program is better than a closed door; see
// [Source.NotAfter].
func Load(c Config) (*Source, error) {
	switch {
	case len(c.Certs) == 0:
		return nil, errors.New("load certificates: no certificate file given")
	case len(c.Certs) != len(c.Keys):
		return nil, fmt.Errorf("load certificates: %d certificate files but %d key files", len(c.Certs), len(c.Keys))
	}
	switch c.MinVersion {
	case 0:
		c.MinVersion = tls.VersionTLS12
	case tls.VersionTLS12, tls.VersionTLS13:
	default:
		return nil, fmt.Errorf("load certificates: minimum version %s: want TLS 1.2 or 1.3", tls.VersionName(c.MinVersion))
	}
	d, err := read(c)
	if err != nil {
		return nil, err
	}
	m, err := parse(c, d)
	if err != nil {
		return nil, err
	}
	s := &Source{files: c, doors: make(map[string]*tls.Config)}
	s.now.Store(m)
	return s, nil
}

// Server returns the config for the doors of one protocol; alpn is its IANA
// name, "imap" or "pop3". A client that offers other protocols only is refused
// with no_application_protocol; one that does not use ALPN is welcome.
//
// The same config is returned for the same name each time, so that a session
// begun at port 143 resumes at port 993. It must be used as it is: a clone
// would keep the ticket keys of its moment for good.
func (s *Source) Server(alpn string) *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.doors[alpn]; c != nil {
		return c
	}
	// No config per client (GetConfigForClient) is needed to follow reloads:
	// only the certificate is asked for each time, and the ticket keys of a
	// config may be set while it is in use.
	c := &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.now.Load().names.pick(hello), nil
		},
		MinVersion: s.files.MinVersion,
		NextProtos: []string{alpn},
	}
	if keys := s.now.Load().tickets; len(keys) > 0 {
		c.SetSessionTicketKeys(keys)
	}
	s.doors[alpn] = c
	return c
}

// Reload reads all files again. New contents serve every handshake from now
// on; handshakes and connections that have begun are left alone. It reports
// whether anything changed. After an error, which names the file at fault,
// everything stays as it was, ticket keys included.
//
// Sessions begun under an old certificate may still be resumed: no client is
// identified by certificate here, so a ticket grants nothing but a shorter
// handshake, and the version is negotiated before it is looked at.
func (s *Source) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := read(s.files)
	if err != nil {
		return false, err
	}
	if d.digest == s.now.Load().digest {
		return false, nil
	}
	m, err := parse(s.files, d)
	if err != nil {
		return false, err
	}
	s.now.Store(m)
	if len(m.tickets) > 0 {
		for _, c := range s.doors {
			c.SetSessionTicketKeys(m.tickets)
		}
	}
	return true, nil
}

// Serves reports whether a configured certificate covers the DNS name, as an
// exact name or by a wildcard. A name that is not DNS syntax is never served,
// so one that is may be passed on to others. Certificates without a DNS name
// serve none, though they may be the default.
func (s *Source) Serves(name string) bool { return s.now.Load().names.covering(name) != nil }

// NotAfter returns the time at which the first of the leaf certificates
// expires or has expired.
func (s *Source) NotAfter() time.Time { return s.now.Load().notAfter }
