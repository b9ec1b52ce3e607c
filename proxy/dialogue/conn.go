package dialogue

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
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
	maxStrikes  = 3     // bad commands; an HTTP request has more lines
	maxBudget   = 64 << 10
	readBuffer  = 1024 // what clients and backends say on the way to a login is rarely longer
)

// Conn is one side of a dialogue: a connection read by bounded lines. It is not
// safe for concurrent use. It never closes the connection it reads from.
type Conn struct {
	net.Conn
	// Saying, if set, is called before each line that is written: the peer's
	// answer is awaited from then on.
	Saying func()
	// Ref, if set, ends what this peer is told when the gate turns it away: it
	// finds the line in the log that says why.
	Ref string

	r       *bufio.Reader
	long    []byte // a line that did not fit into r
	budget  int    // octets the peer may still send
	strikes int    // bad commands so far
	asked   bool   // the client has asked for the IMAP capabilities
}

// NewConn returns a Conn on c.
func NewConn(c net.Conn) *Conn {
	return &Conn{Conn: c, r: bufio.NewReaderSize(c, readBuffer), budget: maxBudget}
}

// Restart makes c read from inner, TLS on the connection it had, with nothing
// left of what came before: a client's bad commands and budget are the only
// things it keeps. The caller must have seen to it that Buffered is zero.
func (c *Conn) Restart(inner net.Conn) {
	c.Conn = inner
	c.r.Reset(inner)
	c.asked = false
}

// Read reads from the connection behind what has been read ahead.
func (c *Conn) Read(p []byte) (int, error) { return c.r.Read(p) }

// Buffered is the number of octets read ahead.
func (c *Conn) Buffered() int { return c.r.Buffered() }

// Rest returns what has been read ahead. A relay must deliver it before anything
// else; from then on it reads from the inner Conn, and c must not be read again.
func (c *Conn) Rest() []byte {
	rest, _ := c.r.Peek(c.r.Buffered())
	c.r, c.long = nil, nil
	return rest
}

// Fill waits until the peer sends more, and keeps it for later. It returns
// ErrFull when the buffer takes no more.
func (c *Conn) Fill() error {
	if c.r.Buffered() == c.r.Size() {
		return ErrFull
	}
	_, err := c.r.Peek(c.r.Buffered() + 1)
	return err
}

// readLine returns the next line without its end, CRLF or bare LF. It is valid
// until the next read. A line longer than limit, its end included, gives
// ErrTooLong, and so does a peer that has used up its budget.
func (c *Conn) readLine(limit int) ([]byte, error) {
	c.long = c.long[:0]
	for {
		part, err := c.r.ReadSlice('\n')
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
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// readFull returns the next n octets.
func (c *Conn) readFull(n int) ([]byte, error) {
	if c.budget -= n; c.budget < 0 {
		return nil, ErrTooLong
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c.r, b)
	return b, err
}

// say writes the parts as one line in one write.
func (c *Conn) say(parts ...string) error {
	if c.Saying != nil {
		c.Saying()
	}
	n := 2
	for _, p := range parts {
		n += len(p)
	}
	line := make([]byte, 0, n)
	for _, p := range parts {
		line = append(line, p...)
	}
	_, err := c.Write(append(line, '\r', '\n'))
	return err
}

// ref is c.Ref as the end of a text.
func (c *Conn) ref() string {
	if c.Ref == "" {
		return ""
	}
	return " (" + c.Ref + ")"
}

// strike counts a bad command and says whether it was one too many.
func (c *Conn) strike() bool {
	c.strikes++
	return c.strikes >= maxStrikes
}

func trimEnd(line []byte) []byte {
	line = line[:len(line)-1]
	return bytes.TrimSuffix(line, []byte{'\r'})
}
