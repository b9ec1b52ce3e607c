//go:build linux

package authpolicy_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/limiter/watch"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// site is a gateway that a Dovecot asks. Programs log in through the socket of Dovecot, as
// Postfix does.
type site struct {
	t       testing.TB
	gateway *daemon.Daemon
	log     *testbed.Log
	dovecot *mailtest.Dovecot
	socket  string
}

// password is that of all accounts of a site.
const password = "correct horse"

// newSite starts one with accounts, which all have the same password. Settings of postern
// come on top.
func newSite(t *testing.T, accounts []string, settings ...string) *site {
	t.Helper()
	s := &site{t: t, log: testbed.NewLog()}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token-of-dovecot-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := testbed.NewSite(t, append([]string{"POSTERN_POLICY_LISTEN=localhost:0", "POSTERN_POLICY_TOKEN_FILE=" + token, "POSTERN_POP3_LISTEN=off", "POSTERN_POP3S_LISTEN=off"}, settings...)...).Environ
	s.gateway = run(t, environ, s.log)

	dir, err := os.MkdirTemp("", "auth-") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.socket = filepath.Join(dir, "client")
	c := mailtest.DovecotConfig{Settings: dovecotSettings(t, s.gateway.PolicyAddr().String()) + fmt.Sprintf("service auth {\n  unix_listener %s {\n    mode = 0666\n  }\n}\n", s.socket)}
	for _, name := range accounts {
		c.Accounts = append(c.Accounts, standin.Account{Name: name, Secret: password})
	}
	s.dovecot = mailtest.StartDovecot(t, c)
	return s
}

// dovecotSettings are the settings in deploy for a gateway at addr, with the token and the nonce of
// the test.
func dovecotSettings(t testing.TB, addr string) string {
	t.Helper()
	text, err := os.ReadFile("../../../../deploy/dovecot/postern-policy.conf")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"http://192.0.2.10:9145/", "http://"+addr+"/", "</etc/dovecot/postern-policy.header", "Authorization: Bearer token-of-dovecot-0123456789", "</etc/dovecot/postern-policy.nonce", "nonce of the test",
	).Replace(string(text))
}

// run runs a gateway until the test ends.
func run(t *testing.T, environ []string, log *testbed.Log) *daemon.Daemon {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan *daemon.Daemon, 1), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Environ: environ, Log: log, Ready: func(d *daemon.Daemon) { ready <- d }})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case d := <-ready:
		return d
	case err := <-ended:
		ended <- nil
		t.Fatalf("start the gateway: %v", err)
	}
	return nil
}

// seeded returns a state directory of a gateway at which so many users have logged in two days
// ago from where they are at home, so the reserve for known users is enforced.
func seeded(t *testing.T, users int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	c, err := config.Load(testbed.Environ("POSTERN_STATE_DIR=" + dir))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	err = daemon.Seed(&c, eventlog.New(io.Discard, "text", c.Log.SlogLevel()), func(key limiter.Key, detectorKey [16]byte) (known, learned []byte, err error) {
		l, err := limiter.New(c.Limits.Policy(c.Tarpit.Max), key)
		if err != nil {
			return nil, nil, err
		}
		for _, days := range []time.Duration{2, 0} {
			for i := range users {
				l.Learn(now.Add(-24*time.Hour*days), netip.MustParseAddr(homeOf(i)), userOf(i))
			}
		}
		w := watch.New(watch.Config{Location: time.Local, Key: detectorKey})
		return l.Snapshot(now), w.Snapshot(now), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// awaitLines waits until the log has so many lines with all of parts.
func awaitLines(t *testing.T, log *testbed.Log, want int, parts ...string) {
	t.Helper()
	timeout, tick := time.After(testbed.Patience), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		n := 0
		for line := range strings.Lines(log.String()) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				n++
			}
		}
		if n >= want {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("got %d lines with %q, want %d:\n%s", n, parts, want, log)
		}
	}
}

// refused is how many logins were refused for want of a global token.
func (s *site) refused() float64 {
	s.t.Helper()
	r, err := http.Get("http://" + s.gateway.AdminAddr().String() + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	found := regexp.MustCompile(`postern_logins_total\{client="stranger",listener="policy",result="refused"\} (\S+)`).FindSubmatch(text)
	if found == nil {
		s.t.Fatal("no metric of refused logins")
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// client is a program on Dovecot's socket for authentication.
type client struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	id   int
}

// dial connects to the socket of Dovecot.
func (s *site) dial() *client {
	s.t.Helper()
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testbed.Patience))
	c := &client{t: s.t, conn: conn, in: bufio.NewReader(conn)}
	fmt.Fprintf(conn, "VERSION\t1\t2\nCPID\t%d\n", os.Getpid()+int(time.Now().UnixNano()%1e9))
	c.until("DONE")
	return c
}

// until reads lines up to one that begins with word.
func (c *client) until(words ...string) string {
	c.t.Helper()
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("waiting for %q from Dovecot: %v", words, err)
		}
		for _, word := range words {
			if strings.HasPrefix(line, word) {
				return strings.TrimSpace(line)
			}
		}
	}
}

// login logs in to a service and returns Dovecot's answer, OK or FAIL.
func (c *client) login(service, addr, account, password string) string {
	c.t.Helper()
	c.id++
	response := base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + password))
	fmt.Fprintf(c.conn, "AUTH\t%d\tPLAIN\tservice=%s\trip=%s\tsecured\tresp=%s\n", c.id, service, addr, response)
	answer, _, _ := strings.Cut(c.until("OK\t", "FAIL\t"), "\t")
	return answer
}

// A real Dovecot asks about logins to submission, and reports them.
func TestDovecotAsksAndReports(t *testing.T) {
	t.Parallel()
	s := newSite(t, []string{"kari", "ola"})
	c := s.dial()
	if got := c.login("smtp", "192.0.2.7", "kari", password); got != "OK" {
		t.Errorf("got %s for the right password", got)
	}
	s.log.Await(t, "event=login", "listener=policy", "rip=192.0.2.7", "result=accepted", "client=stranger", "account=kari")
	if got := c.login("smtp", "192.0.2.7", "kari", "wrong"); got != "FAIL" {
		t.Errorf("got %s for a wrong password", got)
	}
	s.log.Await(t, "event=login", "listener=policy", "result=denied", "client=known", "account=kari")
}
