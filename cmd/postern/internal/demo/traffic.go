package demo

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"postern/limiter/traffic"
)

// clientsMax is how many clients may be connected at once; more are left out.
const clientsMax = 500

// sessionMax is the longest that one client may take.
const sessionMax = 30 * time.Second

// results counts the logins that are over. It is safe for concurrent use.
type results struct {
	known map[string]bool // accounts of the known users; it does not change

	mu     sync.Mutex
	counts counts
}

// counts is how many logins are over: with the right password of a known user, and
// all others by their answer.
type counts struct {
	known, served         int
	denied, refused, none int // none: no answer
}

// all is how many logins are over.
func (c counts) all() int { return c.known + c.denied + c.refused + c.none }

// add counts a login with the gateway's answer to it, empty if there was none.
func (r *results) add(l traffic.Login, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch accepted := strings.HasPrefix(answer, "a OK"); {
	case l.Good() && r.known[l.Account]:
		r.counts.known++
		if accepted {
			r.counts.served++
		}
	case strings.HasPrefix(answer, "a NO [AUTHENTICATIONFAILED]"):
		r.counts.denied++
	case strings.HasPrefix(answer, "a NO"):
		r.counts.refused++
	default:
		r.counts.none++
	}
}

// now returns what was counted until now.
func (r *results) now() counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// play makes the logins of g at IMAPS listeners in turn, each at its time, until ctx
// ends, and counts their results.
func play(ctx context.Context, addrs []string, g *traffic.Generator, r *results) {
	var clients sync.WaitGroup
	defer clients.Wait()
	connected := make(chan struct{}, clientsMax)
	for i := 0; ; i++ {
		l, addr := g.Next(), addrs[i%len(addrs)]
		wait := time.NewTimer(time.Until(l.At))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		select {
		case connected <- struct{}{}:
			clients.Go(func() {
				answer := logIn(ctx, addr, l)
				if ctx.Err() == nil {
					r.add(l, answer)
				}
				<-connected
			})
		default:
		}
	}
}

// logIn logs in and out, from a loopback address that stands for the client's own. It
// returns the gateway's answer to the login, empty if there was none.
func logIn(ctx context.Context, addr string, l traffic.Login) (answer string) {
	from, ok := traffic.Loopback(l.Addr)
	if !ok {
		return ""
	}
	return logInFrom(ctx, addr, from, l)
}

// logInFrom is logIn from this address; with the zero address, the system chooses it.
func logInFrom(ctx context.Context, addr string, from netip.Addr, l traffic.Login) (answer string) {
	ctx, cancel := context.WithTimeout(ctx, sessionMax)
	defer cancel()
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{},
		Config:    &tls.Config{InsecureSkipVerify: true}, // the demo's certificate is self-signed
	}
	if from.IsValid() {
		dialer.NetDialer.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return ""
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := textproto.NewConn(conn)
	if _, err := ask(lines, "*", ""); err != nil {
		return ""
	}
	if answer, err = ask(lines, "a", fmt.Sprintf("a LOGIN %s %s", l.Account, l.Secret)); err == nil {
		_, _ = ask(lines, "b", "b LOGOUT") // the result is known
	}
	return answer
}

// ask sends a request, if there is one, and returns the line that begins with tag.
func ask(lines *textproto.Conn, tag, request string) (answer string, err error) {
	if request != "" {
		if err := lines.PrintfLine("%s", request); err != nil {
			return "", err
		}
	}
	for !strings.HasPrefix(answer, tag+" ") {
		if answer, err = lines.ReadLine(); err != nil {
			return "", err
		}
	}
	return answer, nil
}
