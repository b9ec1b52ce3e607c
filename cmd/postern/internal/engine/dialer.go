package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/valkey-io/valkey-go"

	"postern/tlsconf"
)

// primaryCheck is how often the Sentinels are asked which engine is the primary. A former primary that the Sentinels cannot
// reach, but this gateway can, closes no connection and takes writes that will be lost.
const primaryCheck = 5 * time.Second

// A dialer dials the engine with the files of a Config.
type dialer struct {
	config Config
	url    URL

	mu        sync.Mutex
	password  string   // the last one that was read
	sentinels []string // those that answered last come first
	primary   string   // what the Sentinels named last
	checked   time.Time
}

// newDialer checks c and its files.
func newDialer(c Config) (*dialer, error) {
	u, err := ParseURL(c.URL)
	if err != nil {
		return nil, &ConfigError{"URL", err}
	}
	d := &dialer{config: c, url: u}
	if u.Master != "" {
		d.sentinels = u.Addresses
	}
	if u.TLS {
		if _, err := tlsconf.Client(c.CA, ""); err != nil {
			return nil, &ConfigError{"CA", err}
		}
		if _, err := d.tlsConfig(""); err != nil {
			return nil, &ConfigError{"Cert", err}
		}
	}
	if _, _, err := d.credentials(); err != nil {
		return nil, &ConfigError{"PasswordFile", err}
	}
	return d, nil
}

// connection returns a connection to the engine for a gateway with this name.
func (d *dialer) connection(name string) *connection {
	return newConnection(name, d.dial, d.credentials)
}

// dial connects to the engine. The caller closes the connection.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	switch {
	case d.url.Socket != "":
		return new(net.Dialer).DialContext(ctx, "unix", d.url.Socket)
	case d.url.Master == "":
		return d.dialTCP(ctx, d.url.Addresses[0])
	}
	addr, err := d.askSentinels(ctx)
	if err != nil {
		return nil, err
	}
	return d.dialTCP(ctx, addr)
}

// dialTCP connects to an engine or a Sentinel, inside TLS if the URL says so.
func (d *dialer) dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	if !d.url.TLS {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if d.url.ServerName != "" {
		host = d.url.ServerName
	}
	c, err := d.tlsConfig(host)
	if err != nil {
		return nil, &credentialsError{err}
	}
	return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", addr)
}

