//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// The traffic of TestFirstMinuteUnderAttack. The backends can check 20 logins a second; users need 10.
const (
	attackTicks  = 200 // of attackTick each
	attackTick   = 100 * time.Millisecond
	attackFactor = 10 // all logins, as a multiple of the users'
	attackUsers  = 150
)

// TestFirstMinuteUnderAttack: a gateway that has learned from two weeks of a log, and is attacked with ten times the usual
// logins from its first second on, serves its users.
func TestFirstMinuteUnderAttack(t *testing.T) {
	served, asked := attackAtStart(t, true)
	if float64(served) < .999*float64(asked) || asked < attackTicks/2 {
		t.Errorf("%d of %d logins of users were accepted, want 99.9 %%", served, asked)
	}
	t.Logf("%d of %d logins of users were accepted", served, asked)
}

// attackAtStart starts a gateway, which has learned or not, and attacks it. It returns how many logins of users were
// accepted, of how many.
func attackAtStart(t *testing.T, learnBefore bool) (served, asked int) {
	dir := t.TempDir()
	if learnBefore {
		log := writeLog(t, 15, 10*time.Second, func(b *strings.Builder, at time.Time, i int) {
			loginLine(b, at, fmt.Sprint("user", i%attackUsers), userAddr(i%attackUsers))
			if i%50 == 0 {
				deniedLine(b, at, fmt.Sprint("user", i%attackUsers), strangerAddr(i))
			}
		})
		if code, out := learned(t, testbed.Environ(prefix+"STATE_DIR="+dir), log); code != exitOK {
			t.Fatalf("exit %d, %s", code, out)
		}
	}
	g := start(t, prefix+"STATE_DIR="+dir, prefix+"IMAP_BACKENDS="+serveUsers(t), prefix+"CLEARTEXT_LOGIN=true",
		prefix+"LIMIT_GLOBAL=20/1s", prefix+"TARPIT_MAX=5s", prefix+"LOG_LEVEL=error")
	var clients sync.WaitGroup
	var accepted atomic.Int64
	tick := time.NewTicker(attackTick)
	defer tick.Stop()
	for i := range attackTicks {
		<-tick.C
		asked++
		clients.Go(func() {
			n := i % attackUsers
			if answer := logInFrom(userAddr(n), g.Addr("imap"), fmt.Sprint("user", n), "secret"); strings.HasPrefix(answer, "a OK") {
				accepted.Add(1)
			} else {
				t.Logf("user %d: %s", n, answer)
			}
		})
		for j := range attackFactor - 1 {
			clients.Go(func() {
				n := i*(attackFactor-1) + j
				if answer := logInFrom(strangerAddr(n), g.Addr("imap"), fmt.Sprint("user", n%attackUsers), fmt.Sprint("guess", n)); strings.HasPrefix(answer, "a OK") {
					t.Errorf("a guess was accepted: %s", answer)
				}
			})
		}
	}
	clients.Wait()
	return int(accepted.Load()), asked
}

// serveUsers starts a mail server at which all users may log in.
func serveUsers(t *testing.T) (addr string) {
	t.Helper()
	var accounts []standin.Account
	for i := range attackUsers {
		accounts = append(accounts, standin.Account{Name: fmt.Sprint("user", i), Secret: "secret"})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := standin.ServeIMAP(ln, accounts, standin.Options{ProxyHeader: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return ln.Addr().String()
}

// logInFrom logs in from a loopback address and returns the answer, or the error.
func logInFrom(from netip.Addr, to, account, secret string) (answer string) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: testbed.Patience}
	conn, err := dialer.Dial("tcp", to)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testbed.Patience))
	c := textproto.NewConn(conn)
	if _, err := c.ReadLine(); err != nil {
		return err.Error()
	}
	if err := c.PrintfLine("a LOGIN %s %s", account, secret); err != nil {
		return err.Error()
	}
	for {
		if answer, err = c.ReadLine(); err != nil {
			return err.Error()
		}
		if !strings.HasPrefix(answer, "* ") || strings.HasPrefix(answer, "* BYE") {
			return answer
		}
	}
}
