package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/limiter/watch"
)

// learnLog is a login log of days until now, of users who log in about every minute in turn, each from an address of
// their own. Each day, some strangers are denied.
func learnLog(t *testing.T, days, users int) string {
	t.Helper()
	return writeLog(t, days, time.Minute, func(b *strings.Builder, at time.Time, i int) {
		loginLine(b, at, fmt.Sprint("user", i%users), userAddr(i%users))
		if i%50 == 0 {
			deniedLine(b, at, fmt.Sprint("user", i%users), strangerAddr(i))
		}
	})
}

// writeLog writes a log, with gzip, of days until now. It calls line for each interval.
func writeLog(t *testing.T, days int, interval time.Duration, line func(b *strings.Builder, at time.Time, i int)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mail.log.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	now, i := time.Now(), 0
	for at := now.AddDate(0, 0, -days); at.Before(now); at = at.Add(interval) {
		var b strings.Builder
		line(&b, at, i)
		if _, err := io.WriteString(z, b.String()); err != nil {
			t.Fatal(err)
		}
		i++
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// loginLine appends an accepted login as Dovecot logs it by syslog.
func loginLine(b *strings.Builder, at time.Time, account string, addr netip.Addr) {
	fmt.Fprintf(b, "%s mail dovecot: imap-login: Login: user=<%s>, method=PLAIN, rip=%v, lip=198.51.100.2, mpid=1, TLS, session=<s>\n", at.Format(time.Stamp), account, addr)
}

// deniedLine appends a denied one.
func deniedLine(b *strings.Builder, at time.Time, account string, addr netip.Addr) {
	fmt.Fprintf(b, "%s mail dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<%s>, method=PLAIN, rip=%v, lip=198.51.100.2, TLS, session=<s>\n", at.Format(time.Stamp), account, addr)
}

// userAddr and strangerAddr are loopback addresses, each in a network of its own.
func userAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 10, byte(i), 1}) }

func strangerAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 128 + byte(i>>8)&63, byte(i), 1})
}

// learned runs `postern learn` with the settings of site, and returns the exit code and what it prints.
func learned(t *testing.T, environ []string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := run(t.Context(), append([]string{"learn"}, args...), environ, &out, &out)
	return code, out.String()
}

// files returns the names of all files below dir, with the modes.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		all = append(all, fmt.Sprint(strings.TrimPrefix(path, dir), " ", info.Mode()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

// TestLearnWhileStopped: the state directory is created, filled and merged, and the gateway starts with it.
func TestLearnWhileStopped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	environ := testbed.Environ(prefix + "STATE_DIR=" + dir)
	log := learnLog(t, 15, 100)

	code, out := learned(t, environ, "-dry-run", log)
	if code != exitOK || !strings.Contains(out, "nothing was changed") || !strings.Contains(out, "users       100 accounts, in 100 networks\n") {
		t.Errorf("dry run: exit %d, %s", code, out)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the dry run created the state directory")
	}
	code, out = learned(t, environ, log)
	if code != exitOK || !regexp.MustCompile(`postern now knows 100 accounts, and what is usual for (99|100) % of the week; the reserve for known users is enforced\n`).MatchString(out) {
		t.Errorf("exit %d, %s", code, out)
	}
	if got, want := files(t, dir), "/install-key -rw-------, /known -rw-------, /lock -rw-------, /watch/watch.snapshot -rw-------"; got != want {
		t.Errorf("got the files %s, want %s", got, want)
	}
	other := writeLog(t, 2, time.Hour, func(b *strings.Builder, at time.Time, _ int) { loginLine(b, at, "another", userAddr(200)) })
	if code, out = learned(t, environ, other); code != exitOK || !strings.Contains(out, "postern now knows 101 accounts") {
		t.Errorf("merged: exit %d, %s", code, out)
	}

	g := start(t, prefix+"STATE_DIR="+dir)
	g.log.Await(t, "event=start")
	scraped := g.scrape(t)
	if got := testbed.Gauge(scraped, "postern_known_accounts"); got != 101 {
		t.Errorf("the gateway knows %v accounts, want 101", got)
	}
	if strings.Contains(g.log.String(), "level=ERROR") {
		t.Errorf("got an error:\n%s", g.log)
	}
}

// TestLearnWhileRunning hands over to the gateway, which merges and saves.
func TestLearnWhileRunning(t *testing.T) {
	dir := t.TempDir()
	g := start(t, prefix+"STATE_DIR="+dir)
	c := g.dial(t, "imaps")
	c.Login()
	code, out := g.command(t, "learn", "-dry-run", learnLog(t, 1, 10))
	if code != exitOK || !strings.Contains(out, "nothing was changed") {
		t.Errorf("dry run: exit %d, %s", code, out)
	}
	// The gateway writes files of its own at any time, so they tell nothing about the dry run.
	if got := testbed.Gauge(g.scrape(t), "postern_known_accounts"); got != 1 || strings.Contains(g.log.String(), "action=learn") {
		t.Errorf("after the dry run the gateway knows %v accounts, want 1, and its log must have no learning:\n%s", got, g.log)
	}
	code, out = g.command(t, "learn", learnLog(t, 15, 100))
	if code != exitOK || !strings.Contains(out, "postern now knows 101 accounts") || !strings.Contains(out, "the reserve for known users is enforced") {
		t.Errorf("exit %d, %s", code, out)
	}
	g.log.Await(t, "event=admin", "action=learn", `error=""`)
	g.log.Await(t, "learned from logs", "accounts=101", "reserve=true")
	if got := testbed.Gauge(g.scrape(t), "postern_known_accounts"); got != 101 {
		t.Errorf("the gateway knows %v accounts, want 101", got)
	}
	for _, name := range []string{"known", "watch/watch.snapshot"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 1000 {
			t.Errorf("%s is not saved: %v, %v", name, info, err)
		}
	}
}

