package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
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
	primary   string   // what they answered last
	asked     time.Time
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
func (d *dialer) dial(ctx context.Context) (conn net.Conn, addr string, err error) {
	switch {
	case d.url.Socket != "":
		conn, err = new(net.Dialer).DialContext(ctx, "unix", d.url.Socket)
		return conn, d.url.Socket, err
	case d.url.Master == "":
		addr = d.url.Addresses[0]
	default:
		if addr, err = d.askSentinels(ctx); err != nil {
			return nil, "", err
		}
		d.mu.Lock()
		if d.primary != addr {
			d.primary, d.asked = addr, time.Time{} // the other connection is to the former primary
		}
		d.mu.Unlock()
	}
	conn, err = d.dialTCP(ctx, addr)
	return conn, addr, err
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
	conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return alertConn{conn}, nil
}

// An alertConn is a TLS connection whose writes fail with the alert of the other side, if there is one. In TLS 1.3 a server refuses the
// certificate of the client after the handshake, when the client writes already.
type alertConn struct{ net.Conn }

// Write implements net.Conn.
func (c alertConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		if _, alert := c.Read(make([]byte, 1)); isAlert(alert) {
			err = alert
		}
	}
	return n, err
}

// isAlert reports whether err is an alert of the other side.
func isAlert(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "remote error"
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

// askSentinels returns the address of the primary. The next call begins with the Sentinel that answered, or if none did, with another one:
// the first may have taken all the time.
func (d *dialer) askSentinels(ctx context.Context) (addr string, err error) {
	d.mu.Lock()
	sentinels := d.sentinels
	d.asked = time.Now()
	d.mu.Unlock()
	first := 1
	for i, sentinel := range sentinels {
		if addr, err = d.askSentinel(ctx, sentinel); err == nil {
			first = i
			break
		}
	}
	d.mu.Lock()
	d.sentinels = slices.Concat(sentinels[first:], sentinels[:first])
	d.mu.Unlock()
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
	c := newConnection("", func(ctx context.Context) (net.Conn, string, error) {
		conn, err := d.dialTCP(ctx, sentinel)
		return conn, sentinel, err
	}, credentials)
	defer c.close()
	l, err := c.open()
	if err != nil {
		return "", err
	}
	addr, err := ask(ctx, l, func(b valkey.Builder) valkey.Completed {
		return b.SentinelGetMasterAddrByName().Master(d.url.Master).Build()
	}, valkey.ValkeyResult.AsStrSlice)
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

// checkPrimary asks the Sentinels from time to time which engine is the primary. If c is connected to another one, the next calls dial.
func (d *dialer) checkPrimary(ctx context.Context, c *Client) {
	d.mu.Lock()
	due := d.url.Master != "" && time.Since(d.asked) >= primaryCheck
	d.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.callMax)
	defer cancel()
	if addr, err := d.askSentinels(ctx); err == nil {
		c.commands.dropUnless(addr)
		c.reads.dropUnless(addr)
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
	case errors.Is(err, context.Canceled), errors.Is(err, errClosed), isTLSMismatch(err):
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
	return isAlert(err)
}

// isTLSMismatch reports whether the engine speaks no TLS where it should.
func isTLSMismatch(err error) bool {
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}
