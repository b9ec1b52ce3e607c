package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// eventually calls do until it succeeds.
func eventually(t *testing.T, do func() error) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(testbed.Patience); ; {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(err)
		}
	}
}

// add appends to the stream s.
func add(t *testing.T, c *Client) error {
	_, err := c.Add(t.Context(), "s", []byte("data"), 1000)
	return err
}

// wantReason fails the test unless err is an Error with this reason.
func wantReason(t *testing.T, err error, want Reason) {
	t.Helper()
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != want {
		t.Errorf("got %v with the reason %q, want %q", err, ReasonOf(err), want)
	}
}

// goRead reads an empty stream in another goroutine, and returns when the engine waits for an entry. The result of the read comes over the
// channel.
func goRead(ctx context.Context, t *testing.T, e *testbed.Engine, c *Client) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(ctx, []Position{{Key: "empty"}}, time.Hour)
		done <- err
	}()
	e.AwaitInfo("blocked_clients:1")
	return done
}

// result is what comes from done.
func result(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(testbed.Patience):
		t.Fatal("the read does not end")
		return nil
	}
}

func TestEngineDown(t *testing.T) {
	c := open(t, Config{URL: "unix://" + filepath.Join(t.TempDir(), "none")})
	wantReason(t, add(t, c), Down)
	_, err := c.Read(t.Context(), []Position{{Key: "s"}}, time.Hour)
	wantReason(t, err, Down)
}

func TestReconnectsAfterARestart(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program)
		c := open(t, Config{URL: e.URL()})
		for range 3 {
			eventually(t, func() error { return add(t, c) })
			read := goRead(t.Context(), t, e, c)
			e.Kill()
			wantReason(t, result(t, read), Down)
			wantReason(t, add(t, c), Down)
			e.Start()
			eventually(t, func() error { return add(t, c) })
			eventually(t, func() error {
				_, err := c.Read(t.Context(), []Position{{Key: "s"}}, 0)
				return err
			})
		}
	})
}

func TestHangingEngine(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program)
		c := open(t, Config{URL: e.URL()})
		eventually(t, func() error { return add(t, c) })
		c.callMax = callMax
		e.Stop()
		for range 2 { // on the connection, and on a new one
			began := time.Now()
			wantReason(t, add(t, c), Timeout)
			if took := time.Since(began); took < callMax {
				t.Errorf("failed after %v, want at least %v", took, callMax)
			}
		}
		_, err := c.Read(t.Context(), []Position{{Key: "s"}}, time.Millisecond)
		wantReason(t, err, Timeout)
		e.Continue()
		eventually(t, func() error { return add(t, c) })
	})
}

func TestFullEngine(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program, "maxmemory 6mb", "maxmemory-policy noeviction")
		c := open(t, Config{URL: e.URL()})
		data := make([]byte, 32<<10)
		var err error
		for n := 0; err == nil && n < 1000; n++ {
			_, err = c.Add(t.Context(), "s", data, 10_000)
		}
		wantReason(t, err, Full)
		wantReason(t, c.Set(t.Context(), "k", data, time.Minute), Full)
		if _, err := c.Get(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		if err := c.Trim(t.Context(), "s", 1); err != nil {
			t.Error(err)
		}
		eventually(t, func() error { return add(t, c) })
	})
}

func TestReadOnlyReplica(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program, "replicaof 127.0.0.1 1")
		c := open(t, Config{URL: e.URL()})
		wantReason(t, add(t, c), ReadOnly)
		_, err := c.SetNX(t.Context(), "k", nil, time.Minute)
		wantReason(t, err, ReadOnly)
		e.Do("REPLICAOF", "NO", "ONE")
		if err := add(t, c); err != nil {
			t.Error(err)
		}
	})
}

func TestPasswords(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program)
		e.Do("ACL", "SETUSER", "gw", "on", ">first", "~s", "+xadd")
		password := filepath.Join(t.TempDir(), "password")
		set := func(text string) {
			if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		set("first\n")
		c := open(t, Config{URL: strings.Replace(e.URL(), "//", "//gw@", 1), PasswordFile: password})
		if err := add(t, c); err != nil {
			t.Fatal(err)
		}
		_, err := c.Get(t.Context(), "s")
		wantReason(t, err, Denied)

		e.Do("ACL", "SETUSER", "gw", "resetpass", ">second", "-xadd")
		wantReason(t, add(t, c), Denied) // the permission
		e.Do("CLIENT", "KILL", "USER", "gw")
		e.Do("ACL", "SETUSER", "gw", "+xadd")
		wantReason(t, add(t, c), Down)
		err = add(t, c)
		wantReason(t, err, Denied) // the password
		if strings.Contains(err.Error(), "first") {
			t.Errorf("the error has the password: %v", err)
		}
		set("second")
		if err := add(t, c); err != nil {
			t.Error(err)
		}
		if err := os.Remove(password); err != nil {
			t.Fatal(err)
		}
		e.Do("CLIENT", "KILL", "USER", "gw")
		wantReason(t, add(t, c), Down)
		wantReason(t, add(t, c), Denied) // no file

		none := open(t, Config{URL: strings.Replace(e.URL(), "//", "//unknown@", 1)})
		wantReason(t, add(t, none), Denied)
	})
}

