package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/limiter/traffic"
	"postern/limiter/watch"
)

// The traffic of the demo.
const (
	normalRate   = 4                // logins a second, of a site with some thousand users
	attackAfter  = 10 * time.Second // of normal traffic
	attackFactor = 5                // all logins together, as a multiple of the users'
	attackTime   = 10 * time.Minute
)

// generator makes the traffic from start on.
func generator(start time.Time, attacks ...traffic.Attack) *traffic.Generator {
	return traffic.New(1, normalRate, start, attacks...)
}

// attack is a demo in which users log in, and then attackers try to, each from a
// loopback address of its own. It prints the alerts and the public status. users are those
// who are known before.
func (o Options) attack(ctx context.Context, s *site, users []traffic.Login) error {
	if runtime.GOOS != "linux" {
		return errors.New("demo: -attack needs Linux, where every address in 127.0.0.0/8 is this machine's")
	}
	begun := time.Now()
	screen := &screen{results: &results{known: accounts(users)}, terminal: isTerminal(o.Stdout), w: o.Stdout, begun: begun}
	hook, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo: receiver of alerts: %w", err)
	}
	defer hook.Close()
	go func() { _ = http.Serve(hook, http.HandlerFunc(screen.alert)) }() // until hook is closed
	statusDir := filepath.Join(s.dir, "status")                          // of all gateways: only one writes
	for name, value := range map[string]string{
		"LOG_LEVEL": "error", "WEBHOOK_URL": "http://" + hook.Addr().String(), "ALERTMANAGER_URL": "",
		"STATUS_DIR": statusDir, "STATUS_HOLD": "5s", "STATUS_NAME": "Demo Mail",
	} {
		s.more = append(s.more, config.Prefix+name+"="+value)
	}
	for number := range s.size {
		if err := o.seed(o.environ(s.settings(number)), users, begun); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var playing sync.WaitGroup
	defer playing.Wait()
	defer cancel()
	return o.run(ctx, s, func(gateways []*daemon.Daemon) {
		screen.explain(gateways, s.dir)
		start := time.Now()
		attack := traffic.Attack{Kind: traffic.Wide, Curve: []traffic.Phase{{From: attackAfter, Times: attackFactor}, {From: attackAfter + attackTime, Times: 1}}}
		var addrs []string
		for _, d := range gateways {
			addrs = append(addrs, d.Addr("imaps"))
		}
		playing.Go(func() { play(ctx, addrs, generator(start, attack), screen.results) })
		playing.Go(func() { screen.follow(ctx) })
		playing.Go(func() { screen.announce(ctx, start, filepath.Join(statusDir, "summary.json")) })
		if len(gateways) > 1 {
			playing.Go(func() { o.showSharing(ctx, s, gateways, func(text string) { screen.print("", text) }) })
		}
	})
}

// explain prints what is made up, and where to look.
func (s *screen) explain(gateways []*daemon.Daemon, dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, where := gateways[0], gateways[0].Addr("imaps")
	for _, other := range gateways[1:] {
		where += " or " + other.Addr("imaps")
	}
	admin := d.AdminAddr().String()
	fmt.Fprintf(s.w, `postern demo -attack: users and attackers at a gateway in front of a small mail server, all in this process.

About a thousand users log in at %s, %d logins a second as usual; then strangers with wrong passwords make it %d times as
many, each from a network of its own. Two things are made up, because they take days to learn: the detector knows what is
usual, and the limiter knows the users. The rest is real. Watch this terminal for two minutes: it counts the logins of known
users that were served, and the others that were denied (wrong password) or refused (by postern). The alert comes about a
minute after the attack begins. Look meanwhile at

  the page            %s
  the status page     file://%s/status/index.html (or feed.atom beside it)
  metrics             http://%s/metrics

and, in another terminal, at what operators see and do, and at a report that could be published:

%s
The attackers have loopback addresses here, so postern block asks before it blocks one. Ctrl-C ends the demo. Nothing is kept.

`, where, normalRate, attackFactor, pageText(d, dir), dir, admin,
		commandsText(d, dir, "top", "check", "decisions", "incident show", "report -public", `incident resolve "That was the demo."`))
}

// knownUsers are the users who have logged in before, one login each.
func knownUsers() (users []traffic.Login) {
	seen := map[string]bool{}
	for _, u := range generator(time.Time{}).KnownLogins() {
		if u.Good() && !seen[u.Account] {
			seen[u.Account] = true
			users = append(users, u)
		}
	}
	return users
}

// accounts is the set of the users' accounts.
func accounts(users []traffic.Login) map[string]bool {
	names := map[string]bool{}
	for _, u := range users {
		names[u.Account] = true
	}
	return names
}

// seed creates the state directory as a gateway with these settings would have it
// after some weeks.
func (o Options) seed(environ []string, users []traffic.Login, now time.Time) error {
	c, err := config.Load(environ)
	if err != nil {
		return err
	}
	log := eventlog.New(o.Log, string(c.Log.Format), c.Log.SlogLevel())
	err = daemon.Seed(&c, log, func(key limiter.Key, detectorKey [16]byte) (known, learned []byte, err error) {
		known, err = limiterSnapshot(&c, key, users, now)
		return known, detectorSnapshot(detectorKey, now), err
	})
	if err != nil {
		return fmt.Errorf("demo: prepare what was learned: %w", err)
	}
	return nil
}

// limiterSnapshot is what a limiter knows after every user logged in once, two
// days ago.
func limiterSnapshot(c *config.Config, key limiter.Key, users []traffic.Login, now time.Time) ([]byte, error) {
	l, err := limiter.New(c.Limits.Policy(c.Tarpit.Max), key)
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

// detectorSnapshot is what a detector has learned from such users.
func detectorSnapshot(key [16]byte, now time.Time) []byte {
	const newcomers = .03 // of all logins; the mail servers do not know them
	w := watch.New(watch.Config{Location: time.Local, Key: key})
	w.Assume(now, watch.Signals{Logins: 60 * normalRate, Suspects: 60 * normalRate * newcomers, Networks: 60 * normalRate * newcomers})
	return w.Snapshot(now)
}
