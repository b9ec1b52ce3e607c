package dialogue

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"sync"
)

// ErrFull is what Fill returns when the buffer takes no more.
var ErrFull = errors.New("read buffer is full")

// Limits on what one peer may send before login. None of them can be reached by
// a client that means to log in.
const (
	maxLine     = 8192  // a command with its CRLF (RFC 7162 section 4)
	maxLiterals = 8192  // the literals of one command in sum
	maxSASL     = 16384 // one base64 line of an exchange
	maxResponse = 6000  // an initial response, decoded: Dovecot hangs up on 8192 octets of base64
	maxReply    = 16384 // a line of the backend, capability lists are long
	maxTag      = 126   // as Dovecot
	maxBadCommands  = 3     // bad commands; an HTTP request has more lines
	maxBudget   = 64 << 10
)

// bufferSize is how much is read ahead. What clients and backends say on the way
// to a login is rarely longer.
const bufferSize = 1024

type buffer [bufferSize]byte

// buffers hold nothing but zeros: passwords go through them.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// free wipes b and gives it back.
func (b *buffer) free() {
	clear(b[:])
	buffers.Put(b)
}

// Conn is one side of a dialogue: a connection read by bounded lines. It is not
// safe for concurrent use. It never closes the connection it reads from.
type Conn struct {
	net.Conn
	// Saying, if set, is called before each line that is written: the peer's
	// answer is awaited from then on.
	BeforeWrite func()
	// Ref, if set, ends what this peer is told when the gate turns it away: it
	// finds the line in the log that says why.
	Ref string

	buffer  *buffer // nil until something is read
	ahead   []byte  // the part of it that has been read ahead
	long    []byte  // a line that did not fit into it
	budget  int     // octets the peer may still send
	badCommands int     // bad commands so far
	sentCapabilities   bool    // the client has asked for the IMAP capabilities
}

// NewConn returns a Conn on c.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c, budget: maxBudget} }

// Restart makes c read from inner, TLS on the connection it had, with nothing
// left of what came before: a client's bad commands and budget are the only
// things it keeps. The caller must have seen to it that Buffered is zero.
func (c *Conn) Restart(inner net.Conn) {
	c.ahead = nil
	c.Release()
	c.Conn = inner
	c.sentCapabilities = false
}

// Read reads from the connection behind what has been read ahead.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	return copy(p, c.take(len(p))), nil
}

// Buffered is the number of octets read ahead.
func (c *Conn) Buffered() int { return len(c.ahead) }

// take returns the first n octets of what has been read ahead, or all if that is
// less, and reads over them.
func (c *Conn) take(n int) []byte {
	n = min(n, len(c.ahead))
	taken := c.ahead[:n]
	c.ahead = c.ahead[n:]
	return taken
}

// Release wipes the read buffer and gives it back, if nothing is left in it. The
// next read takes another: whoever is to leave c alone for long, or for good,
// should call this.
func (c *Conn) Release() {
	if c.buffer == nil || len(c.ahead) > 0 {
		return
	}
	c.buffer.free()
	c.buffer, c.ahead, c.long = nil, nil, nil
}

// Rest returns what has been read ahead, nil if that is nothing, and releases the
// read buffer. A relay must deliver it before anything else; from then on it reads
// from the inner Conn, and c must not be read again.
func (c *Conn) Rest() []byte {
	rest := append([]byte(nil), c.take(bufferSize)...)
	c.Release()
	return rest
}

// Fill waits until the peer sends more, and keeps it for later. It returns
// ErrFull when the buffer takes no more.
func (c *Conn) Fill() error {
	if len(c.ahead) == bufferSize {
		return ErrFull
	}
	if c.buffer == nil {
		c.buffer = buffers.Get().(*buffer)
	}
	kept := copy(c.buffer[:], c.ahead)
	n, err := io.ReadAtLeast(c.Conn, c.buffer[kept:], 1)
	c.ahead = c.buffer[:kept+n]
	return err
}

// readLine returns the next line without its end, CRLF or bare LF. It is valid
// until the next read. A line longer than limit, its end included, gives
// ErrTooLong, and so does a peer that has used up its budget.
func (c *Conn) readLine(limit int) ([]byte, error) {
	c.long = c.long[:0]
	for {
		part, err := c.readPart()
		ended := err == nil
		room := limit - len(c.long) - len(part)
		if c.budget -= len(part); c.budget < 0 || room < 0 || room == 0 && !ended {
			return nil, ErrTooLong
		}
		if ended && len(c.long) == 0 {
			return trimEnd(part), nil
		}
		c.long = append(c.long, part...)
		switch {
		case ended:
			return trimEnd(c.long), nil
		case errors.Is(err, io.EOF) && len(c.long) > 0:
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, ErrFull):
			return nil, err
		}
	}
}

// readPart returns the next line with its end, or with an error as much of it as
// came before that.
func (c *Conn) readPart() ([]byte, error) {
	for {
		if i := bytes.IndexByte(c.ahead, '\n'); i >= 0 {
			return c.take(i + 1), nil
		}
		if err := c.Fill(); err != nil {
			return c.take(bufferSize), err
		}
	}
}

// readFull returns the next n octets.
func (c *Conn) readFull(n int) ([]byte, error) {
	if c.budget -= n; c.budget < 0 {
		return nil, ErrTooLong
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	return b, err
}

// say writes the parts as one line in one write.
func (c *Conn) writeLine(parts ...string) error { return c.writeEncoded(nil, parts...) }

// sayEncoded is say with octets in base64 behind the parts.
func (c *Conn) writeEncoded(octets []byte, parts ...string) error {
	if c.BeforeWrite != nil {
		c.BeforeWrite()
	}
	b := buffers.Get().(*buffer)
	defer b.free()
	line := b[:0]
	for _, p := range parts {
		line = append(line, p...)
	}
	line = base64.StdEncoding.AppendEncode(line, octets)
	_, err := c.Write(append(line, '\r', '\n'))
	return err
}

// ref is c.Ref as the end of a text.
func (c *Conn) refSuffix() string {
	if c.Ref == "" {
		return ""
	}
	return " (" + c.Ref + ")"
}

// strike counts a bad command and says whether it was one too many.
func (c *Conn) countBadCommand() bool {
	c.badCommands++
	return c.badCommands >= maxBadCommands
}

func trimEnd(line []byte) []byte {
	line = line[:len(line)-1]
	return bytes.TrimSuffix(line, []byte{'\r'})
}