// TestPasswordIsHidden in an answer that repeats it, as engines answer commands that they do not know.
func TestPasswordIsHidden(t *testing.T) {
	file := testbed.WriteFile(t, "hunter2\n")
	c := open(t, Config{URL: answer(t, "-ERR unknown command 'X' with args beginning with: 'AUTH' 'gw' 'hunter2'\r\n"), PasswordFile: file})
	err := add(t, c)
	wantReason(t, err, Other)
	if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "(hidden)") {
		t.Errorf("got %v, want the password hidden", err)
	}
}

// TestUnusableAnswers end the call, and the next one dials again. valkey-go panics on one of them.
func TestUnusableAnswers(t *testing.T) {
	for _, text := range []string{"$-5\r\n", "*-7\r\n", "%2\r\n+a\r\n+b\r\n", "?\r\n", "+OK\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", ""} {
		c := open(t, Config{URL: answer(t, text)})
		for range 2 {
			if err := add(t, c); err == nil {
				t.Errorf("%q: got no error", text)
			}
		}
		c.Close()
	}
}

// answer is the URL of a server that gives every command the same answer and closes the connection.
func answer(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte(text))
			c.Close()
		}
	}()
	return "valkey://" + ln.Addr().String()
}

func TestCloseEndsCallsAtOnce(t *testing.T) {
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	c := open(t, Config{URL: e.URL()})
	if err := add(t, c); err != nil {
		t.Fatal(err)
	}
	read := goRead(t.Context(), t, e, c)
	c.Close()
	if err := result(t, read); !errors.Is(err, errClosed) {
		t.Errorf("got %v from the read, want %v", err, errClosed)
	}
	if err := add(t, c); !errors.Is(err, errClosed) {
		t.Errorf("got %v, want %v", err, errClosed)
	}
	e.AwaitInfo("connected_clients:1\r\n") // that of AwaitInfo
	checkGoroutines(t)
}

// checkGoroutines waits until no goroutine of the client is left.
func checkGoroutines(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if strings.Contains(stacks, "valkey-go") {
			return errors.New(stacks)
		}
		return nil
	})
}

func TestReadEndsWithItsContext(t *testing.T) {
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	c := open(t, Config{URL: e.URL()})
	ctx, cancel := context.WithCancel(t.Context())
	read := goRead(ctx, t, e, c)
	cancel()
	if err := result(t, read); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if _, err := c.Read(t.Context(), []Position{{Key: "empty"}}, 0); err != nil {
		t.Error(err)
	}
}

func TestNetworkFaults(t *testing.T) {
	e := testbed.StartEngine(t, testbed.AnyEngine(t))
	for name, tt := range map[string]struct {
		fault, repair func(*testbed.FaultProxy)
		want          Reason // empty: none
	}{
		"delay":     {func(p *testbed.FaultProxy) { p.Delay(5 * time.Millisecond) }, nil, ""},
		"slow":      {func(p *testbed.FaultProxy) { p.Delay(callMax) }, func(p *testbed.FaultProxy) { p.Delay(0) }, Timeout},
		"partition": {(*testbed.FaultProxy).Stall, (*testbed.FaultProxy).Resume, Timeout},
		"cut":       {func(p *testbed.FaultProxy) { p.CutAfter(3) }, nil, Down},
		"reset":     {(*testbed.FaultProxy).Reset, nil, Down},
		"half-open": {(*testbed.FaultProxy).HalfOpen, nil, Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			p := testbed.NewFaultProxy(t, e.Addr())
			c := open(t, Config{URL: p.URL()})
			if err := add(t, c); err != nil {
				t.Fatal(err)
			}
			if tt.want == Timeout {
				c.callMax = callMax
			}
			tt.fault(p)
			if err := add(t, c); tt.want != "" {
				wantReason(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
			if tt.repair != nil {
				tt.repair(p)
			}
			eventually(t, func() error { return add(t, c) })
			eventually(t, func() error {
				if n := p.Open(); n != 1 {
					return fmt.Errorf("got %d connections, want 1", n)
				}
				return nil
			})
		})
	}
}
