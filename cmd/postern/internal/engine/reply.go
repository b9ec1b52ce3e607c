package engine

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
)

// Limits of one reply. The largest that a gateway asks for is a read of two streams with 256 batches each, of 32 KB or a little more.
const (
	replyMax      = 64 << 20 // octets
	replyItemsMax = 1 << 20  // items of arrays and maps
	replyDepthMax = 8        // of arrays in each other
	lineMax       = 32 << 10 // octets of a line
)

// errReply is the cause of an error about a reply that no engine gives to what a gateway asks.
var errReply = fmt.Errorf("%w: reply out of bounds", errUnusable)

// A replyConn is a connection to an engine that fails once a reply announces or has more than the limits. valkey-go allocates as much
// as a reply announces, and calls itself for each array in an array; what is too large for that would end the process.
type replyConn struct {
	net.Conn
	err error

	line  []byte             // the beginning of a line that is not complete
	skip  int                // octets of a string that follow, and its line end
	left  [replyDepthMax]int // items of each array that follow
	depth int                // arrays that are not complete
	size  int                // octets of this reply so far
	items int                // likewise items that were announced
}

// Read implements net.Conn.
func (c *replyConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.err = c.check(p[:n]); c.err != nil {
		return 0, c.err
	}
	return n, err
}

// check goes through the next octets of a reply.
func (c *replyConn) check(b []byte) error {
	for len(b) > 0 {
		n := min(c.skip, len(b))
		if c.skip == 0 {
			n = bytes.IndexByte(b, '\n') + 1
			if n == 0 {
				n = len(b)
			}
		}
		if c.size += n; c.size > replyMax {
			return fmt.Errorf("%w: got more than %d octets", errReply, replyMax)
		}
		if err := c.checkPart(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// checkPart goes through a part of a string or of a line.
func (c *replyConn) checkPart(part []byte) error {
	if c.skip > 0 {
		if c.skip -= len(part); c.skip == 0 {
			c.end()
		}
		return nil
	}
	if len(c.line)+len(part) > lineMax {
		return fmt.Errorf("%w: got a line of more than %d octets", errReply, lineMax)
	}
	if c.line = append(c.line, part...); part[len(part)-1] != '\n' {
		return nil
	}
	err := c.checkLine(c.line)
	c.line = c.line[:0]
	return err
}

// checkLine handles a line, which begins a string or an array or is an item of its own. Both ends must agree where it ends, so it must
// be as the protocol says.
func (c *replyConn) checkLine(line []byte) error {
	text, hasEnd := bytes.CutSuffix(line, []byte("\r\n"))
	if !hasEnd || len(text) == 0 {
		return fmt.Errorf("%w: got the line %.40q", errReply, line)
	}
	switch kind, value := text[0], string(text[1:]); kind {
	case '$', '!', '=':
		n, err := strconv.Atoi(value)
		if err != nil || n < -1 || n > replyMax {
			return fmt.Errorf("%w: got the length %.40q of a string", errReply, value)
		}
		if n < 0 { // none
			c.end()
		} else {
			c.skip = n + len("\r\n")
		}
	case '*', '~', '>', '%':
		return c.begin(kind, value)
	case '_', '#':
		if want := map[byte]int{'_': 0, '#': 1}[kind]; len(value) != want {
			return fmt.Errorf("%w: got the line %.40q", errReply, line)
		}
		c.end()
	case '+', '-', ':', ',', '(':
		c.end()
	default:
		return fmt.Errorf("%w: got the line %.40q", errReply, line)
	}
	return nil
}

// begin handles the beginning of an array or a map.
func (c *replyConn) begin(kind byte, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < -1 || n > replyItemsMax {
		return fmt.Errorf("%w: got the length %.40q of an array", errReply, value)
	}
	if kind == '%' && n > 0 {
		n *= 2
	}
	if c.items += max(n, 0); c.items > replyItemsMax {
		return fmt.Errorf("%w: got more than %d items", errReply, replyItemsMax)
	}
	if n <= 0 {
		c.end()
		return nil
	}
	if c.depth == replyDepthMax {
		return fmt.Errorf("%w: got arrays in more than %d others", errReply, replyDepthMax)
	}
	c.left[c.depth] = n
	c.depth++
	return nil
}

// end handles the end of an item, which may be that of arrays and of the reply.
func (c *replyConn) end() {
	for ; c.depth > 0; c.depth-- {
		if c.left[c.depth-1]--; c.left[c.depth-1] > 0 {
			return
		}
	}
	c.size, c.items = 0, 0
}
