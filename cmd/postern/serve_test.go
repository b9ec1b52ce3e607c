package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServe reads mail through both TLS doors, gets a password wrong, and looks
// at what was logged and counted.
func TestServe(t *testing.T) {
	h := newHouse(t, "POSTERN_LOG_FORMAT=json")
	c := h.dial(t, "imaps")
	c.say("a LOGIN demo wrong", "a NO [AUTHENTICATIONFAILED]")
	h.log.await(t, `"event":"login"`, `"result":"denied"`, `"account":"demo"`)
	c.login()
	h.log.await(t, `"event":"login"`, `"result":"accepted"`, `"rip":"127.0.0.1"`)
	c.say("b SELECT INBOX", "b OK")
	c.say("c LOGOUT", "c OK")
	c.Close()
	line := h.log.await(t, `"event":"connection"`, `"listener":"imaps"`, `"account":"demo"`)
	if strings.Contains(line, demoAccount.Secret) {
		t.Errorf("the log tells the password: %s", line)
	}

	p := h.dial(t, "pop3s")
	p.say("USER "+demoAccount.Name, "+OK")
	p.say("PASS "+demoAccount.Secret, "+OK")
	p.say("STAT", "+OK 3 ")
	p.say("QUIT", "+OK")
	p.Close()
	h.log.await(t, `"event":"connection"`, `"listener":"pop3s"`, `"account":"demo"`)

	families := gather(t, h.metrics.registry)
	for result, want := range map[string]float64{"accepted": 2, "denied": 1} {
		if got := total(families["postern_logins_total"], "result", result); got != want {
			t.Errorf("%s: counted %v, want %v", result, got, want)
		}
	}
}

// TestServeDoorsInClear: the other two doors greet in clear text and offer TLS.
func TestServeDoorsInClear(t *testing.T) {
	h := newHouse(t)
	for door, ask := range map[string][2]string{"imap": {"a STARTTLS", "a OK"}, "pop3": {"STLS", "+OK"}} {
		cl := newClient(t, h.knock(t, door))
		cl.until("OK")
		cl.say(ask[0], ask[1])
	}
}

// TestStatesOfActiveConnections: one before login, one logged in.
func TestStatesOfActiveConnections(t *testing.T) {
	h := newHouse(t)
	h.dial(t, "imaps")
	c := h.dial(t, "imaps")
	c.login()
	c.say("b NOOP", "b OK")
	f := gather(t, h.metrics.registry)["postern_connections_active"]
	for _, m := range f.GetMetric() {
		want := map[string]float64{"prelogin": 1, "tarpit": 0, "relay": 1}[m.GetLabel()[0].GetValue()]
		if got := m.GetGauge().GetValue(); got != want {
			t.Errorf("%v: got %v, want %v", m.GetLabel(), got, want)
		}
	}
}

// TestLeaveDrains: whoever is logged in may finish, whoever is not is told
// goodbye, and readiness ends at once.
func TestLeaveDrains(t *testing.T) {
	h := newHouse(t)
	in, out := h.dial(t, "imaps"), h.dial(t, "imaps")
	in.login()
	left := make(chan error)
	go func() { left <- h.leave(make(chan os.Signal)) }()
	out.until("* BYE")
	if why := h.unready(); why != "shutting down" {
		t.Errorf("ready while leaving: %q", why)
	}
	if c, err := net.Dial("tcp", h.at("imaps")); err == nil {
		c.Close()
		t.Error("a new client gets in")
	}
	in.say("b SELECT INBOX", "b OK")
	in.say("c LOGOUT", "c OK")
	in.Close()
	if err := <-left; err != nil {
		t.Error(err)
	}
	h.log.await(t, "postern has left", "closed_early=false")
}

// TestLeaveIsCutShort: a second signal, or the end of DRAIN, closes what is
// left.
func TestLeaveIsCutShort(t *testing.T) {
	for name, tt := range map[string]struct {
		drain   string
		signals []os.Signal
	}{
		"by a second signal":      {"1h", []os.Signal{syscall.SIGHUP, syscall.SIGTERM}},
		"by the end of the drain": {"1ms", nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "POSTERN_DRAIN="+tt.drain)
			c := h.dial(t, "imaps")
			c.login()
			signals := make(chan os.Signal, 2)
			for _, s := range tt.signals {
				signals <- s
			}
			if err := h.leave(signals); err != nil {
				t.Error(err)
			}
			if line, err := c.ReadLine(); err == nil && !strings.Contains(line, "BYE") {
				t.Errorf("still served: %q", line)
			}
			h.log.await(t, "postern has left", "closed_early=true")
		})
	}
}

// TestServeEndsWhenADoorBreaks: a listener that fails for good ends the gate
// with an error, so that it is restarted.
func TestServeEndsWhenADoorBreaks(t *testing.T) {
	h := newHouse(t)
	h.fail(os.ErrInvalid)
	h.fail(os.ErrClosed) // the first cause counts
	if err := h.attendSignals(t.Context(), nil, h.read); err != os.ErrInvalid {
		t.Errorf("got %v", err)
	}
}

// managed makes the process believe in a service manager, and returns what it
// is told.
func managed(t *testing.T) *net.UnixConn {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	manager, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	manager.SetReadDeadline(time.Now().Add(patience))
	t.Setenv("NOTIFY_SOCKET", addr.Name)
	return manager
}

// heard reads messages to the service manager up to one that begins with want,
// and returns it.
func heard(t *testing.T, manager *net.UnixConn, want string) string {
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

// TestServeUnderSystemd runs the command itself and sends it real signals.
func TestServeUnderSystemd(t *testing.T) {
	manager := managed(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	_, _, environ := houseSettings(t)
	log := newLogbook()
	code := make(chan int)
	go func() { code <- run(context.Background(), nil, environ, log, log) }()

	heard(t, manager, "READY=1")
	log.await(t, "event=start", "doors=", "imap_backends=")
	heard(t, manager, "WATCHDOG=1")
	syscall.Kill(os.Getpid(), syscall.SIGHUP)
	if got := heard(t, manager, "RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
		t.Errorf("got %q", got)
	}
	heard(t, manager, "READY=1")
	log.await(t, "settings reloaded")
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	heard(t, manager, "STOPPING=1")
	if got := <-code; got != exitOK {
		t.Errorf("exit %d\n%s", got, log)
	}
}

// TestServiceManagerTrouble: a manager that cannot be reached or understood is
// no reason to stop.
func TestServiceManagerTrouble(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/no/such/socket")
	t.Setenv("WATCHDOG_USEC", "often")
	h := newHouse(t)
	h.tellSystemd("READY=1")
	h.log.await(t, "service manager not told")
	if every := h.watchdogInterval(); every != 0 {
		t.Errorf("got %v", every)
	}
	h.log.await(t, "watchdog of the service manager not understood")
}
