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

// Limits in octets on what one peer may send before login. No client that means
// to log in reaches them.
const (
	maxLine        = 8192  // a command with its CRLF (RFC 7162 section 4)
	maxLiterals    = 8192  // the literals of one command in sum
	maxSASL        = 16384 // one base64 line of an exchange
	maxResponse    = 6000  // an initial response, decoded: Dovecot closes at 8192 octets of base64
	maxReply       = 16384 // a line of the backend, capability lists are long
	maxTag         = 126   // as Dovecot
	maxBudget      = 64 << 10
	maxBadCommands = 3 // commands, not octets; an HTTP request has more lines
)

// bufferSize is how much is read ahead. What clients and backends send before
// login is rarely longer.
const bufferSize = 1024

type buffer [bufferSize]byte

// buffers holds zeroed buffers only: passwords pass through them.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// free wipes b and returns it to the pool.
func (b *buffer) free() {
	clear(b[:])
	buffers.Put(b)
}

// Conn is one side of a dialogue: a connection read by bounded lines. It is not
// safe for concurrent use. It never closes the connection it reads from.
type Conn struct {
	net.Conn
	// BeforeWrite, if set, is called before each line is written. The time the
	// peer takes to answer starts there.
	BeforeWrite func()
	// Ref, if set, is put at the end of refusals, so that the peer can name the
	// log line that has the reason.
	Ref string

	buffer           *buffer // nil until something is read
	ahead            []byte  // the part of buffer that is not consumed yet
	long             []byte  // a line that did not fit into buffer
	budget           int     // octets the peer may still send
	badCommands      int     // so far
	sentCapabilities bool    // the client has had an answer to IMAP's CAPABILITY
	identified       bool    // the client has sent IMAP's ID
}

// NewConn returns a Conn on c.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c, budget: maxBudget} }

// Restart makes c read from inner, which is TLS on the connection it had. Only
// the peer's budget and its bad commands are kept. Buffered must be zero.
func (c *Conn) Restart(inner net.Conn) {
	c.ahead = nil
	c.Release()
	c.Conn = inner
	c.sentCapabilities = false
}

// Read returns what has been read ahead, then reads from the connection.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	return copy(p, c.take(len(p))), nil
}

// Buffered is the number of octets read ahead.
func (c *Conn) Buffered() int { return len(c.ahead) }

// Heard reports whether the peer has sent anything that was read as a line or a part
// of one.
func (c *Conn) Heard() bool { return c.budget < maxBudget }

// take consumes the first n octets of what has been read ahead, or all of it if
// that is less.
func (c *Conn) take(n int) []byte {
	n = min(n, len(c.ahead))
	taken := c.ahead[:n]
	c.ahead = c.ahead[n:]
	return taken
}

// Release wipes the read buffer and returns it to the pool, unless it holds
// unread octets. The next read takes another buffer. Call it before c is idle
// for long, and when it is no longer used.
func (c *Conn) Release() {
	if c.buffer == nil || len(c.ahead) > 0 {
		return
	}
	c.buffer.free()
	c.buffer, c.ahead, c.long = nil, nil, nil
}

// Rest returns what has been read ahead, nil if that is nothing, and releases the
// read buffer. A relay must deliver it first and then read from the inner Conn; c
// must not be read again.
func (c *Conn) Rest() []byte {
	rest := append([]byte(nil), c.take(bufferSize)...)
	c.Release()
	return rest
}

// Fill waits until the peer sends more, and keeps it for later reads. It returns
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

// readCommand reads a client's next command line. It returns ErrHostile as soon
// as the client turns out to use another protocol: it waits for an answer that
// cannot be given, or is a browser that an attacker sent here (ALPACA).
func (c *Conn) readCommand() ([]byte, error) {
	if len(c.ahead) == 0 {
		if err := c.Fill(); err != nil {
			return nil, err
		}
	}
	if c.ahead[0] == 0x16 { // a TLS handshake record, which need not have a line end
		return nil, ErrHostile
	}
	line, err := c.readLine(maxLine)
	if err == nil && isOtherProtocol(line) {
		return nil, ErrHostile
	}
	return line, err
}

// isOtherProtocol recognises a request line of HTTP, and a PROXY header where
// none is allowed. Neither is a valid command of IMAP, POP3 or ManageSieve.
func isOtherProtocol(line []byte) bool {
	verb, rest, _ := bytes.Cut(line, []byte{' '})
	switch string(verb) {
	case "GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI":
		return bytes.Contains(rest, []byte(" HTTP/")) || bytes.HasPrefix(rest, []byte{'/'})
	case "PROXY":
		return bytes.HasPrefix(rest, []byte("TCP")) || bytes.HasPrefix(rest, []byte("UNKNOWN"))
	}
	return false
}

// readLine returns the next line without its end, CRLF or bare LF. It is valid
// until the next read. A line longer than limit, its end included, gives
// ErrTooLong, and so does a peer that has used up its budget.
func (c *Conn) readLine(limit int) ([]byte, error) {
	c.long = c.long[:0]
	for {
		part, err := c.readPart()
		ended := err == nil
		free := limit - len(c.long) - len(part)
		if c.budget -= len(part); c.budget < 0 || free < 0 || free == 0 && !ended {
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

// readPart returns the next line with its end. With an error, it returns what was
// read of the line before.
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

// writeLine writes the parts as one line in one write.
func (c *Conn) writeLine(parts ...string) error { return c.writeEncoded(nil, "", parts...) }

// writeEncoded is writeLine with octets in base64 behind the parts, and after behind
// those.
func (c *Conn) writeEncoded(octets []byte, after string, parts ...string) error {
	if c.BeforeWrite != nil {
		c.BeforeWrite()
	}
	b := buffers.Get().(*buffer)
	defer b.free()
	line := b[:0]
	for _, p := range parts {
		line = append(line, p...)
	}
	line = append(base64.StdEncoding.AppendEncode(line, octets), after...)
	_, err := c.Write(append(line, '\r', '\n'))
	return err
}

// refSuffix is c.Ref as the end of a text.
func (c *Conn) refSuffix() string {
	if c.Ref == "" {
		return ""
	}
	return " (" + c.Ref + ")"
}

// countBadCommand counts a bad command and reports whether the limit is reached.
func (c *Conn) countBadCommand() bool {
	c.badCommands++
	return c.badCommands >= maxBadCommands
}

// readRequest has command handle the client's commands until one needs a decision of the
// proxy. command returns errSyntax for a bad command that has been answered, and any other
// error when the dialogue is over.
func readRequest(c *Conn, command func(line []byte) (r Request, done bool, err error)) (Request, error) {
	for {
		line, err := c.readCommand()
		if err != nil {
			return Request{}, err
		}
		r, done, err := command(line)
		if errors.Is(err, errSyntax) {
			if err = nil; c.countBadCommand() {
				err = ErrBadCommands
			}
		}
		switch {
		case err != nil:
			return Request{}, err
		case done:
			return r, nil
		}
	}
}

// trimEnd returns line without its LF, or CRLF.
func trimEnd(line []byte) []byte {
	line = line[:len(line)-1]
	return bytes.TrimSuffix(line, []byte{'\r'})
}
