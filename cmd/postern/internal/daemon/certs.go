package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/metrics"
	"postern/tlsconf"
)

// certCheck is how often the certificate files are checked for changes.
const certCheck = 10 * time.Second

// certificates are those that clients are shown.
type certificates struct {
	source  *tlsconf.Source
	log     *eventlog.Log
	metrics *metrics.Metrics
}

// loadCertificates reads the certificates. It returns nil where none are set: no
// listener needs one then, which package config has checked.
func loadCertificates(t config.TLS, log *eventlog.Log, m *metrics.Metrics) (*certificates, error) {
	if len(t.Certs) == 0 {
		return nil, nil
	}
	source, err := tlsconf.Load(tlsconf.Config{
		Certs: t.Certs, Keys: t.Keys, MinVersion: uint16(t.MinVersion), TicketKeyFile: string(t.TicketKeys),
	})
	if wrong, ok := errors.AsType[*tlsconf.ConfigError](err); ok {
		return nil, config.Errorf(tlsSettings[wrong.Field], "%w", err)
	}
	if err != nil {
		return nil, err
	}
	return &certificates{source, log, m}, nil
}

// tlsSettings are the settings of the fields of tlsconf.Config.
var tlsSettings = map[string]string{
	"Certs": "TLS_CERT", "Keys": "TLS_KEY", "MinVersion": "TLS_MIN", "TicketKeyFile": "TLS_TICKET_KEYS",
}

// server is the TLS configuration of the listeners of a protocol, nil without
// certificates.
func (c *certificates) server(protocol string) *tls.Config {
	if c == nil {
		return nil
	}
	return c.source.Server(protocol)
}

// watch reloads files that have changed, until ctx ends.
func (c *certificates) watch(ctx context.Context) { c.source.Watch(ctx, certCheck, c.loaded) }

// reload reads the files again.
func (c *certificates) reload() { c.loaded(c.source.Reload()) }

// loaded reports what reading the files led to.
func (c *certificates) loaded(changed bool, err error) {
	c.metrics.CertificatesLoaded(err)
	switch {
	case err != nil:
		c.log.Error("certificates not reloaded, keeping the previous ones", slog.String("event", "certificates"), eventlog.Error(err))
	case changed:
		c.log.Info("certificates reloaded", slog.String("event", "certificates"), slog.Time("not_after", c.source.NotAfter()))
	}
}