// tlsConfig reads the certificates. name must be in that of the engine.
func (d *dialer) tlsConfig(name string) (*tls.Config, error) {
	c, err := tlsconf.Client(d.config.CA, name)
	if err != nil || d.config.Cert == "" {
		return c, err
	}
	pair, err := tls.LoadX509KeyPair(d.config.Cert, d.config.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of this gateway: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// credentials returns the user and the password, both empty if there are none.
func (d *dialer) credentials() (user, password string, err error) {
	if d.config.PasswordFile == "" {
		return d.url.User, "", nil
	}
	text, err := os.ReadFile(d.config.PasswordFile)
	if err != nil {
		return "", "", &credentialsError{fmt.Errorf("read the password: %w", err)}
	}
	password = strings.TrimRight(string(text), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n") {
		return "", "", &credentialsError{fmt.Errorf("read the password: got no password or several lines in %s, want one line", d.config.PasswordFile)}
	}
	d.mu.Lock()
	d.password = password
	d.mu.Unlock()
	return d.url.User, password, nil
}

// A credentialsError means that a file with credentials of this gateway cannot be used.
type credentialsError struct{ error }

// askSentinels returns the address of the primary. The next call begins with the Sentinel that answered, or after one that did not.
func (d *dialer) askSentinels(ctx context.Context) (addr string, err error) {
	d.mu.Lock()
	sentinels := d.sentinels
	d.mu.Unlock()
	for i, sentinel := range sentinels {
		if addr, err = d.askSentinel(ctx, sentinel); err == nil || ctx.Err() != nil {
			first := i
			if err != nil {
				first = i + 1
			}
			d.mu.Lock()
			d.sentinels = append(append([]string{}, sentinels[first:]...), sentinels[:first]...)
			if err == nil {
				d.primary, d.checked = addr, time.Now()
			}
			d.mu.Unlock()
			break
		}
	}
	return addr, err
}

// askSentinel asks one Sentinel for the address of the primary: without a password, as most have none, and with that of the engine
// if one is needed.
func (d *dialer) askSentinel(ctx context.Context, sentinel string) (addr string, err error) {
	for _, credentials := range []func() (string, string, error){nil, d.credentials} {
		if addr, err = d.askSentinelAs(ctx, sentinel, credentials); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("ask the Sentinel %s for the primary: %w", sentinel, err)
	}
	return addr, nil
}

// askSentinelAs asks one Sentinel with these credentials.
func (d *dialer) askSentinelAs(ctx context.Context, sentinel string, credentials func() (string, string, error)) (string, error) {
	c := newConnection("", func(ctx context.Context) (net.Conn, error) { return d.dialTCP(ctx, sentinel) }, credentials)
	defer c.close()
	l, err := c.open()
	if err != nil {
		return "", err
	}
	addr, err := l.client.Do(ctx, l.client.B().SentinelGetMasterAddrByName().Master(d.url.Master).Build()).AsStrSlice()
	switch {
	case errors.Is(err, valkey.Nil):
		return "", fmt.Errorf("it knows no primary %q", d.url.Master)
	case err == nil && len(addr) != 2:
		return "", fmt.Errorf("got %d values, want host and port", len(addr))
	case err != nil:
		return "", err
	}
	return net.JoinHostPort(addr[0], addr[1]), nil
}

// checkPrimary asks the Sentinels from time to time whether the engine that c is connected to is still the primary. If it is not,
// the next calls dial the new one.
func (d *dialer) checkPrimary(ctx context.Context, c *Client) {
	d.mu.Lock()
	former, due := d.primary, d.primary != "" && time.Since(d.checked) >= primaryCheck
	if due {
		d.checked = time.Now()
	}
	d.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	if addr, err := d.askSentinels(ctx); err == nil && addr != former {
		c.commands.interrupt()
		c.reads.interrupt()
	}
}

// explain makes the error of a call, without the password.
func (d *dialer) explain(op string, err error) *Error {
	d.mu.Lock()
	password := d.password
	d.mu.Unlock()
	e := &Error{Op: op, Reason: reason(err), Err: err}
	if text := err.Error(); password != "" && strings.Contains(text, password) { // an unknown command is repeated with its arguments
		e.Err = errors.New(strings.ReplaceAll(text, password, "(hidden)"))
	}
	return e
}

// replies are the reasons of errors that the engine answers, by their first word.
var replies = map[string]Reason{
	"OOM": Full, "MISCONF": Full,
	"READONLY": ReadOnly, "MASTERDOWN": ReadOnly, "NOREPLICAS": ReadOnly,
	"NOPERM": Denied, "NOAUTH": Denied, "WRONGPASS": Denied, "DENIED": Denied,
	"LOADING": Loading,
}

// reason is why err happened.
func reason(err error) Reason {
	if reply, ok := errors.AsType[*valkey.ValkeyError](err); ok {
		first, _, _ := strings.Cut(reply.Error(), " ")
		if r, known := replies[first]; known {
			return r
		}
		return Other
	}
	var network net.Error
	switch {
	case isDenied(err):
		return Denied
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClosed), isTLSMismatch(err):
		return Other
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return Timeout
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Down
	}
	return Other
}

// isDenied reports whether one side refuses the credentials of the other before the first command.
func isDenied(err error) bool {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.AlertError](err)
	return ok
}

// isTLSMismatch reports whether the engine speaks no TLS where it should.
func isTLSMismatch(err error) bool {
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}
