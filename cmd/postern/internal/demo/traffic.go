package demo

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
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

// play makes the logins of g at an IMAPS listener, each at its time, until ctx
// ends.
func play(ctx context.Context, addr string, g *traffic.Generator) {
	var clients sync.WaitGroup
	defer clients.Wait()
	connected := make(chan struct{}, clientsMax)
	for {
		l := g.Next()
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
				logIn(ctx, addr, l)
				<-connected
			})
		default:
		}
	}
}

// logIn logs in and out, from a loopback address that stands for the client's
// own. The result does not matter here: the gateway counts it.
func logIn(ctx context.Context, addr string, l traffic.Login) {
	from, ok := traffic.Loopback(l.Addr)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sessionMax)
	defer cancel()
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}},
		Config:    &tls.Config{InsecureSkipVerify: true}, // the demo's certificate is self-signed
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := textproto.NewConn(conn)
	for _, request := range []string{"", fmt.Sprintf("a LOGIN %s %s", l.Account, l.Secret), "b LOGOUT"} {
		tag := "*"
		if request != "" {
			tag = request[:1]
			if lines.PrintfLine("%s", request) != nil {
				return
			}
		}
		for line := ""; !strings.HasPrefix(line, tag+" "); {
			if line, err = lines.ReadLine(); err != nil {
				return
			}
		}
	}
}
