package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"postern/cmd/postern/internal/incidents"
	"postern/limiter"
	"postern/limiter/traffic"
	"postern/limiter/watch"
)

// The demo's people and their attackers.
const (
	demoNormal = 4                // logins a second of a site with some thousand users
	demoPeace  = 10 * time.Second // before the attack
	demoTimes  = 5                // all logins together, as a multiple of the users'
	demoSiege  = 10 * time.Minute // how long it lasts
)

// demoCrowd is who comes to the demo from start on.
func demoCrowd(start time.Time, attacks ...traffic.Attack) *traffic.Generator {
	return traffic.New(1, demoNormal, start, attacks...)
}

// demoAttack is a demo in which users come, and then attackers, each from a
// loopback address of its own. It prints what people and the public are told.
func (s surroundings) demoAttack(ctx context.Context, dir string) error {
	if runtime.GOOS != "linux" {
		return errors.New("demo: -attack needs Linux, where every address in 127.0.0.0/8 is this machine's")
	}
	begun := time.Now()
	users := demoUsers()
	own, stop, err := demoSettings(dir, users...)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer stop()
	board := &board{w: s.stdout, begun: begun}
	hook := httptest.NewServer(http.HandlerFunc(board.alert))
	defer hook.Close()
	statusDir, stateDir := filepath.Join(dir, "status"), filepath.Join(dir, "state")
	for name, value := range map[string]string{
		"LOG_LEVEL": "error", "STATE_DIR": stateDir, "WEBHOOK_URL": hook.URL, "ALERTMANAGER_URL": "", "ADMIN_TOKEN_FILE": "",
		"STATUS_DIR": statusDir, "STATUS_HOLD": "5s", "STATUS_NAME": "Demo Mail",
	} {
		own = append(own, prefix+name+"="+value)
	}
	s.environ = slices.Concat([]string{prefix + "LOG_FORMAT=text"}, s.environ, own)
	c, err := s.settings()
	if err != nil {
		return err
	}
	if err := teach(c, users, begun); err != nil {
		return fmt.Errorf("demo: teach the watch: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var playing sync.WaitGroup
	defer playing.Wait()
	defer cancel()
	return s.runGate(ctx, func(g *gate) {
		g.explainAttack(board, dir)
		start := time.Now()
		attack := traffic.Attack{Kind: traffic.Wide, Curve: []traffic.Phase{{From: demoPeace, Times: demoTimes}, {From: demoPeace + demoSiege, Times: 1}}}
		playing.Go(func() { play(ctx, g.at("imaps"), demoCrowd(start, attack)) })
		playing.Go(func() { board.follow(ctx, start, filepath.Join(statusDir, "summary.json")) })
	})
}

// explainAttack prints what is made up, and where to look.
func (g *gate) explainAttack(b *board, dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	admin := g.admin[0].listener.Addr().String()
	fmt.Fprintf(b.w, `postern demo -attack: users and attackers at a gate in front of a small mail server, all in this process.

About a thousand users come to %s as they usually do, %d logins a second; then strangers make it %d times as many, each
from a network of its own, with wrong passwords. What is made up: the watch has been told what is usual, and the
limiter who the users are; in earnest both take days to learn. The rest is real. Watch this terminal for two minutes, and look meanwhile at

  the public's page   file://%s/status/index.html (or feed.atom beside it)
  metrics             http://%s/metrics

and, in another terminal, at what operators see, and at a report that could be posted:

  export %sADMIN_LISTEN=%s %sADMIN_TOKEN_FILE=%s/state/admin-token
  go run ./cmd/postern check
  go run ./cmd/postern incident show
  go run ./cmd/postern report -public
  go run ./cmd/postern incident resolve "That was the demo."

Ctrl-C ends the demo, and then all is forgotten.

`, g.at("imaps"), demoNormal, demoTimes, dir, admin, prefix, admin, prefix, dir)
}

// demoUsers are the users who have been at the demo's site before, one login
// each.
func demoUsers() (users []traffic.Login) {
	seen := map[string]bool{}
	for _, u := range demoCrowd(time.Time{}).KnownLogins() {
		if u.Good() && !seen[u.Account] {
			seen[u.Account] = true
			users = append(users, u)
		}
	}
	return users
}

// teach writes down, in the state folder, what the gate would have learned in
// time: the limiter who the users are, the watch what is usual. No demo lasts
// that long.
func teach(c Config, users []traffic.Login, now time.Time) error {
	g := &gate{config: c}
	key, err := g.installKey()
	if err != nil {
		return err
	}
	known, err := introduce(c, key, users, now)
	if err == nil {
		err = g.stateDir().write(knownFile, known)
	}
	if err != nil {
		return err
	}
	folder := stateDir(watchDir(c))
	if err := folder.make(); err != nil {
		return err
	}
	return folder.write(incidents.SnapshotFile, learned(key, now))
}

// introduce returns what a limiter knows that saw every user log in once, two
// days ago.
func introduce(c Config, key limiter.Key, users []traffic.Login, now time.Time) ([]byte, error) {
	l, err := limiter.New(c.Limits.policy(c.Tarpit.Max), key)
	if err != nil {
		return nil, err
	}
	for n, u := range users {
		t := now.Add(-48*time.Hour + time.Duration(n)*time.Second)
		if addr, ok := traffic.Loopback(u.Addr); ok {
			ticket := l.Ask(t, limiter.Attempt{Addr: addr, Account: u.Account, Credential: l.Credential(u.Account, []byte(u.Secret))})
			ticket.Settle(t, limiter.Accepted)
		}
	}
	return l.Snapshot(now), nil
}

// learned is what a watch would have learned from such users.
func learned(key limiter.Key, now time.Time) []byte {
	const newcomers = .03 // of all logins; the demo's mail servers do not know them
	w := watch.New(watch.Config{Location: time.Local, Key: watchKey(key)})
	w.Assume(now, watch.Signals{Logins: 60 * demoNormal, Suspects: 60 * demoNormal * newcomers, Networks: 60 * demoNormal * newcomers})
	return w.Snapshot(now)
}

// board is where the demo shows what happens, with the time since its begin.
type board struct {
	mu    sync.Mutex
	w     io.Writer
	begun time.Time
}

// show prints one line.
func (b *board) show(what, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	passed := time.Since(b.begun).Truncate(time.Second)
	fmt.Fprintf(b.w, "%d:%02d  %-6s  %s\n", int(passed.Minutes()), int(passed.Seconds())%60, what, text)
}

// alert is a receiver of webhooks, such as a chat.
func (b *board) alert(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		Status            string
		CommonAnnotations map[string]string
	}
	if json.NewDecoder(r.Body).Decode(&m) == nil {
		b.show("ALERT", m.Status+": "+m.CommonAnnotations["summary"])
	}
}

// follow shows when the attack begins and ends, and each new thing that the
// public is told.
func (b *board) follow(ctx context.Context, start time.Time, summary string) {
	moments := []struct {
		after time.Duration
		text  string
	}{{0, "users come"}, {demoPeace, "attackers come, each from a network of its own"}, {demoPeace + demoSiege, "the attackers leave"}}
	said := ""
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for len(moments) > 0 && time.Since(start) >= moments[0].after {
			b.show("", moments[0].text)
			moments = moments[1:]
		}
		if now := headline(summary); now != said {
			said = now
			b.show("PUBLIC", said)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// headline is the latest thing that the public is told in summary.json.
func headline(path string) string {
	var s struct {
		Status    struct{ Description string }
		Incidents []struct {
			Updates []struct{ Status, Body string } `json:"incident_updates"`
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &s) != nil {
		return ""
	}
	if len(s.Incidents) == 0 {
		return s.Status.Description
	}
	latest := s.Incidents[0].Updates[0]
	return s.Status.Description + " (" + latest.Status + "): " + latest.Body
}
