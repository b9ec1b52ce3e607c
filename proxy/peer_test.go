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
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
)

// peer is a client of the proxy or a backend behind it, played by a test.
type peer struct {
	net.Conn
	t    testing.TB
	name string
	r    *bufio.Reader
	fail func(format string, args ...any) // ends the goroutine of the peer

	timeout time.Duration      // how long to wait for what must come
	header  *proxyproto.Header // that a backend has read
}

// A timeout costs nothing in a synctest bubble, and is longer there than anything the
// proxy waits for.
const (
	bubbleTimeout = 24 * time.Hour
	realTimeout   = time.Minute
)

// newClient returns a client that the test's own goroutine plays.
func newClient(t testing.TB, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	return &peer{Conn: conn, t: t, name: "client", r: bufio.NewReader(conn), fail: t.Fatalf, timeout: bubbleTimeout}
}

// newBackend returns a backend that a goroutine of its own plays.
func newBackend(t testing.TB, conn net.Conn) *peer {
	return &peer{Conn: conn, t: t, name: "backend", r: bufio.NewReader(conn), timeout: bubbleTimeout,
		fail: func(format string, args ...any) {
			t.Errorf(format, args...)
			runtime.Goexit()
		}}
}

// send sends lines in one write. If the proxy has closed, what the test expects next
// fails.
func (p *peer) send(lines ...string) {
	_, _ = p.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
}

// readLine returns the next line without its end.
func (p *peer) readLine() (string, error) {
	p.SetReadDeadline(time.Now().Add(p.timeout))
	line, err := p.r.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// expect reads lines. If one ends in "…", only the text before that is compared.
func (p *peer) expect(wants ...string) {
	p.t.Helper()
	for _, want := range wants {
		got, err := p.readLine()
		begin, open := strings.CutSuffix(want, "…")
		if err != nil || got != begin && (!open || !strings.HasPrefix(got, begin)) {
			p.fail("%s: got %q, %v; want %q", p.name, got, err, want)
		}
	}
}

// expectEOF expects the end of the stream, without a reset, and nothing before it.
func (p *peer) expectEOF() {
	p.t.Helper()
	if got, err := p.readLine(); err != io.EOF || got != "" {
		p.fail("%s: got %q, %v; want EOF", p.name, got, err)
	}
}

// expectClosed expects the end of the stream or a reset, and nothing before it.
func (p *peer) expectClosed() {
	p.t.Helper()
	got, err := p.readLine()
	if got != "" || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		p.fail("%s: got %q, %v; want EOF or a reset", p.name, got, err)
	}
}

// expectNothing expects that nothing comes for d.
func (p *peer) expectNothing(d time.Duration) {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(d))
	var timeout net.Error
	if got, err := p.r.ReadString('\n'); got != "" || !errors.As(err, &timeout) || !timeout.Timeout() {
		p.fail("%s: got %q, %v; want nothing", p.name, got, err)
	}
}

// closeWrite ends what the peer sends.
func (p *peer) closeWrite() {
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
	p.SetDeadline(time.Now().Add(p.timeout))
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	p.SetDeadline(time.Time{})
	p.Conn, p.r = secure, bufio.NewReader(secure)
	return secure, nil
}

// expectAlert begins a handshake and expects the server to end it by an alert, without
// a reset.
func (p *peer) expectAlert() {
	p.t.Helper()
	var alert *net.OpError
	if _, err := p.tryTLS(nil); !errors.As(err, &alert) || alert.Op != "remote error" {
		p.fail("%s: handshake: got %v, want an alert", p.name, err)
	}
	if n, err := p.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		p.fail("%s: after the alert got %d bytes, %v; want EOF", p.name, n, err)
	}
}

// serveTLS makes the handshake of a backend.
func (p *peer) serveTLS(c *tls.Config) error {
	secure := tls.Server(&readAhead{Conn: p.Conn, r: p.r}, c) // the hello may have come with the header
	p.SetDeadline(time.Now().Add(p.timeout))
	err := secure.Handshake()
	p.Conn, p.r = secure, bufio.NewReader(secure)
	return err
}

// readHeader reads the PROXY header.
func (p *peer) readHeader() {
	p.SetReadDeadline(time.Now().Add(p.timeout))
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

// challenge sends a challenge and returns the response, or false if there is none.
func (p *peer) challenge(text string) (response string, ok bool) {
	p.send("+ " + b64(text))
	line, err := p.readLine()
	return decode(line), err == nil && line != "*"
}

// echo answers every line until there are no more.
func (p *peer) echo() {
	for {
		p.SetReadDeadline(time.Time{})
		line, err := p.r.ReadString('\n')
		if err != nil {
			return
		}
		p.send("echo " + strings.TrimSpace(line))
	}
}

// login logs in a client that has been greeted.
func (p *peer) login() {
	p.t.Helper()
	p.send("a1 LOGIN u right")
	p.expect("a1 OK …")
	synctest.Wait()
}

// sendLogin sends a login. It does not read the answer to its last line.
func sendLogin(client *peer, l Listener, password string) {
	if l.Protocol.Name() == "imap" {
		client.send("a1 LOGIN u " + password)
		return
	}
	client.send("USER u")
	client.expect("+OK")
	client.send("PASS " + password)
}

// upgradeTLS begins TLS by STARTTLS or STLS on a client that has been greeted.
func upgradeTLS(client *peer, l Listener) {
	client.t.Helper()
	client.send(map[string]string{"imap": "a0 STARTTLS", "pop3": "STLS"}[l.Protocol.Name()])
	client.expect(map[string]string{"imap": "a0 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
	client.startTLS(nil)
}
