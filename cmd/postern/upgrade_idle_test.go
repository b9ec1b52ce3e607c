//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/bench/client"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// idleClients are mail programs that are in IDLE. Each has an account and an
// address of its own. When its connection ends, it connects again.
type idleClients struct {
	gateway     *supervisor
	first, size int // program first and those after it
	deliver     func(account string, message []byte) error
	delivered   int // messages to each program
	stop        context.CancelFunc
	running     sync.WaitGroup

	mu       sync.Mutex
	ends     map[string]int  // connections that have ended, by how
	notified []int           // by a number of messages: how many programs were notified of it
	all      []chan struct{} // likewise, closed when all were
}

// newIdleClients starts size mail programs, the first of which has the number first, and
// waits until all are in IDLE. They run until the test ends. Each account must be empty;
// the parameter messages is how many it gets at most.
func newIdleClients(t *testing.T, s *supervisor, first, size, messages int) *idleClients {
	t.Helper()
	c := &idleClients{gateway: s, first: first, size: size, deliver: s.mail.Deliver, ends: map[string]int{}, notified: make([]int, messages+1)}
	for range c.notified {
		c.all = append(c.all, make(chan struct{}))
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	t.Cleanup(c.end)
	handshakes := make(chan struct{}, 20) // how many connect at once
	for i := range size {
		c.running.Go(func() { c.run(ctx, first+i, handshakes) })
	}
	c.awaitAll(t, 0)
	return c
}

// idleAccount is the account of one program, and idleSource its address.
func idleAccount(i int) string    { return fmt.Sprintf("idle%d", i) }
func idleSource(i int) netip.Addr { return address(10+byte(i/10000), i%10000) }

// idleAccounts are those of n programs.
func idleAccounts(n int) (all []standin.Account) {
	for i := range n {
		all = append(all, standin.Account{Name: idleAccount(i), Secret: loginSecret})
	}
	return all
}

// run keeps a connection in IDLE until ctx ends.
func (c *idleClients) run(ctx context.Context, i int, handshakes chan struct{}) {
	next := 0 // number of messages that it was not notified of yet
	notify := func(messages int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for ; next <= messages; next++ {
			if c.notified[next]++; c.notified[next] == c.size {
				close(c.all[next])
			}
		}
	}
	for ctx.Err() == nil {
		handshakes <- struct{}{}
		p, err := c.connect(ctx, i)
		<-handshakes
		if err == nil {
			notify(p.messages)
			err = p.idle(notify)
			p.Close()
		} else {
			err = fmt.Errorf("connecting: %w", err)
		}
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.ends[outcome(err)]++
		c.mu.Unlock()
		if p == nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// awaitAll waits until all programs were notified of so many messages.
func (c *idleClients) awaitAll(t *testing.T, messages int) {
	t.Helper()
	select {
	case <-c.all[messages]:
	case <-time.After(testbed.Patience):
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Fatalf("%d of %d clients in IDLE were notified of message %d; ended: %v", c.notified[messages], c.size, messages, c.ends)
	}
}

// notify delivers a message to every account and waits until all programs were notified
// of it.
func (c *idleClients) notify(t *testing.T) {
	t.Helper()
	for i := range c.size {
		if err := c.deliver(idleAccount(c.first+i), []byte("Subject: news\r\n\r\nnews\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	c.delivered++
	c.awaitAll(t, c.delivered)
}

// end closes all connections.
func (c *idleClients) end() {
	c.stop()
	c.running.Wait()
}

// endings returns how many connections have ended, by how.
func (c *idleClients) endings() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.ends)
}

// idleClient is one connection of a mail program.
type idleClient struct {
	net.Conn
	r        *bufio.Reader
	fin      *finConn // below TLS, nil without it
	messages int      // in the inbox when it was selected
	stop     func() bool
}

// finConn notes the end of a connection. Package tls reports a missing close_notify like
// one that was received, but does not read on after that.
type finConn struct {
	net.Conn
	ended bool
}

// Read implements net.Conn.
func (c *finConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.ended = c.ended || err == io.EOF
	return n, err
}

// connect logs in, selects the inbox and begins IDLE. Programs with even numbers use
// TLS. The end of ctx closes the connection.
func (c *idleClients) connect(ctx context.Context, i int) (*idleClient, error) {
	dialer := net.Dialer{Timeout: testbed.Patience, KeepAlive: -1, LocalAddr: &net.TCPAddr{IP: idleSource(i).AsSlice()}}
	listener := map[bool]string{true: "imaps", false: "imap"}[i%2 == 0]
	raw, err := dialer.DialContext(ctx, "tcp", c.gateway.addr(listener))
	if err != nil {
		return nil, err
	}
	p := &idleClient{Conn: raw, stop: context.AfterFunc(ctx, func() { raw.Close() })}
	if listener == "imaps" {
		p.fin = &finConn{Conn: raw}
		p.Conn = tls.Client(p.fin, c.gateway.cert.Client())
	}
	p.r = bufio.NewReaderSize(p.Conn, 512)
	_ = p.SetDeadline(time.Now().Add(testbed.Patience))
	if err := p.begin(idleAccount(i), loginSecret); err != nil {
		p.Close()
		return nil, err
	}
	_ = p.SetDeadline(time.Time{})
	return p, nil
}

// begin sends the commands up to IDLE.
func (p *idleClient) begin(account, secret string) error {
	for _, step := range []struct{ command, answer string }{
		{"", "* OK"}, {"a LOGIN " + account + " " + secret, "a OK"}, {"b SELECT INBOX", "b OK"}, {"c IDLE", "+ "},
	} {
		if step.command != "" {
			if _, err := p.Write([]byte(step.command + "\r\n")); err != nil {
				return err
			}
		}
		for {
			line, err := p.readLine()
			if err != nil {
				return fmt.Errorf("%q: %w", step.command, unfinished(err))
			}
			if n, found := exists(line); found {
				p.messages = n
			}
			if bytes.HasPrefix(line, []byte(step.answer)) {
				break
			}
			if !bytes.HasPrefix(line, []byte("* ")) || bytes.HasPrefix(line, []byte("* BYE")) {
				return fmt.Errorf("%q: got %q, want %s", step.command, line, step.answer)
			}
		}
	}
	return nil
}

// exists parses a line that says how many messages there are.
func exists(line []byte) (messages int, found bool) {
	_, err := fmt.Sscanf(string(line), "* %d EXISTS", &messages)
	return messages, err == nil
}

// unfinished returns io.ErrUnexpectedEOF for io.EOF.
func unfinished(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readLine reads a line. It returns io.EOF if the connection was closed, in TLS with
// close_notify, after a whole line.
func (p *idleClient) readLine() ([]byte, error) {
	line, err := p.r.ReadSlice('\n')
	if len(line) > 0 || p.fin != nil && p.fin.ended {
		err = unfinished(err)
	}
	return line, err
}

// idle calls notify with the number of messages whenever the server sends one. It
// returns why the connection ended.
func (p *idleClient) idle(notify func(messages int)) error {
	for {
		line, err := p.readLine()
		if err != nil {
			return err
		}
		if messages, found := exists(line); found {
			notify(messages)
		} else if !bytes.HasPrefix(line, []byte("* ")) || bytes.HasPrefix(line, []byte("* BYE")) {
			return fmt.Errorf("in IDLE: got %q, want an untagged response", line)
		}
	}
}

// Close closes the connection.
func (p *idleClient) Close() error {
	p.stop()
	return p.Conn.Close()
}

// The outcomes that tests ask for.
const (
	outcomeOK     = "ok"
	outcomeClosed = "closed" // with close_notify in TLS, and between two lines
)

// outcome sorts the end of a connection or of a login into few kinds, to count by.
func outcome(err error) string {
	switch {
	case err == nil:
		return outcomeOK
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	case errors.Is(err, io.EOF):
		return outcomeClosed
	}
	return client.Reason(err) + ": " + err.Error()
}
