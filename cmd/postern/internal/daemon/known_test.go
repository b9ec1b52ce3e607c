package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/proxy"
)

// withKnownUser is the state directory of a gateway in which the test account has
// logged in from loopback. The gateway is closed.
func withKnownUser(t *testing.T, dir string) stateDir {
	t.Helper()
	g := start(t, prefix+"STATE_DIR="+dir)
	g.dial(t, "imaps").Login()
	g.log.Await(t, "event=login", "result=accepted", "client=stranger")
	g.close()
	return stateDir(dir)
}

// restart starts a gateway with the state in dir and logs in. client is known or
// stranger. Settings in more come on top.
func restart(t *testing.T, dir stateDir, more ...string) (g *gateway, client string) {
	t.Helper()
	g = start(t, append(more, prefix+"STATE_DIR="+string(dir))...)
	g.dial(t, "imaps").Login()
	_, fields, err := testbed.ParseLine("text", strings.TrimSpace(g.log.Await(t, "event=login", "result=accepted")))
	if err != nil {
		t.Fatal(err)
	}
	return g, fields["client"]
}

// TestKnownUsersSurviveARestart in files that others cannot read and that name no
// account.
func TestKnownUsersSurviveARestart(t *testing.T) {
	d := withKnownUser(t, filepath.Join(t.TempDir(), "state"))
	for _, name := range []string{keyFile, knownFile} {
		checkMode(t, d.path(name))
		if data, err := d.read(name, knownMax); err != nil || len(data) == 0 || strings.Contains(string(data), testbed.Account.Name) {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	key, _ := d.read(keyFile, 99)
	g, client := restart(t, d)
	if client != "known" {
		t.Errorf("the client is a %s", client)
	}
	if again, _ := d.read(keyFile, 99); string(again) != string(key) {
		t.Error("the key is another one")
	}
	const saved = "postern_state_last_save_success_timestamp_seconds"
	if n := testbed.Gauge(g.scrape(t), saved); n != 0 {
		t.Errorf("saved at %v", n)
	}
	g.keeper.known.save(time.Now())
	if n := testbed.Gauge(g.scrape(t), saved); time.Since(time.Unix(int64(n), 0)) > time.Minute {
		t.Errorf("saved at %v", n)
	}
}

// TestCorruptState corrupts what is stored in every way. The gateway starts, logs
// an error, keeps the file under another name, and knows no user. The next restart
// is as usual.
func TestCorruptState(t *testing.T) {
	good := withKnownUser(t, t.TempDir())
	for name, corrupt := range map[string]struct {
		file string
		how  func(data []byte) []byte
	}{
		"short":          {knownFile, func(data []byte) []byte { return data[:len(data)/2] }},
		"long":           {knownFile, func(data []byte) []byte { return append(data, 0) }},
		"one bit":        {knownFile, func(data []byte) []byte { data[len(data)/2] ^= 4; return data }},
		"first octet":    {knownFile, func(data []byte) []byte { data[0]++; return data }},
		"empty":          {knownFile, func([]byte) []byte { return []byte{} }},
		"another format": {knownFile, func([]byte) []byte { return []byte(strings.Repeat("POSTERN_TRIES=3\n", 999)) }},
		"short key":      {keyFile, func(data []byte) []byte { return data[:31] }},
		"long key":       {keyFile, func(data []byte) []byte { return append(data, 1) }},
		"empty key":      {keyFile, func([]byte) []byte { return []byte{} }},
		"another key":    {keyFile, func([]byte) []byte { return []byte(strings.Repeat("k", 32)) }},
	} {
		t.Run(name, func(t *testing.T) {
			d := stateDir(t.TempDir())
			if err := os.CopyFS(string(d), os.DirFS(string(good))); err != nil {
				t.Fatal(err)
			}
			data, err := d.read(corrupt.file, knownMax)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(d.path(corrupt.file), corrupt.how(data), 0o600); err != nil {
				t.Fatal(err)
			}
			g, client := restart(t, d)
			if client != "stranger" {
				t.Errorf("the client is %s", client)
			}
			g.log.Await(t, "level=ERROR", "event=state", "state file corrupt: renamed to", knownFile)
			renamed := corrupt.file
			if name == "another key" {
				renamed = knownFile // the key has the right form
			}
			if _, err := os.Stat(d.path(renamed + ".damaged")); err != nil {
				t.Error(err)
			}
			g.close()
			if _, client := restart(t, d); client != "known" {
				t.Errorf("after another restart the client is a %s", client)
			}
		})
	}
}

// TestStateCannotBeSaved: it is logged and counted, and logins go on.
func TestStateCannotBeSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	g := start(t, prefix+"STATE_DIR="+dir)
	for os.WriteFile(dir, nil, 0o600) != nil { // the incidents may just create directories in it
		os.RemoveAll(dir)
	}
	g.keeper.known.save(time.Now())
	g.log.Await(t, "level=ERROR", "event=state", "cannot save state", "not a directory")
	if testbed.Gauge(g.scrape(t), "postern_state_last_save_successful") != 0 {
		t.Error("the metrics do not show it")
	}
	g.dial(t, "imaps").Login()
}

// TestLogExplainsVerdicts with what the limiter holds against an attempt.
func TestLogExplainsVerdicts(t *testing.T) {
	g := start(t, prefix+"LIMIT_SOURCE=1/10m")
	client := testClient
	ticket := g.policy.limiter.Ask(time.Now(), limiter.Attempt{Addr: client.Addr(), Account: "anna"})
	ticket.Settle(time.Now(), limiter.Denied)
	a := proxy.Attempt{Session: "s1", Client: client, Account: "anna", Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}}
	g.outcomes().attempt(a)
	g.log.Await(t, "session=s1", `why="1 of 1 denials of the source spent, full again in 10m0s; POSTERN_LIMIT_SOURCE"`)
	a.Session, a.Verdict = "s2", limiter.Verdict{}
	g.outcomes().attempt(a)
	g.log.Await(t, "session=s2", `why=""`)
}
