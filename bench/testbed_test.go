package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/bench/client"
	"postern/bench/peer"
)

// TestMain lets the test binary run as the mail server and as the clients of a
// flood, as the program of the bench does.
func TestMain(m *testing.M) {
	var process func() error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "backend":
		process = func() error { return RunBackend(os.Args[2], os.Args[3], os.Stdin, os.Stdout) }
	case len(os.Args) == 3 && os.Args[1] == "flood":
		process = func() error { return RunFlood(os.Args[2], os.Stdin, os.Stdout) }
	}
	if process != nil {
		if err := process(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Else each process of a testbed takes a second to end under the race detector.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	dir, err := os.MkdirTemp("", "postern-bench-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builtPostern = sync.OnceValues(func() (string, error) { return buildPostern(context.Background(), dir) })
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// builtPostern builds postern on the first call and returns its path.
var builtPostern func() (string, error)

// newTestbed opens a testbed that is closed with the test.
func newTestbed(t *testing.T) *testbed {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tb, err := openTestbed(program, false, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tb.close)
	return tb
}

// findKind returns a kind of target. It skips the test if that is not
// installed, but in CI it fails.
func findKind(t *testing.T, name string) peer.Kind {
	t.Helper()
	postern, err := builtPostern()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range peer.Kinds(postern) {
		if k.Name != name {
			continue
		}
		if err := k.Missing(); err != nil && os.Getenv("CI") == "true" {
			t.Fatal(err)
		} else if err != nil {
			t.Skip(err)
		}
		return k
	}
	t.Fatalf("no kind %q", name)
	return peer.Kind{}
}

// checkListeners logs in through all listeners at the same time.
func checkListeners(t *testing.T, target *target) {
	t.Helper()
	target.timeout = time.Minute
	var wg sync.WaitGroup
	for l := range target.listeners {
		wg.Go(func() { checkListener(t, target, l) })
	}
	wg.Wait()
}

// checkListener logs in by all methods, with the right password and a wrong
// one.
func checkListener(t *testing.T, target *target, l listener) {
	dialer, err := target.dialer(l.protocol, l.security)
	if err != nil {
		t.Error(err)
		return
	}
	methods := []client.Method{client.Login, client.Authenticate}
	if target.sasl && l.protocol == client.IMAP {
		methods = append(methods, client.XOAuth2)
		checkChallenge(t, target, dialer)
	}
	for _, how := range methods {
		for i := range 2 { // the second one resumes
			if r := loginOnce(t.Context(), target, dialer, i, how); r.err != nil || r.answer != client.Accepted {
				t.Errorf("%s, %v, %s: %v, %v", target.name, l, how, r.answer, r.err)
			}
		}
		s, err := dialer.Dial(t.Context(), target.source(7))
		if err != nil {
			t.Errorf("%s, %v: %v", target.name, l, err)
			continue
		}
		// Each process of Dovecot has ticket keys of its own.
		if l.security == client.Resumed && !s.Resumed && target.name != "dovecot" {
			t.Errorf("%s, %v: not resumed", target.name, l)
		}
		account, _ := target.account(7)
		if answer, err := s.Login(account, "wrong", how); answer == client.Accepted && err == nil {
			t.Errorf("%s, %v, %s: a wrong password is accepted", target.name, l, how)
		}
		s.Close()
	}
}

// checkChallenge gets a challenge.
func checkChallenge(t *testing.T, target *target, d *client.Dialer) {
	s, err := d.Dial(t.Context(), target.source(8))
	if err != nil {
		t.Errorf("%s, %s: %v", target.name, d.Security, err)
		return
	}
	defer s.Close()
	if err := s.Challenge(); err != nil {
		t.Errorf("%s, %s: %v", target.name, d.Security, err)
	}
}

// Every target accepts right passwords through all its listeners and leaves no
// process when it stops.
func TestTargets(t *testing.T) {
	tb := newTestbed(t)
	for name, w := range map[string]Work{"": {}, ", PROXY header": {proxyHeader: true}} {
		for _, kind := range []string{"postern", "nginx", "haproxy", "dovecot"} {
			t.Run(kind+name, func(t *testing.T) {
				t.Parallel()
				checkTarget(t, tb, findKind(t, kind), w)
			})
		}
		t.Run(direct+name, func(t *testing.T) {
			t.Parallel()
			checkListeners(t, tb.direct(w))
		})
	}
}

// checkTarget starts a target, uses it, and stops it.
func checkTarget(t *testing.T, tb *testbed, k peer.Kind, w Work) {
	target, p, err := tb.start(t.Context(), k, w)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	checkListeners(t, target)
	if t.Failed() {
		t.Log(p.Log())
	}
	meter, err := target.meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if memory, err := target.memory(); err != nil || memory < 1<<20 {
		t.Errorf("memory: got %d octets, %v, want at least 1 MB", memory, err)
	}
	if _, known := meter.cpu(); !known {
		t.Error("CPU time is unknown")
	}
	p.Stop()
	if left := inGroup(t, p.Pid); len(left) > 0 {
		t.Errorf("processes remain after the end: %q", left)
	}
}

// inGroup returns /proc/PID/stat of the running processes of a process group. It
// waits for processes that have just been killed.
func inGroup(t *testing.T, group int) (left []string) {
	t.Helper()
	for range 400 {
		left = nil
		stats, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range stats {
			stat, _ := os.ReadFile(file)
			_, rest, _ := strings.Cut(string(stat), ") ")
			if f := strings.Fields(rest); len(f) > 2 && f[2] == strconv.Itoa(group) && f[0] != "Z" && f[0] != "X" {
				left = append(left, string(stat))
			}
		}
		if left == nil {
			return nil
		}
		<-time.After(50 * time.Millisecond)
	}
	return left
}

func TestTargetThatEndsAtStart(t *testing.T) {
	tb := newTestbed(t)
	program, err := exec.LookPath("false")
	if err != nil {
		t.Skip(err)
	}
	for _, k := range peer.Kinds(program) {
		if k.Name == "postern" {
			if _, _, err := tb.start(t.Context(), k, Work{}); err == nil {
				t.Error("a program that ends counts as started")
			}
		}
	}
}
