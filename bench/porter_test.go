package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// A visit is one login as a target saw it.
type visit struct {
	at              time.Time
	addr            netip.Addr
	account, secret string
}

// A porter is a target that notes who comes. It answers after a time, as answer says.
type porter struct {
	tls    *tls.Config // clear text without
	takes  time.Duration
	slow   func(v visit) bool // whom it answers after that time, nil for all; others at once
	answer func(v visit) string

	mu     sync.Mutex
	visits []visit
}

// target is p, at the other end of pipes.
func (p *porter) target() *Target {
	return &Target{
		announce: true, patience: time.Minute, tls: &tls.Config{InsecureSkipVerify: true},
		doors: map[door]string{{client.IMAP, client.Plain}: "pipe", {client.IMAP, client.TLS}: "pipe"},
		dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go p.serve(theirs)
			return ours, nil
		},
	}
}

// serve is one connection, which it closes.
func (p *porter) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	header, err := proxyproto.Read(r)
	if err != nil {
		return
	}
	if p.tls != nil {
		c = tls.Server(readAhead{c, r}, p.tls)
		r = bufio.NewReader(c)
	}
	v := visit{at: time.Now(), addr: header.SourceAddr.(*net.TCPAddr).AddrPort().Addr().Unmap()}
	c.Write([]byte("* OK knock\r\n"))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.Contains(line, "LOGOUT") {
			c.Write([]byte("a OK bye\r\n"))
			return
		}
		words := strings.Split(line, `"`)
		v.account, v.secret = words[1], words[3]
		p.mu.Lock()
		p.visits = append(p.visits, v)
		p.mu.Unlock()
		takes := p.takes
		if p.slow != nil && !p.slow(v) {
			takes = 0
		}
		time.AfterFunc(takes, func() { c.Write([]byte(p.answer(v))) })
	}
}

// right says whether the password is, as a mail server would.
func right(v visit) string {
	if v.secret == traffic.Secret(v.account) {
		return "a OK come in\r\n"
	}
	return "a NO [AUTHENTICATIONFAILED] no\r\n"
}

// readAhead is a connection some of whose octets have been read.
type readAhead struct {
	net.Conn
	r *bufio.Reader
}

func (c readAhead) Read(b []byte) (int, error) { return c.r.Read(b) }
