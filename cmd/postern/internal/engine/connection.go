package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/valkey-io/valkey-go"
)

// A connection is one connection to an engine. The first call dials it, and the next one after it broke. It carries one call at a
// time.
type connection struct {
	option valkey.ClientOption
	dial   dialFunc

	mu      sync.Mutex
	current *link // nil before the first call and after drop
	closed  bool
}

// A dialFunc connects to an engine, and returns the address that it has dialled.
type dialFunc func(context.Context) (conn net.Conn, addr string, err error)

// newConnection returns a connection that is not dialled yet. credentials returns the user and the password; nil: none.
func newConnection(name string, dial dialFunc, credentials func() (user, password string, err error)) *connection {
	c := &connection{dial: dial, option: valkey.ClientOption{
		InitAddress:       []string{"engine"}, // dial knows where that is
		ClientName:        name,
		ClientSetInfo:     valkey.DisableClientSetInfo, // it would need permissions that Redis 7.0 does not know
		ForceSingleClient: true,                        // no CLUSTER commands
		DisableCache:      true,
		DisableRetry:      true,
		// Every call takes the one connection of the pool. Without pipelining there is no goroutine that reads and
		// writes, so a connection is closed at once, and a panic of the parser is in the goroutine of the call.
		DisableAutoPipelining: true,
		BlockingPoolSize:      1,
		PipelineMultiplex:     -1,
		ReadBufferEachConn:    32 << 10,
		WriteBufferEachConn:   32 << 10,
		RingScaleEachConn:     1, // only for pipelining
	}}
	if credentials != nil {
		c.option.AuthCredentialsFn = func(valkey.AuthCredentialsContext) (valkey.AuthCredentials, error) {
			user, password, err := credentials()
			return valkey.AuthCredentials{Username: user, Password: password}, err
		}
	}
	return c
}

// open returns the current link, or a new one.
func (c *connection) open() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, errClosed
	case c.current == nil:
		l, err := newLink(c.option, c.dial)
		if err != nil {
			return nil, err
		}
		c.current = l
	}
	return c.current, nil
}

// drop closes l, so that the next call dials.
func (c *connection) drop(l *link) {
	c.mu.Lock()
	if c.current == l {
		c.current = nil
	}
	c.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// interrupt ends a call that is in progress. The next call dials.
func (c *connection) interrupt() {
	c.mu.Lock()
	l := c.current
	c.mu.Unlock()
	c.drop(l)
}

// dropUnless closes the connection unless it is to addr, so that the next call dials.
func (c *connection) dropUnless(addr string) {
	c.mu.Lock()
	l := c.current
	c.mu.Unlock()
	if l != nil && l.isElsewhere(addr) {
		c.drop(l)
	}
}

// close ends a call that is in progress, and makes all others fail.
func (c *connection) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.interrupt()
}

// isClosed reports whether close was called.
func (c *connection) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// A link is a client of valkey-go. It has at most one network connection. After an error it dials again by itself.
type link struct {
	client valkey.Client

	mu     sync.Mutex
	ready  bool
	conn   net.Conn // the latest one; nil if there was none
	addr   string   // that conn was dialled to
	closed bool
}

// errNotReady is the error of the dial that valkey-go tries when a client is made.
var errNotReady = errors.New("the client is being made")

// newLink returns a link that dials with dial. It does not dial yet: valkey-go would, and returns a usable client if that fails.
func newLink(option valkey.ClientOption, dial dialFunc) (*link, error) {
	l := &link{}
	option.DialCtxFn = func(ctx context.Context, _ string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
		if !l.isReady() {
			return nil, errNotReady
		}
		conn, addr, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return l.add(&replyConn{Conn: conn}, addr)
	}
	var err error
	if l.client, err = valkey.NewClient(option); l.client == nil {
		return nil, err
	}
	l.mu.Lock()
	l.ready = true
	l.mu.Unlock()
	return l, nil
}

// isReady reports whether the client has been made.
func (l *link) isReady() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready
}

// isElsewhere reports whether the connection is to another address than addr.
func (l *link) isElsewhere(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil && l.addr != addr
}

// add remembers conn, or closes it if l is closed.
func (l *link) add(conn net.Conn, addr string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	l.conn, l.addr = conn, addr
	return conn, nil
}

// close closes the network connection, which ends a call that is in progress, and then the client.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	l.client.Close()
}

// A commandFunc builds a command.
type commandFunc func(valkey.Builder) valkey.Completed

// A parseFunc parses the answer to a command.
type parseFunc[T any] func(valkey.ValkeyResult) (T, error)

// errUnusable is the cause of an error about an answer that no engine gives. The link cannot be used any more.
var errUnusable = errors.New("got an answer that cannot be parsed")

// ask sends a command over l and parses the answer. valkey-go panics on some answers, which is an errUnusable.
func ask[T any](ctx context.Context, l *link, command commandFunc, parse parseFunc[T]) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errUnusable, p)
		}
	}()
	return parse(l.client.Do(ctx, command(l.client.B())))
}
