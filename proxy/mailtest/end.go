package mailtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxUnread bounds what an end takes in beyond what its script expects.
const maxUnread = 4 << 20

var (
	errPatience  = errors.New("nothing more came in time")
	errTruncated = errors.New("TLS was cut off without close_notify")
)

// end is one end of a connection to the proxy: the client's, or a backend's.
// One goroutine reads all the time and one writes, so that neither side can
// block the other, not even over net.Pipe. The methods are for the player's
// goroutine alone.
type end struct {
	name string     // for reports
	raw  *watchConn // the connection as it was handed over
	conn net.Conn   // raw, or TLS over it

	jobs    chan func() // what the writer has to do, in order
	writing sync.WaitGroup
	reading sync.WaitGroup
	closed  bool // by the script

	arrived chan struct{} // something below has changed

	mu    sync.Mutex
	got   []byte // received and not yet taken
	ended error  // why reading ended; nil while it goes on
}

// newEnd starts an end on conn. It has room for the given number of jobs.
func newEnd(name string, conn net.Conn, jobs int) *end {
	raw := &watchConn{Conn: conn}
	e := &end{
		name: name, raw: raw, conn: raw,
		jobs:    make(chan func(), jobs),
		arrived: make(chan struct{}, 1),
	}
	e.writing.Go(e.write)
	e.reading.Go(e.read)
	return e
}

// write does the jobs until there will be no more.
func (e *end) write() {
	for job := range e.jobs {
		job()
	}
}

// read takes in what comes until the stream ends or startTLS interrupts it.
func (e *end) read() {
	buf := make([]byte, 4096)
	for {
		n, err := e.conn.Read(buf)
		e.mu.Lock()
		e.got = append(e.got, buf[:n]...)
		if err == nil && len(e.got) > maxUnread {
			err = fmt.Errorf("over %d octets came unasked", maxUnread)
		}
		e.ended = err
		e.mu.Unlock()
		select {
		case e.arrived <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// say sends octets, some time soon. Whether they arrive is for the rest of the
// script to see: a proxy may well close before it has read everything.
func (e *end) say(octets []byte) {
	conn := e.conn
	e.jobs <- func() { _, _ = conn.Write(octets) }
}

// finish closes the sending direction once everything was sent; where there is
// no such thing it closes the connection.
func (e *end) finish() {
	conn := e.conn
	e.jobs <- func() {
		if err := closeWrite(conn); errors.Is(err, errors.ErrUnsupported) {
			conn.Close()
		}
	}
}

// close closes the connection once everything was sent.
func (e *end) close() {
	e.closed = true
	conn := e.conn
	e.jobs <- func() { conn.Close() }
}

// stop ends everything at once and waits for the goroutines.
func (e *end) stop() {
	close(e.jobs)
	e.raw.Close()
	e.writing.Wait()
	e.reading.Wait()
}

// flush waits until everything was sent.
func (e *end) flush(patience time.Duration) error {
	sent := make(chan struct{})
	e.jobs <- func() { close(sent) }
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-sent:
		return nil
	case <-timer.C:
		return errors.New("the proxy does not read what was sent")
	}
}

// hear waits for what want describes and takes it. It returns what came: all
// of it when it fits, else as much as shows the difference.
func (e *end) hear(want text, patience time.Duration) ([]byte, error) {
	var got []byte
	err := e.wait(patience, func(unread []byte) bool {
		if want.open {
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
	e.got = e.got[len(got):]
	e.mu.Unlock()
	if !want.matches(got) {
		return got, errors.New("something else came")
	}
	return got, nil
}

// seeEnd waits for the end of the stream and fails when anything comes before.
func (e *end) seeEnd(patience time.Duration) error {
	err := e.wait(patience, func(unread []byte) bool { return len(unread) > 0 })
	switch {
	case err == nil:
		return errors.New("something came instead of the end")
	case errors.Is(err, errPatience):
		return errors.New("the stream did not end in time")
	}
	return e.cleanEnd(err)
}

// cleanEnd returns nil when err is a way streams may end: closed or reset.
func (e *end) cleanEnd(err error) error {
	if _, secure := e.conn.(*tls.Conn); secure && err == io.EOF && e.raw.eof.Load() {
		return errTruncated
	}
	for _, fine := range []error{io.EOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, fine) {
			return nil
		}
	}
	return err
}

// unread is what came and was not taken.
func (e *end) unread() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.got)
}

// wait returns nil once enough says so about the octets not taken, the reason
// when the stream ended before, or errPatience. It calls enough with e.mu held.
func (e *end) wait(patience time.Duration, enough func(unread []byte) bool) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		e.mu.Lock()
		done, ended := enough(e.got), e.ended
		e.mu.Unlock()
		switch {
		case done:
			return nil
		case ended != nil:
			return ended
		}
		select {
		case <-e.arrived:
		case <-timer.C:
			return errPatience
		}
	}
}

// startTLS does the client's handshake on the connection, with any certificate
// accepted. When the proxy ends the connection instead, the stream has ended.
func (e *end) startTLS(patience time.Duration) error {
	if err := e.flush(patience); err != nil {
		return err
	}
	// An old deadline makes the reader let go of the connection.
	_ = e.raw.SetReadDeadline(time.Unix(1, 0))
	e.reading.Wait()
	if len(e.got) > 0 {
		return errors.New("something came in clear text before the handshake")
	}
	var timeout net.Error
	if !errors.As(e.ended, &timeout) || !timeout.Timeout() {
		return nil // ended before; the next step will tell
	}
	_ = e.raw.SetReadDeadline(time.Time{})
	conn := tls.Client(e.raw, &tls.Config{InsecureSkipVerify: true}) // whose certificate it is does not matter here
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if e.ended = conn.HandshakeContext(ctx); e.ended != nil {
		if e.cleanEnd(e.ended) != nil {
			return fmt.Errorf("TLS handshake: %w", e.ended)
		}
		return nil
	}
	e.conn = conn
	e.reading.Go(e.read)
	return nil
}

// watchConn notices the end of the stream below TLS.
type watchConn struct {
	net.Conn
	eof atomic.Bool
}

func (c *watchConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		c.eof.Store(true)
	}
	return n, err
}

// CloseWrite implements what closeWrite looks for.
func (c *watchConn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite ends the sending direction of c, or returns errors.ErrUnsupported
// where there is none, as in a pipe.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