// TestLearnAPI refuses what is not from this installation, and who has no token.
func TestLearnAPI(t *testing.T) {
	dir := t.TempDir()
	g := start(t, prefix+"STATE_DIR="+dir)
	token, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	body := func(key limiter.Key, usual []byte) string {
		l, err := limiter.New(limiter.Policy{KnownTTL: time.Hour, TableMax: 10}, key)
		if err != nil {
			t.Fatal(err)
		}
		l.Learn(now, netip.MustParseAddr("192.0.2.1"), "anna")
		text, err := json.Marshal(admin.Learned{Known: l.Snapshot(now), Watch: usual})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	own, err := os.ReadFile(filepath.Join(dir, "install-key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		token string
		body  string
		code  int
		says  string
	}{
		"no token":      {"", "{}", 401, "needs the token"},
		"no JSON":       {string(token), "x", 400, "not the JSON of this request"},
		"unknown field": {string(token), `{"a":1}`, 400, "unknown field"},
		"nothing":       {string(token), "{}", 409, "not a snapshot"},
		"one half":      {string(token), body(limiter.Key(own), []byte("x")), 409, "not a snapshot"},
		"another key":   {string(token), body(limiter.Key{1}, watch.New(watch.Config{}).Snapshot(now)), 409, "another key"},
		"a number":      {string(token), `{"known":1}`, 400, "cannot unmarshal"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+g.admin()+admin.LearnPath, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.token != "" {
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(tt.token))
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.code || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s: got %d %s, want %d %s", name, resp.StatusCode, body, tt.code, tt.says)
		}
	}
	if got := testbed.Gauge(g.scrape(t), "postern_known_accounts"); got != 0 {
		t.Errorf("the gateway knows %v accounts, want none", got)
	}
}

// TestLearnAPIBoundsRequests by their announced length.
func TestLearnAPIBoundsRequests(t *testing.T) {
	dir := t.TempDir()
	g := start(t, prefix+"STATE_DIR="+dir)
	token, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	c := testbed.Dial(t, g.admin())
	for _, line := range []string{
		"POST " + admin.LearnPath + " HTTP/1.1", "Host: localhost", "Authorization: Bearer " + strings.TrimSpace(string(token)), "Content-Length: 999999999",
	} {
		if err := c.PrintfLine("%s", line); err != nil {
			t.Fatal(err)
		}
	}
	c.Say("", "413 Request Entity Too Large")
}

// TestLearnMistakes: wrong usage and what cannot be read, with exit codes and texts.
func TestLearnMistakes(t *testing.T) {
	dir := t.TempDir()
	environ := testbed.Environ(prefix + "STATE_DIR=" + filepath.Join(dir, "state"))
	foreign := testbed.WriteFile(t, strings.Repeat("Nov 27 12:00:00 host sshd[1]: hello\n", 3)+"garbage \x1b[2J\n")
	for name, tt := range map[string]struct {
		environ []string
		args    []string
		code    int
		says    string
	}{
		"no file":        {environ, nil, exitUsage, "postern learn: got no file, want at least one; - is standard input\nusage: postern learn FILE... [flags]\n"},
		"wrong duration": {environ, []string{"-since", "-1h", "a"}, exitUsage, "postern learn: -since: got -1h0m0s, want a duration above zero\n"},
		"missing file":   {environ, []string{dir + "/none"}, exitFailure, "postern: learn: " + dir + "/none: no such file or directory\n"},
		"no state":       {testbed.Environ(), []string{foreign}, exitFailure, "postern: learn: POSTERN_STATE_DIR: got off, want a directory"},
		"no logins":      {environ, []string{foreign}, exitFailure, "got no accepted login, want a login log of Dovecot or of postern; nothing was learned\n"},
		"an example":     {environ, []string{foreign}, exitFailure, foreign + `:4: "garbage \x1b[2J"` + "\n"},
		"wrong settings": {testbed.Environ(prefix + "TRIES=x"), []string{foreign}, exitFailure, "postern: learn: POSTERN_TRIES: got"},
	} {
		if code, out := learned(t, tt.environ, tt.args...); code != tt.code || !strings.Contains(out, tt.says) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit %d, %q, want %d, %q", name, code, out, tt.code, tt.says)
		}
	}
}

// TestLearnFromOwnLog: a gateway learns from the log of another one.
func TestLearnFromOwnLog(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		g := start(t, prefix+"LOG_FORMAT="+format)
		c := g.dial(t, "imaps")
		c.Say("a LOGIN demo wrong", "a NO")
		c.Login()
		g.log.Await(t, "accepted", "demo")
		log := testbed.WriteFile(t, g.log.String())
		code, out := learned(t, testbed.Environ(prefix+"STATE_DIR="+t.TempDir()), log)
		if code != exitOK || !strings.Contains(out, "1 accepted, 1 denied") || !strings.Contains(out, "postern now knows 1 accounts") || !strings.Contains(out, "and 0 were not understood") {
			t.Errorf("%s: exit %d, %s", format, code, out)
		}
	}
}
