package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// sentinelURL is the URL of primary m at Sentinels.
func sentinelURL(sentinels ...*testbed.Engine) string {
	url := "valkey://"
	for i, s := range sentinels {
		if i > 0 {
			url += ","
		}
		url += s.Addr()
	}
	return url + "/?master=m"
}

func TestFollowsAFailover(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		primary := testbed.StartEngine(t, program)
		replica := testbed.StartEngine(t, program, fmt.Sprintf("replicaof 127.0.0.1 %d", primary.Port))
		replica.AwaitInfo("master_link_status:up")
		sentinel := testbed.StartSentinel(t, program, "m", primary, "sentinel down-after-milliseconds m 200")
		sentinel.AwaitInfo("slaves=1") // also in Valkey
		c := open(t, Config{URL: sentinelURL(sentinel)})
		if err := add(t, c); err != nil {
			t.Fatal(err)
		}
		read := goRead(t.Context(), t, primary, c)
		primary.Kill()
		wantReason(t, result(t, read), Down)
		wantReason(t, add(t, c), Down)
		eventually(t, func() error { return add(t, c) })
		if n := replica.Do("XLEN", "s"); n == "0" {
			t.Error("the replica has no entry")
		}
	})
}

// TestLeavesAFormerPrimary that still answers, because the Sentinels cannot reach it.
func TestLeavesAFormerPrimary(t *testing.T) {
	program := testbed.AnyEngine(t)
	former, next := testbed.StartEngine(t, program), testbed.StartEngine(t, program)
	sentinel := testbed.StartSentinel(t, program, "m", former)
	c := open(t, Config{URL: sentinelURL(sentinel)})
	if err := add(t, c); err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		if _, err := c.Read(t.Context(), []Position{{Key: "empty"}}, 0); err != nil {
			t.Error(err)
		}
	}
	read() // both connections are to the former primary
	sentinel.Do("SENTINEL", "REMOVE", "m")
	sentinel.Do("SENTINEL", "MONITOR", "m", "127.0.0.1", fmt.Sprint(next.Port), "1")
	if err := add(t, c); err != nil || former.Do("XLEN", "s") != "2" {
		t.Errorf("got %v, want an entry in the former primary before the Sentinels are asked again", err)
	}
	c.dialer.mu.Lock()
	c.dialer.asked = time.Now().Add(-primaryCheck)
	c.dialer.mu.Unlock()
	eventually(t, func() error {
		read()
		if err := add(t, c); err != nil {
			return err
		}
		if next.Do("XLEN", "s") == "0" {
			return errors.New("the next primary has no entry")
		}
		return nil
	})
}

func TestSentinelErrors(t *testing.T) {
	program := testbed.AnyEngine(t)
	primary := testbed.StartEngine(t, program)
	first, second := testbed.StartSentinel(t, program, "m", primary), testbed.StartSentinel(t, program, "m", primary, "requirepass secret", "sentinel sentinel-pass secret")

	c := open(t, Config{URL: sentinelURL(first) + "2"})
	wantReason(t, add(t, c), Other) // it knows no m2
	c = open(t, Config{URL: sentinelURL(second)})
	wantReason(t, add(t, c), Denied)
	primary.Do("CONFIG", "SET", "requirepass", "secret")
	primary.Login = "AUTH secret"
	c = open(t, Config{URL: sentinelURL(second), PasswordFile: testbed.WriteFile(t, "secret\n")})
	if err := add(t, c); err != nil {
		t.Errorf("a Sentinel with the password of the engine: %v", err)
	}

	c = open(t, Config{URL: sentinelURL(first, second), PasswordFile: testbed.WriteFile(t, "secret\n")})
	first.Stop()
	c.callMax = callMax
	wantReason(t, add(t, c), Timeout)
	c.callMax = testbed.Patience
	if err := add(t, c); err != nil {
		t.Errorf("the second Sentinel was not asked: %v", err)
	}
	first.Continue()
	first.Kill()
	second.Kill()
	if err := add(t, c); err != nil {
		t.Errorf("the connection to the primary needs no Sentinel: %v", err)
	}
	c = open(t, Config{URL: sentinelURL(first, second)})
	wantReason(t, add(t, c), Down)
}
