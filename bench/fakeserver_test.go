package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/bench/client"
	"postern/limiter/traffic"
	"postern/proxy/standin"
)

// seenLogin is one login as a target saw it.
type seenLogin struct {
	at              time.Time
	addr            netip.Addr
	account, secret string
	token, resumed  bool          // the secret is a token, the TLS session was resumed
	held            time.Duration // how long the client left a challenge unanswered, or sent no command, before it hung up
}

// proxyHeaderServer is a target that reads a PROXY header and records all
// logins.
type proxyHeaderServer struct {
	tls     *tls.Config              // nil for clear text
	delay   time.Duration            // before an answer
	delayed func(seenLogin) bool     // logins to which the delay applies; nil for all
	answer  func(s seenLogin) string // to a login
	noCRAM  bool                     // refuse CRAM-MD5
	maxIdle time.Duration            // close connections without a command after it; zero for never

	mu     sync.Mutex
	logins []seenLogin
}

// target returns the server as a target, connected through pipes.
func (p *proxyHeaderServer) target() *target {
	return &target{
		proxyHeader: true, timeout: time.Minute, tls: &tls.Config{InsecureSkipVerify: true},
		listeners: map[listener]string{{client.IMAP, client.Plain}: "pipe", {client.IMAP, client.TLS}: "pipe", {client.IMAP, client.Resumed}: "pipe"},
		connect:   throughPipe(p.serve),
	}
}

// throughPipe connects to serve through a pipe, of which serve closes its end.
func throughPipe(serve func(net.Conn)) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(theirs)
		return ours, nil
	}
}

// serve serves one connection and closes it.
func (p *proxyHeaderServer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	header, err := proxyproto.Read(r)
	if err != nil {
		return
	}
	l := seenLogin{at: time.Now(), addr: header.SourceAddr.(*net.TCPAddr).AddrPort().Addr().Unmap()}
	if p.tls != nil {
		t := tls.Server(bufferedConn{c, r}, p.tls)
		if t.Handshake() != nil {
			return
		}
		c, r, l.resumed = t, bufio.NewReader(t), t.ConnectionState().DidResume
	}
	if p.maxIdle > 0 {
		defer time.AfterFunc(p.maxIdle, func() { c.Close() }).Stop()
	}
	c.Write([]byte("* OK ready\r\n"))
	for {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			if l.account == "" {
				l.held = time.Since(l.at)
				p.saw(l)
			}
			return
		case strings.Contains(line, "LOGOUT"):
			c.Write([]byte("a OK bye\r\n"))
			return
		case strings.Contains(line, "CRAM-MD5") && p.noCRAM:
			c.Write([]byte("a NO no\r\n"))
			continue
		case strings.Contains(line, "CRAM-MD5"):
			c.Write([]byte("+ PHhAeT4=\r\n"))
			continue
		}
		l.account, l.secret, l.token = readLogin(line)
		p.saw(l)
		delay := p.delay
		if p.delayed != nil && !p.delayed(l) {
			delay = 0
		}
		time.AfterFunc(delay, func() { c.Write([]byte(p.answer(l))) })
	}
}

// saw records a login.
func (p *proxyHeaderServer) saw(l seenLogin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins = append(p.logins, l)
}

// readLogin reads a LOGIN with quoted strings, or AUTHENTICATE XOAUTH2.
func readLogin(line string) (account, secret string, token bool) {
	if quoted := strings.Split(line, `"`); len(quoted) == 5 {
		return quoted[1], quoted[3], false
	}
	fields := strings.Fields(line)
	response, _ := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	account, rest, _ := strings.Cut(string(response), "\x01auth=Bearer ")
	return strings.TrimPrefix(account, "user="), strings.TrimSuffix(rest, "\x01\x01"), true
}

// acceptAll accepts every login.
func acceptAll(seenLogin) string { return "a OK logged in\r\n" }

// refuseAll refuses every login for now.
func refuseAll(seenLogin) string { return "a NO [UNAVAILABLE] later\r\n" }

// checkPassword accepts right passwords of package traffic.
func checkPassword(l seenLogin) string {
	if l.secret == traffic.Secret(l.account) {
		return acceptAll(l)
	}
	return "a NO [AUTHENTICATIONFAILED] no\r\n"
}

// bufferedConn is a connection that reads through a buffer.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// serverTLS returns a configuration for a proxyHeaderServer.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	return cert.Server()
}

// scriptedServer is a target whose answers a test chooses.
type scriptedServer struct {
	// login returns how long the n-th login takes and its answer, "" for none.
	login func(n int, at time.Time) (delay time.Duration, answer string)
	n     atomic.Int64
}

// target returns the server as a target, connected through pipes.
func (s *scriptedServer) target() *target {
	return &target{
		name: "scripted", timeout: 5 * time.Second,
		listeners: map[listener]string{{client.IMAP, client.Plain}: "pipe"},
		connect:   throughPipe(s.serve),
	}
}

// serve serves one connection and closes it.
func (s *scriptedServer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	c.Write([]byte("* OK ready\r\n"))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if !strings.Contains(line, "LOGIN") {
			c.Write([]byte("* BYE\r\na OK bye\r\n"))
			return
		}
		delay, answer := s.login(int(s.n.Add(1)), time.Now())
		_ = pause(context.Background(), delay) // the context does not end
		if answer != "" {
			c.Write([]byte(answer + "\r\n"))
		}
	}
}

// value returns a figure of s.
func (s *sample) value(t *testing.T, name string) float64 {
	t.Helper()
	for _, f := range s.figures {
		if f.name == name {
			return f.value
		}
	}
	t.Errorf("no figure %q", name)
	return 0
}
