package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// TestServe reads mail through both TLS listeners, gets a password wrong, and
// looks at what was logged and counted.
func TestServe(t *testing.T) {
	g := start(t, prefix+"LOG_FORMAT=json")
	c := g.dial(t, "imaps")
	c.Say("a LOGIN demo wrong", "a NO [AUTHENTICATIONFAILED]")
	g.log.Await(t, `"event":"login"`, `"result":"denied"`, `"account":"demo"`)
	c.Login()
	g.log.Await(t, `"event":"login"`, `"result":"accepted"`, `"rip":"127.0.0.1"`)
	c.Say("b SELECT INBOX", "b OK")
	c.Say("c LOGOUT", "c OK")
	c.Close()
	line := g.log.Await(t, `"event":"connection"`, `"listener":"imaps"`, `"account":"demo"`)
	if strings.Contains(line, testbed.Account.Secret) {
		t.Errorf("the password is logged: %s", line)
	}

	p := g.dial(t, "pop3s")
	p.Say("USER "+testbed.Account.Name, "+OK")
	p.Say("PASS "+testbed.Account.Secret, "+OK")
	p.Say("STAT", "+OK 3 ")
	p.Say("QUIT", "+OK")
	p.Close()
	g.log.Await(t, `"event":"connection"`, `"listener":"pop3s"`, `"account":"demo"`)

	families := g.scrape(t)
	for result, want := range map[string]float64{"accepted": 2, "denied": 1} {
		if got := testbed.Total(families["postern_logins_total"], "result", result); got != want {
			t.Errorf("%s: counted %v, want %v", result, got, want)
		}
	}
}

// TestServeClearText: the other two listeners greet in clear text and offer TLS.
func TestServeClearText(t *testing.T) {
	g := start(t)
	for listener, ask := range map[string][2]string{"imap": {"a STARTTLS", "a OK"}, "pop3": {"STLS", "+OK"}} {
		c := g.connect(t, listener)
		c.Until("OK")
		c.Say(ask[0], ask[1])
	}
}

// TestActiveConnections: one before login, one logged in.
func TestActiveConnections(t *testing.T) {
	g := start(t)
	g.dial(t, "imaps")
	c := g.dial(t, "imaps")
	c.Login()
	c.Say("b NOOP", "b OK")
	for _, m := range g.scrape(t)["postern_connections_active"].GetMetric() {
		want := map[string]float64{"prelogin": 1, "tarpit": 0, "relay": 1}[m.GetLabel()[0].GetValue()]
		if got := m.GetGauge().GetValue(); got != want {
			t.Errorf("%v: got %v, want %v", m.GetLabel(), got, want)
		}
	}
}

// TestReadinessFollowsThePhase from the start to the shutdown. While another process takes over, the gateway is ready.
func TestReadinessFollowsThePhase(t *testing.T) {
	g := start(t)
	for phase, want := range map[uint32]string{starting: "starting", serving: "", upgrading: "", retiring: "", draining: "shutting down"} {
		g.phase.Store(phase)
		if got := g.unready(); got != want {
			t.Errorf("phase %d: got %q, want %q", phase, got, want)
		}
	}
}

// TestNotReadyWithoutBackend: a gateway without a backend for a protocol wants
// no new clients.
func TestNotReadyWithoutBackend(t *testing.T) {
	g := start(t, prefix+"POP3_BACKENDS=127.0.0.1:1")
	g.log.Await(t, "backend down", "127.0.0.1:1", "connection refused")
	if why := g.unready(); why != "no pop3 backend is up" {
		t.Errorf("got %q", why)
	}
}

// TestDrain: sessions may finish, clients before login are disconnected with an
// answer, and readiness ends at once.
func TestDrain(t *testing.T) {
	g := start(t)
	in, out := g.dial(t, "imaps"), g.dial(t, "imaps")
	in.Login()
	drained := make(chan struct{})
	go func() {
		g.drain(make(chan os.Signal))
		close(drained)
	}()
	out.Until("* BYE")
	if why := g.unready(); why != "shutting down" {
		t.Errorf("while draining: got %q", why)
	}
	if c, err := net.Dial("tcp", g.Addr("imaps")); err == nil {
		c.Close()
		t.Error("a new client is accepted")
	}
	in.Say("b SELECT INBOX", "b OK")
	in.Say("c LOGOUT", "c OK")
	in.Close()
	<-drained
	g.log.Await(t, "shutdown complete", "closed_early=false")
}

