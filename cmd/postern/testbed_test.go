package main

import (
	"bytes"
	"context"
	"os"
	"testing"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/testbed"
)

// prefix begins the names of settings.
const prefix = config.Prefix

// bePostern in the environment makes this program run postern, for the tests that
// need a process of its own.
const bePostern = "BE_POSTERN"

// atEnd holds what must be called after all tests.
var atEnd []func()

func TestMain(m *testing.M) {
	if os.Getenv(bePostern) != "" {
		if err := relayHandover(); err != nil {
			panic(err)
		}
		main() // does not return
	}
	code := m.Run()
	for _, f := range atEnd {
		f()
	}
	os.Exit(code)
}

// listenerNames are all listeners.
var listenerNames = []string{"imap", "imaps", "pop3", "pop3s"}

// gateway is a running gateway with what is around it.
type gateway struct {
	*daemon.Daemon
	*testbed.Site
	log *testbed.Log
}

// start runs a gateway until the test ends. Settings in more come on top.
func start(t *testing.T, more ...string) *gateway {
	t.Helper()
	g := &gateway{Site: testbed.NewSite(t, append([]string{prefix + "DRAIN=1ms"}, more...)...), log: testbed.NewLog()}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan *daemon.Daemon), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Environ: g.Environ, Log: g.log, Ready: func(d *daemon.Daemon) { ready <- d }})
	}()
	select {
	case g.Daemon = <-ready:
	case err := <-ended:
		t.Fatalf("%v\n%s", err, g.log)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return g
}

// dial connects to a TLS listener and reads the greeting.
func (g *gateway) dial(t *testing.T, listener string) *testbed.Client {
	t.Helper()
	return testbed.DialTLS(t, g.Addr(listener), g.Certificate.Client())
}

// admin is the value of ADMIN_LISTEN at which g is.
func (g *gateway) admin() string {
	if g.AdminAddr().Network() == "unix" {
		return "unix:" + g.AdminAddr().String()
	}
	return g.AdminAddr().String()
}

// command runs a command against g and returns its exit code and all it prints.
func (g *gateway) command(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	environ := append(g.Environ, prefix+"ADMIN_LISTEN="+g.admin(), "USER=anna")
	code := run(t.Context(), args, environ, &out, &out)
	return code, out.String()
}
