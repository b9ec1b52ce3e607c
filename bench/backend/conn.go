package backend

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// maxConnAge limits every connection, in case a client never closes it.
const maxConnAge = time.Hour

// readers is a pool of buffers for connections.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// blocks is a pool of buffers for the contents of messages.
var blocks = sync.Pool{New: func() any { b := bytes.Repeat(line, blockSize/len(line)); return &b }}

const blockSize = 64 << 10

// line is repeated in every message.
var line = []byte("This line of sixty-four octets is repeated in every message...\r\n")

// conn is one connection of a client.
type conn struct {
	net.Conn
	server *Server
	r      *bufio.Reader
	out    []byte // buffer of writeLine
	secure bool
	size   int64 // of the message in the mailbox
}

// setConn makes c read and write on raw.
func (c *conn) setConn(raw net.Conn) {
	old := c.r
	c.Conn, c.r = raw, readers.Get().(*bufio.Reader)
	c.r.Reset(raw)
	_ = raw.SetDeadline(time.Now().Add(maxConnAge))
	if _, layered := raw.(*tls.Conn); !layered && old != nil {
		readers.Put(old) // a TLS connection reads from it
	}
}

// release returns the buffer to its pool.
func (c *conn) release() {
	c.r.Reset(nil)
	readers.Put(c.r)
}

// buffered is a connection that reads through a buffer.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// skipHeader reads a PROXY header of version 1 or 2 and ignores its content.
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

// readLine returns the next line without its end, valid until the next read.
func (c *conn) readLine() ([]byte, error) {
	l, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(l, "\r\n"), nil
}

// writeLine sends the parts as one line.
func (c *conn) writeLine(parts ...string) error {
	c.out = c.out[:0]
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
	c.out = append(c.out, "\r\n"...)
	_, err := c.Write(c.out)
	return err
}

// startTLS does the TLS handshake of STARTTLS or STLS.
func (c *conn) startTLS() error {
	t := tls.Server(buffered{c.Conn, c.r}, c.server.tls)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.setConn(t)
	c.secure = true
	return nil
}

// sendMessage writes n octets of message text.
func (c *conn) sendMessage(n int64) error {
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

// discard reads n octets and drops them.
func (c *conn) discard(n int64) error {
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

// literal parses the size of a literal at the end of a line, {12} or {12+}, and
// whether the client waits for a continuation request.
func literal(l []byte) (size int64, waits, found bool) {
	open := bytes.LastIndexByte(l, '{')
	if open < 0 || l[len(l)-1] != '}' {
		return 0, false, false
	}
	digits, plus := bytes.CutSuffix(l[open+1:len(l)-1], []byte("+"))
	size, err := strconv.ParseInt(string(digits), 10, 64)
	return size, !plus, err == nil && size >= 0
}

// maxLiteral is the longest literal in a login, in octets.
const maxLiteral = 8192

// readLiteral reads a literal of n octets.
func (c *conn) readLiteral(n int64) ([]byte, error) {
	if n > maxLiteral {
		return nil, fmt.Errorf("literal: got %d octets, want at most %d", n, maxLiteral)
	}
	text := make([]byte, n)
	_, err := io.ReadFull(c.r, text)
	return text, err
}
