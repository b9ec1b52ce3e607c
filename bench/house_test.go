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

// TestMain lets the test binary be the mail server and the callers of a flood,
// as the bench's own is.
func TestMain(m *testing.M) {
	var part func() error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "backend":
		part = func() error { return RunBackend(os.Args[2], os.Args[3], os.Stdin, os.Stdout) }
	case len(os.Args) == 3 && os.Args[1] == "flood":
		part = func() error { return RunFlood(os.Args[2], os.Stdin, os.Stdout) }
	}
	if part != nil {
		if err := part(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if built, err := gate(); err == nil {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// gate builds postern once, into a folder that it returns.
var gate = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-bench-test-")
	if err != nil {
		return "", err
	}
	_, err = buildPostern(context.Background(), dir)
	return dir, err
})

// newHouse opens a house that is closed with the test.
func newHouse(t *testing.T) *house {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h, err := openHouse(program, false, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

// kind returns a kind of target, or skips the test where it is not installed.
func kind(t *testing.T, name string) peer.Kind {
	t.Helper()
	dir, err := gate()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range peer.Kinds(dir + "/postern") {
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

// tryDoors logs in once by every door and method, with the right password and
// a wrong one.
func tryDoors(t *testing.T, target *Target) {
	t.Helper()
	target.patience = 20 * time.Second
	for d := range target.doors {
		caller, err := target.Caller(d.protocol, d.security)
		if err != nil {
			t.Fatal(err)
		}
		for _, how := range []client.Method{client.Login, client.Authenticate} {
			for i := range 2 { // the second one resumes
				if e := loginOnce(t.Context(), target, caller, i, how); e.err != nil || e.answer != client.Accepted {
					t.Errorf("%s, %v, %s: %v, %v", target.Name, d, how, e.answer, e.err)
				}
			}
			s, err := caller.Call(t.Context(), target.Source(7))
			if err != nil {
				t.Errorf("%s, %v: %v", target.Name, d, err)
				continue
			}
			// Each of Dovecot's processes has keys of its own.
			if d.security == client.Resumed && !s.Resumed && target.Name != "dovecot" {
				t.Errorf("%s, %v: not resumed", target.Name, d)
			}
			account, _ := target.Account(7)
			if answer, err := s.Login(account, "wrong", how); answer == client.Accepted && err == nil {
				t.Errorf("%s, %v, %s: a wrong password is accepted", target.Name, d, how)
			}
			s.Close()
		}
	}
}

func TestTargets(t *testing.T) {
	h := newHouse(t)
	for _, announce := range []bool{false, true} {
		w := Work{Announce: announce}
		for _, name := range []string{"postern", "nginx", "haproxy", "dovecot"} {
			t.Run(name, func(t *testing.T) {
				target, p, err := h.start(t.Context(), kind(t, name), w)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Stop()
				tryDoors(t, target)
				if t.Failed() {
					t.Log(p.Log())
				}
				meter, err := target.Meter(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if memory, err := target.Memory(); err != nil || memory < 1<<20 {
					t.Errorf("it uses %d octets, %v", memory, err)
				}
				if _, known := meter.CPU(); !known {
					t.Error("its CPU time is not known")
				}
				p.Stop()
				if left := inGroup(t, p.Pid); len(left) > 0 {
					t.Errorf("it has ended and left %q", left)
				}
			})
		}
		t.Run("direct", func(t *testing.T) { tryDoors(t, h.direct(w)) })
	}
}

// inGroup returns /proc/PID/stat of the living processes of a process group.
// Those that were killed a moment ago are waited for.
func inGroup(t *testing.T, group int) (left []string) {
	t.Helper()
	for range 100 {
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

func TestTargetThatEndsAtOnce(t *testing.T) {
	h := newHouse(t)
	program, err := exec.LookPath("false")
	if err != nil {
		t.Skip(err)
	}
	for _, k := range peer.Kinds(program) {
		if k.Name == "postern" {
			if _, _, err := h.start(t.Context(), k, Work{}); err == nil {
				t.Error("false is a gate")
			}
		}
	}
}
