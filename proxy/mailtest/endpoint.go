package mailtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxUnread is the maximum of received octets that the script has not read.
const maxUnread = 4 << 20

var (
	errTimeout   = errors.New("timeout: nothing more received")
	errTruncated = errors.New("TLS ended without close_notify")
)

// endpoint is one end of a connection to the proxy: the client, or a backend. One
// goroutine reads all the time and one writes, so that neither blocks the other, even
// on a net.Pipe. Only the goroutine of the player calls the methods.
type endpoint struct {
	name string   // for reports
	raw  *eofConn // the connection that was given
	conn net.Conn // raw, or TLS over it

	jobs    chan func() // what the writer does, in order
	writing sync.WaitGroup
	reading sync.WaitGroup
	closed  bool // by the script

	progress chan struct{} // a field below has changed

	mu       sync.Mutex
	received []byte // and not yet read by the script
	ended    error  // the error that ended reading, nil before
}

// newEndpoint starts an endpoint on conn, with a queue for the given number of jobs.
func newEndpoint(name string, conn net.Conn, jobs int) *endpoint {
	raw := &eofConn{Conn: conn}
	e := &endpoint{
		name: name, raw: raw, conn: raw,
		jobs:     make(chan func(), jobs),
		progress: make(chan struct{}, 1),
	}
	e.writing.Go(e.write)
	e.reading.Go(e.read)
	return e
}

// write does the jobs until stop.
func (e *endpoint) write() {
	for job := range e.jobs {
		job()
	}
}

// read receives until the stream ends or startTLS interrupts it.
func (e *endpoint) read() {
	buf := make([]byte, 4096)
	for {
		n, err := e.conn.Read(buf)
		e.mu.Lock()
		e.received = append(e.received, buf[:n]...)
		if err == nil && len(e.received) > maxUnread {
			err = fmt.Errorf("received over %d octets that the script does not expect", maxUnread)
		}
		e.ended = err
		e.mu.Unlock()
		select {
		case e.progress <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// send sends octets in the background. An error is ignored: a proxy may close before it
// has read everything, and the rest of the script decides whether that is right.
func (e *endpoint) send(octets []byte) {
	conn := e.conn
	e.jobs <- func() { _, _ = conn.Write(octets) }
}

// halfClose closes the writing side after everything is sent, or the connection where
// that is not possible.
func (e *endpoint) halfClose() {
	conn := e.conn
	e.jobs <- func() {
		if err := closeWrite(conn); errors.Is(err, errors.ErrUnsupported) {
			conn.Close()
		}
	}
}

// close closes the connection after everything is sent.
func (e *endpoint) close() {
	e.closed = true
	conn := e.conn
	e.jobs <- func() { conn.Close() }
}

// stop closes the connection at once and waits for the goroutines.
func (e *endpoint) stop() {
	close(e.jobs)
	e.raw.Close()
	e.writing.Wait()
	e.reading.Wait()
}

// flush waits until everything is sent.
func (e *endpoint) flush(timeout time.Duration) error {
	sent := make(chan struct{})
	e.jobs <- func() { close(sent) }
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-sent:
		return nil
	case <-timer.C:
		return errors.New("timeout: the proxy does not read")
	}
}

// receive waits for a line, or for as many octets as want has if it is partial. It
// returns what it has received, and an error if that does not match.
func (e *endpoint) receive(want text, timeout time.Duration) ([]byte, error) {
	var got []byte
	err := e.wait(timeout, func(unread []byte) bool {
		if want.partial {
			got = unread[:min(len(unread), len(want.octets))]
			return len(got) == len(want.octets) || !bytes.HasPrefix(want.octets, got)
		}
		line := bytes.IndexByte(unread, '\n')
		got = unread[:line+1]
		return line >= 0
	})
	if err != nil {
		return e.unread(), err
	}
	got = bytes.Clone(got)
	e.mu.Lock()
	e.received = e.received[len(got):]
	e.mu.Unlock()
	if !want.matches(got) {
		return got, errors.New("got something else")
	}
	return got, nil
}

// expectEOF waits for the end of the stream. Anything received before is an error.
func (e *endpoint) expectEOF(timeout time.Duration) error {
	err := e.wait(timeout, func(unread []byte) bool { return len(unread) > 0 })
	switch {
	case err == nil:
		return errors.New("got octets, want the end of the stream")
	case errors.Is(err, errTimeout):
		return errors.New("timeout: the stream has not ended")
	}
	return e.ignoreClosed(err)
}

// ignoreClosed returns nil if err means that the stream was closed or reset.
func (e *endpoint) ignoreClosed(err error) error {
	if _, isTLS := e.conn.(*tls.Conn); isTLS && err == io.EOF && e.raw.eof.Load() {
		return errTruncated
	}
	for _, closed := range []error{io.EOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, closed) {
			return nil
		}
	}
	return err
}

// unread returns what the script has not read.
func (e *endpoint) unread() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.received)
}

// wait waits until enough returns true for the octets that were not read. If the stream
// ends before, it returns that error. It calls enough with e.mu held.
func (e *endpoint) wait(timeout time.Duration, enough func(unread []byte) bool) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		e.mu.Lock()
		done, ended := enough(e.received), e.ended
		e.mu.Unlock()
		switch {
		case done:
			return nil
		case ended != nil:
			return ended
		}
		select {
		case <-e.progress:
		case <-timer.C:
			return errTimeout
		}
	}
}

// startTLS makes the TLS handshake of a client that accepts any certificate. If the
// proxy closes the connection instead, that is the end of the stream and no error.
func (e *endpoint) startTLS(timeout time.Duration) error {
	if err := e.flush(timeout); err != nil {
		return err
	}
	// A deadline in the past ends the reader.
	_ = e.raw.SetReadDeadline(time.Unix(1, 0))
	e.reading.Wait()
	if len(e.received) > 0 {
		return errors.New("got cleartext before the handshake")
	}
	if !errors.Is(e.ended, os.ErrDeadlineExceeded) {
		return nil // the stream has ended; the next step detects it
	}
	_ = e.raw.SetReadDeadline(time.Time{})
	conn := tls.Client(e.raw, &tls.Config{InsecureSkipVerify: true}) // the certificate is not under test
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if e.ended = conn.HandshakeContext(ctx); e.ended != nil {
		if e.ignoreClosed(e.ended) != nil {
			return fmt.Errorf("TLS handshake: %w", e.ended)
		}
		return nil
	}
	e.conn = conn
	e.reading.Go(e.read)
	return nil
}

// eofConn records the end of the stream below TLS.
type eofConn struct {
	net.Conn
	eof atomic.Bool
}

func (c *eofConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		c.eof.Store(true)
	}
	return n, err
}

// CloseWrite is used by closeWrite.
func (c *eofConn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite closes the writing side of c. It returns errors.ErrUnsupported where that
// is not possible, such as on a pipe.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
