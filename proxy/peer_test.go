package proxy

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// peer is a client of the gate or a backend behind it, played by a test.
type peer struct {
	net.Conn
	t    testing.TB
	name string
	r    *bufio.Reader
	fail func(format string, args ...any) // ends whoever plays the peer

	patience time.Duration      // how long it waits for what must come
	header   *proxyproto.Header // a backend's
}

// Patience costs nothing on a false clock, and is longer there than anything the
// gate waits for.
const (
	falsePatience = 24 * time.Hour
	truePatience  = 20 * time.Second
)

// newClient is a client of the goroutine of the test.
func newClient(t testing.TB, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	return &peer{Conn: conn, t: t, name: "client", r: bufio.NewReader(conn), fail: t.Fatalf, patience: falsePatience}
}

// newBackend is a backend with a goroutine of its own.
func newBackend(t testing.TB, conn net.Conn) *peer {
	return &peer{Conn: conn, t: t, name: "backend", r: bufio.NewReader(conn), patience: falsePatience,
		fail: func(format string, args ...any) {
			t.Errorf(format, args...)
			runtime.Goexit()
		}}
}

// say sends lines in one write. That the gate has gone is for the rest of the
// test to see.
func (p *peer) say(lines ...string) {
	_, _ = p.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
}

// line returns the next line without its end.
func (p *peer) line() (string, error) {
	p.SetReadDeadline(time.Now().Add(p.patience))
	line, err := p.r.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// hear demands lines. Where one ends in "…" only what is before that counts.
func (p *peer) hear(wants ...string) {
	p.t.Helper()
	for _, want := range wants {
		got, err := p.line()
		begin, open := strings.CutSuffix(want, "…")
		if err != nil || got != begin && (!open || !strings.HasPrefix(got, begin)) {
			p.fail("%s heard %q, %v; want %q", p.name, got, err, want)
		}
	}
}

// seeEnd demands the end of the stream, in good order, and nothing before.
func (p *peer) seeEnd() {
	p.t.Helper()
	if got, err := p.line(); err != io.EOF || got != "" {
		p.fail("%s heard %q, %v; want the end", p.name, got, err)
	}
}

// seeBreak demands that the stream ends, in good order or not.
func (p *peer) seeBreak() {
	p.t.Helper()
	got, err := p.line()
	if got != "" || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		p.fail("%s heard %q, %v; want the end or a break", p.name, got, err)
	}
}

// hearNothing demands silence for d.
func (p *peer) hearNothing(d time.Duration) {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(d))
	var timeout net.Error
	if got, err := p.r.ReadString('\n'); got != "" || !errors.As(err, &timeout) || !timeout.Timeout() {
		p.fail("%s heard %q, %v; want silence", p.name, got, err)
	}
}

// halfClose ends what the peer says.
func (p *peer) halfClose() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.fail("%s: half-close: %v", p.name, err)
	}
}

// startTLS makes the client's handshake.
func (p *peer) startTLS(c *tls.Config) *tls.Conn {
	p.t.Helper()
	secure, err := p.tryTLS(c)
	if err != nil {
		p.fail("%s: handshake: %v", p.name, err)
	}
	return secure
}

func (p *peer) tryTLS(c *tls.Config) (*tls.Conn, error) {
	if c == nil {
		c = &tls.Config{InsecureSkipVerify: true}
	}
	secure := tls.Client(p.Conn, c)
	p.SetDeadline(time.Now().Add(p.patience))
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	p.SetDeadline(time.Time{})
	p.Conn, p.r = secure, bufio.NewReader(secure)
	return secure, nil
}

// seeAlert begins a handshake and demands that the server ends it by an alert, and not by
// a reset.
func (p *peer) seeAlert() {
	p.t.Helper()
	var alert *net.OpError
	if _, err := p.tryTLS(nil); !errors.As(err, &alert) || alert.Op != "remote error" {
		p.fail("%s: handshake: got %v, want an alert", p.name, err)
	}
	if n, err := p.Conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		p.fail("%s: after the alert got %d bytes, %v; want the end", p.name, n, err)
	}
}

// serveTLS makes the handshake of a backend.
func (p *peer) serveTLS(c *tls.Config) error {
	secure := tls.Server(&readAhead{Conn: p.Conn, r: p.r}, c) // the hello may have come with the header
	p.SetDeadline(time.Now().Add(p.patience))
	err := secure.Handshake()
	p.Conn, p.r = secure, bufio.NewReader(secure)
	return err
}

// readHeader takes the PROXY header.
func (p *peer) readHeader() {
	p.SetReadDeadline(time.Now().Add(p.patience))
	h, err := proxyproto.Read(p.r)
	if err != nil {
		p.fail("%s: PROXY header: %v", p.name, err)
	}
	p.header = h
}

// plain is the initial response of SASL PLAIN.
func plain(user, password string) string {
	return b64(fmt.Sprintf("\x00%s\x00%s", user, password))
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
