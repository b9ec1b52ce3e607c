package testbed

import (
	"crypto/tls"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// Client speaks lines.
type Client struct {
	*textproto.Conn
	T *testing.T
}

// NewClient speaks lines on c, which is closed with the test.
func NewClient(t *testing.T, c net.Conn) *Client {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(Patience))
	return &Client{textproto.NewConn(c), t}
}

// Dial connects to an address without TLS. It does not read the greeting.
func Dial(t *testing.T, addr string) *Client {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(t, c)
}

// DialTLS connects to an address inside TLS, whose certificate must be the one
// that config trusts, and reads the greeting.
func DialTLS(t *testing.T, addr string, config *tls.Config) *Client {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: Patience}, "tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	cl := NewClient(t, c)
	cl.Until("OK")
	return cl
}

// Until reads lines up to one that holds word, and returns it.
func (c *Client) Until(word string) string {
	c.T.Helper()
	for {
		line, err := c.ReadLine()
		if err != nil {
			c.T.Fatalf("waiting for %q: %v", word, err)
		}
		if strings.Contains(line, word) {
			return line
		}
	}
}

// Say sends a line and reads up to an answer that holds word, which it returns.
func (c *Client) Say(line, word string) string {
	c.T.Helper()
	if err := c.PrintfLine("%s", line); err != nil {
		c.T.Fatal(err)
	}
	return c.Until(word)
}

// Login logs Account in by IMAP.
func (c *Client) Login() {
	c.T.Helper()
	c.Say("a LOGIN "+Account.Name+" "+Account.Secret, "a OK")
}
