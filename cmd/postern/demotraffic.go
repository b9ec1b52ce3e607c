package main

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

// visitorsMax is how many of the demo's clients may be at the gate at once.
const visitorsMax = 500

// visitMax is how long one may stay.
const visitMax = 30 * time.Second

// play lets the people of c come to an IMAPS door when it is their time, until
// ctx ends. Those who find no room stay away.
func play(ctx context.Context, door string, c *traffic.Generator) {
	var inside sync.WaitGroup
	defer inside.Wait()
	room := make(chan struct{}, visitorsMax)
	for {
		l := c.Next()
		wait := time.NewTimer(time.Until(l.At))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		select {
		case room <- struct{}{}:
			inside.Go(func() {
				loginOnce(ctx, door, l)
				<-room
			})
		default:
		}
	}
}

// loginOnce logs in, from a loopback address that stands for the visitor's
// own, and leaves. What comes of it, the gate tells.
func loginOnce(ctx context.Context, door string, l traffic.Login) {
	from, ok := traffic.Loopback(l.Addr)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, visitMax)
	defer cancel()
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}},
		Config:    &tls.Config{InsecureSkipVerify: true}, // the demo's certificate is self-signed
	}
	conn, err := dialer.DialContext(ctx, "tcp", door)
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
