package dialogue

import "bytes"

// readCommand reads the next command line, and gives ErrHostile as soon as the
// client turns out to speak another protocol: it is waiting for an answer that
// cannot be given, or is a browser that was sent here to be abused (ALPACA).
func (c *Conn) readCommand() ([]byte, error) {
	if len(c.ahead) == 0 {
		if err := c.Fill(); err != nil {
			return nil, err
		}
	}
	if c.ahead[0] == 0x16 { // a TLS handshake record has no line end to wait for
		return nil, ErrHostile
	}
	line, err := c.readLine(maxLine)
	if err == nil && isOtherProtocol(line) {
		return nil, ErrHostile
	}
	return line, err
}

// foreign recognises a request line of HTTP and a PROXY header where none is
// believed. As an IMAP command each of them would be nonsense.
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
