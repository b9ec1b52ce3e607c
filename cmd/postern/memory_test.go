package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// stays is a gate that keeps its state in dir, and in which the demo's account has
// logged in from loopback. It is closed again.
func stays(t *testing.T, dir string) stateDir {
	t.Helper()
	h := newHouse(t, prefix+"STATE_DIR="+dir)
	h.dial(t, "imaps").login()
	h.log.await(t, "event=login", "result=accepted", "client=stranger")
	h.close()
	return stateDir(dir)
}

// comesBack opens a gate with the state of dir and says what it takes its client
// for.
func comesBack(t *testing.T, dir stateDir) (h *testHouse, client string) {
	t.Helper()
	h = newHouse(t, prefix+"STATE_DIR="+string(dir))
	h.dial(t, "imaps").login()
	_, fields, err := parseLine("text", strings.TrimSpace(h.log.await(t, "event=login", "result=accepted")))
	if err != nil {
		t.Fatal(err)
	}
	return h, fields["client"]
}

// Who is known is known after a restart, and nobody but the gate can read it.
func TestMemoryOutlivesTheGate(t *testing.T) {
	d := stays(t, filepath.Join(t.TempDir(), "state"))
	for _, name := range []string{keyFile, knownFile} {
		mode0600(t, d.path(name))
		if data, err := d.read(name, knownMax); err != nil || len(data) == 0 || strings.Contains(string(data), demoAccount.Name) {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	key, _ := d.read(keyFile, 99)
	h, client := comesBack(t, d)
	if client != "known" {
		t.Errorf("the client is %s", client)
	}
	if again, _ := d.read(keyFile, 99); string(again) != string(key) {
		t.Error("the key is another one")
	}
	if n := gather(t, h.metrics.registry)["postern_state_last_save_success_timestamp_seconds"].GetMetric()[0].GetGauge().GetValue(); n != 0 {
		t.Errorf("saved at %v", n)
	}
	h.save()
	if n := gather(t, h.metrics.registry)["postern_state_last_save_success_timestamp_seconds"].GetMetric()[0].GetGauge().GetValue(); time.Since(time.Unix(int64(n), 0)) > time.Minute {
		t.Errorf("saved at %v", n)
	}
}

// TestDamagedMemory damages what is remembered in every way. The gate starts, says
// so, keeps the damaged file for whoever wants to look at it, and knows nobody.
func TestDamagedMemory(t *testing.T) {
	for name, damage := range map[string]struct {
		file string
		how  func(data []byte) []byte
	}{
		"cut":               {knownFile, func(data []byte) []byte { return data[:len(data)/2] }},
		"longer":            {knownFile, func(data []byte) []byte { return append(data, 0) }},
		"one bit":           {knownFile, func(data []byte) []byte { data[len(data)/2] ^= 4; return data }},
		"the first octet":   {knownFile, func(data []byte) []byte { data[0]++; return data }},
		"empty":             {knownFile, func([]byte) []byte { return []byte{} }},
		"of something else": {knownFile, func([]byte) []byte { return []byte(strings.Repeat("POSTERN_TRIES=3\n", 999)) }},
		"a key cut":         {keyFile, func(data []byte) []byte { return data[:31] }},
		"a key too long":    {keyFile, func(data []byte) []byte { return append(data, 1) }},
		"a key empty":       {keyFile, func([]byte) []byte { return []byte{} }},
		"another key":       {keyFile, func([]byte) []byte { return []byte(strings.Repeat("k", 32)) }},
	} {
		t.Run(name, func(t *testing.T) {
			d := stays(t, t.TempDir())
			data, err := d.read(damage.file, knownMax)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(d.path(damage.file), damage.how(data), 0o600); err != nil {
				t.Fatal(err)
			}
			h, client := comesBack(t, d)
			if client != "stranger" {
				t.Errorf("the client is %s", client)
			}
			h.log.await(t, "level=ERROR", "event=state", "state set aside", knownFile)
			aside := damage.file
			if name == "another key" {
				aside = knownFile // the key itself looks good
			}
			if _, err := os.Stat(d.path(aside + ".damaged")); err != nil {
				t.Error(err)
			}
			h.close()
			if _, client := comesBack(t, d); client != "known" {
				t.Errorf("after another restart the client is %s", client)
			}
		})
	}
}

// A folder that cannot be written to any more is told of, and nobody notices else.
func TestMemoryCannotBeSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	h := newHouse(t, prefix+"STATE_DIR="+dir)
	os.RemoveAll(dir)
	os.WriteFile(dir, nil, 0o600)
	h.save()
	h.log.await(t, "level=ERROR", "event=state", "state not saved", "not a directory")
	if good := gather(t, h.metrics.registry)["postern_state_last_save_successful"].GetMetric()[0].GetGauge().GetValue(); good != 0 {
		t.Error("the metrics know nothing of it")
	}
	h.dial(t, "imaps").login()
}

// The log says of an attempt what the limiter holds against it.
func TestExplain(t *testing.T) {
	h := newHouse(t, prefix+"LIMIT_SOURCE=1/10m")
	k := h.limiter.Ask(time.Now(), limiter.Attempt{Addr: testClient.Addr(), Account: "anna"})
	k.Settle(time.Now(), limiter.Denied)
	a := testAttempt("anna")
	a.Verdict = limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}
	if why := h.journal.why(a); !strings.HasPrefix(why, "1 of 1 denials spent") {
		t.Errorf("it says %q", why)
	}
	if why := h.journal.why(proxy.Attempt{}); why != "" {
		t.Errorf("of an attempt that passes it says %q", why)
	}
}