// TestDrainIsCutShort: a second signal, or the end of DRAIN, closes the remaining
// sessions.
func TestDrainIsCutShort(t *testing.T) {
	for name, tt := range map[string]struct {
		drain   string
		signals []os.Signal
		want    string
	}{
		"by a second signal":  {"1h", []os.Signal{syscall.SIGHUP, syscall.SIGTERM}, "closed_early=true"},
		"by the end of DRAIN": {"1ms", nil, "closed_early="}, // true unless the session was idle before
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, prefix+"DRAIN="+tt.drain)
			c := g.dial(t, "imaps")
			c.Login()
			signals := make(chan os.Signal, 2)
			for _, s := range tt.signals {
				signals <- s
			}
			g.drain(signals)
			if line, err := c.ReadLine(); err == nil && !strings.Contains(line, "BYE") {
				t.Errorf("still served: %q", line)
			}
			g.log.Await(t, "shutdown complete", tt.want)
		})
	}
}

// TestDrainIgnoresSIGUSR2: asking for an upgrade during the shutdown closes no session.
func TestDrainIgnoresSIGUSR2(t *testing.T) {
	g := start(t)
	c := g.dial(t, "imaps")
	c.Login()
	signals, drained := make(chan os.Signal), make(chan struct{})
	go func() {
		g.drain(signals)
		close(drained)
	}()
	signals <- syscall.SIGUSR2
	signals <- syscall.SIGUSR2 // so the first one was handled
	c.Say("b LOGOUT", "b OK")
	c.Close()
	<-drained
	g.log.Await(t, "shutdown complete", "closed_early=false")
}

// TestFailedListenerEndsTheDaemon with the first error, so that the service
// manager restarts it.
func TestFailedListenerEndsTheDaemon(t *testing.T) {
	g := start(t)
	g.fail(os.ErrInvalid)
	g.fail(os.ErrClosed)
	if _, err := g.serveUntilEnd(t.Context(), nil, g.read); err != os.ErrInvalid {
		t.Errorf("got %v", err)
	}
}

// newManager plays a service manager to this process, and returns the socket
// with the notifications.
func newManager(t *testing.T) *net.UnixConn {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	manager, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	manager.SetReadDeadline(time.Now().Add(testbed.Patience))
	return manager
}

// notified reads notifications up to one that begins with want, and returns it.
func notified(t *testing.T, manager *net.UnixConn, want string) string {
	t.Helper()
	buf := make([]byte, 1024)
	for {
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatalf("waiting for %s: %v", want, err)
		}
		if got := string(buf[:n]); strings.HasPrefix(got, want) {
			return got
		}
	}
}

// TestRunUnderSystemd runs the daemon and sends it real signals.
func TestRunUnderSystemd(t *testing.T) {
	manager := newManager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	site, log := testbed.NewSite(t, "NOTIFY_SOCKET="+manager.LocalAddr().String()), testbed.NewLog()
	done := make(chan error)
	go func() { done <- Run(context.Background(), Options{Environ: site.Environ, Log: log}) }()

	notified(t, manager, "READY=1")
	log.Await(t, "event=start", "listeners=", "imap_backends=")
	notified(t, manager, "WATCHDOG=1")
	syscall.Kill(os.Getpid(), syscall.SIGHUP)
	if got := notified(t, manager, "RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
		t.Errorf("got %q", got)
	}
	notified(t, manager, "READY=1")
	log.Await(t, "settings reloaded")
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	notified(t, manager, "STOPPING=1")
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

// TestRunUntilCancelled: the end of the context has the effect of SIGTERM.
func TestRunUntilCancelled(t *testing.T) {
	site, log := testbed.NewSite(t), testbed.NewLog()
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, Options{Environ: site.Environ, Log: log, Ready: func(d *Daemon) {
		if d.Addr("imaps") == "" || d.Addr("smtp") != "" || d.AdminAddr() == nil {
			t.Errorf("addresses %q, %q, %v", d.Addr("imaps"), d.Addr("smtp"), d.AdminAddr())
		}
		cancel()
	}})
	if err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	log.Await(t, "event=start")
	log.Await(t, "shutdown complete")
}

// TestServiceManagerErrors: a service manager that cannot be reached or
// understood does not stop the daemon.
func TestServiceManagerErrors(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "often")
	g := start(t, "NOTIFY_SOCKET=/no/such/socket")
	g.manager.notify(notifyReady)
	g.log.Await(t, "cannot notify the service manager")
	if every := g.manager.watchdogInterval(); every != 0 {
		t.Errorf("got %v", every)
	}
	g.log.Await(t, "cannot read the watchdog interval")
}
