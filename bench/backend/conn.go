package backend

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// lifetime bounds every connection, lest a forgotten one stays for good.
const lifetime = time.Hour

// readers lends buffers to connections.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// blocks lends room for the contents of messages.
var blocks = sync.Pool{New: func() any { b := bytes.Repeat(line, blockSize/len(line)); return &b }}

const blockSize = 64 << 10

// line is what every message consists of.
var line = []byte("The postern is the small gate; knock, and say who you are, 1234\r\n\r\n")[:64]

// conn is one client of the server.
type conn struct {
	net.Conn
	server *Server
	r      *bufio.Reader
	out    []byte // kept for the next answer
	secure bool
	size   int64 // of the message in the mailbox
}

// use goes on with raw, whose octets are read from the start.
func (c *conn) use(raw net.Conn) {
	old := c.r
	c.Conn, c.r = raw, readers.Get().(*bufio.Reader)
	c.r.Reset(raw)
	_ = raw.SetDeadline(time.Now().Add(lifetime))
	if _, layered := raw.(*tls.Conn); !layered && old != nil {
		readers.Put(old) // TLS goes on reading from it
	}
}

// release gives the buffer back.
func (c *conn) release() {
	c.r.Reset(nil)
	readers.Put(c.r)
}

// buffered is a connection some of whose octets have been read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// skipHeader reads a PROXY header and ignores what it says.
func (c *conn) skipHeader() error {
	first, err := c.r.Peek(1)
	if err != nil {
		return err
	}
	switch first[0] {
	case 'P':
		_, err = c.r.ReadSlice('\n')
		return err
	case '\r':
		head, err := c.r.Peek(16)
		if err != nil {
			return err
		}
		_, err = c.r.Discard(16 + int(binary.BigEndian.Uint16(head[14:])))
		return err
	}
	return errors.New("no PROXY header")
}

// hear returns the next line without its end. It is valid until the next read.
func (c *conn) hear() ([]byte, error) {
	l, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(l, "\r\n"), nil
}

// say sends the parts as one line.
func (c *conn) say(parts ...string) error {
	c.out = c.out[:0]
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
	c.out = append(c.out, "\r\n"...)
	_, err := c.Write(c.out)
	return err
}

// startTLS shakes hands; from then on everything is inside TLS.
func (c *conn) startTLS() error {
	t := tls.Server(buffered{c.Conn, c.r}, c.server.tls)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.use(t)
	c.secure = true
	return nil
}

// send writes n octets of message text.
func (c *conn) send(n int64) error {
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for n > 0 {
		part := min(n, int64(len(*block)))
		if _, err := c.Write((*block)[:part]); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// swallow reads n octets and forgets them.
func (c *conn) swallow(n int64) error {
	block := make([]byte, min(n, blockSize))
	for n > 0 {
		got, err := c.r.Read(block[:min(n, int64(len(block)))])
		if err != nil {
			return err
		}
		n -= int64(got)
	}
	return nil
}

// literal reads the size a line announces at its end, as {12} or {12+}, and
// whether the client waits to be told to go on.
func literal(l []byte) (size int64, waits, found bool) {
	open := bytes.LastIndexByte(l, '{')
	if open < 0 || l[len(l)-1] != '}' {
		return 0, false, false
	}
	digits, plus := bytes.CutSuffix(l[open+1:len(l)-1], []byte("+"))
	size, err := strconv.ParseInt(string(digits), 10, 64)
	return size, !plus, err == nil && size >= 0
}

// What authenticate finds wrong with the client; any other error is the
// connection's.
var (
	errMechanism = errors.New("mechanism is not PLAIN")
	errResponse  = errors.New("response is not one of PLAIN")
)

// authenticate takes the arguments of AUTHENTICATE or AUTH: PLAIN, and the
// response unless that is still to come.
func (c *conn) authenticate(args []byte) (account, secret string, err error) {
	mechanism, response, initial := bytes.Cut(args, []byte(" "))
	if !bytes.EqualFold(mechanism, []byte("PLAIN")) {
		return "", "", errMechanism
	}
	if !initial {
		if err := c.say("+ "); err != nil {
			return "", "", err
		}
		if response, err = c.hear(); err != nil {
			return "", "", err
		}
	}
	account, secret, ok := plain(response)
	if !ok {
		return "", "", errResponse
	}
	return account, secret, nil
}

// plain takes a SASL PLAIN response apart.
func plain(encoded []byte) (account, secret string, ok bool) {
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(raw, encoded)
	parts := bytes.Split(raw[:n], []byte{0})
	if err != nil || len(parts) != 3 {
		return "", "", false
	}
	return string(parts[1]), string(parts[2]), true
}

// exactly reads n octets.
func (c *conn) exactly(n int64) ([]byte, error) {
	if n > 8192 {
		return nil, errors.New("too long a literal")
	}
	text := make([]byte, n)
	_, err := io.ReadFull(c.r, text)
	return text, err
}
