//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/bench/client"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// The sizes of TestUpgradeUnderLoad. In CI they are small; they were chosen for two cores
// and the race detector.
var (
	upgradeSessions = flagFromEnviron("UPGRADE_SESSIONS", 500) // in IDLE
	upgradeLogins   = flagFromEnviron("UPGRADE_LOGINS", 50)    // a second, at most
	upgradeCount    = flagFromEnviron("UPGRADE_COUNT", 3)
)

// loginWorkers is how many users log in at once. All handshakes of clients that are not known
// must begin within five seconds, on a machine that is busy, too.
func loginWorkers() int { return max(4, upgradeLogins/8) }

// generationsMax is how many generations run at most. If there would be more, the oldest
// ends.
const generationsMax = 4

// flagFromEnviron returns a number from the environment.
func flagFromEnviron(name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	return n
}

// TestUpgradeUnderLoad upgrades several times while sessions are in IDLE, users log in
// and out, attackers try passwords and a monitoring system reads metrics. No client
// notices, and the attackers get no more guesses than without upgrades.
func TestUpgradeUnderLoad(t *testing.T) {
	s := newSupervisor(t, loadAccounts(), "LIMIT_GLOBAL", "5000/1s", "TARPIT_MAX", "1ms")
	if upgradeCount >= generationsMax {
		s.set(t, "DRAIN", "10s") // of a generation that is one too many
	}
	s.start(t)
	atStart := descriptors(t, s.mainProcess(t))
	makeKnown(t, s)
	idle := []*idleClients{newIdleClients(t, s, 0, upgradeSessions, upgradeCount)}
	users := startLoad(t, upgradeLogins, loginWorkers(), logsIn(s))
	attack := newAttack(s)
	guessing := startLoad(t, upgradeLogins, 8, attack.guess)
	monitoring := startLoad(t, 50, 4, s.readMetrics)

	for i := range upgradeCount {
		attack.round.Store(int32(i))
		guessing.awaitCount(t, guessing.count()+20) // less than half of what the limits let through
		early := connectBefore(t, s, i)
		begin := time.Now()
		s.upgrade(t)
		t.Logf("upgrade %d: %v, generations %v", i+1, time.Since(begin).Round(time.Millisecond), s.generations(t))
		early.use(t)
		for _, c := range idle {
			c.notify(t)
		}
		guessing.awaitCount(t, guessing.count()+80) // more than that
		idle = append(idle, newIdleClients(t, s, upgradeSessions+i*sessionsLater(), sessionsLater(), upgradeCount))
		await(t, "the end of a generation that is one too many", func() bool { return len(s.generations(t)) <= generationsMax })
	}
	for what, l := range map[string]*load{"logins": users, "attack": guessing, "monitoring": monitoring} {
		l.check(t, what)
	}
	attack.check(t, upgradeCount)
	checkEndings(t, idle)
	for _, c := range idle {
		c.end()
	}
	s.awaitGenerations(t, 1)
	await(t, fmt.Sprintf("at most %d descriptors, as at the start", atStart), func() bool {
		return descriptors(t, s.mainProcess(t)) <= atStart
	})
}

// makeKnown logs every account in once, without TLS: users who are not known may have to
// wait too long while the machine is busy, with the attack or with something else.
func makeKnown(t *testing.T, s *supervisor) {
	t.Helper()
	var logins sync.WaitGroup
	at := func(n int, source func(int) netip.Addr, account func(int) string) {
		logins.Go(func() {
			for i := range n {
				if err := logInAndOut(dialers(s)[1], source(i), account(i), loginSecret); err != nil {
					t.Errorf("first login of %s: %v", account(i), err)
				}
			}
		})
	}
	at(upgradeSessions+upgradeCount*sessionsLater(), idleSource, idleAccount)
	at(loginAccounts, loginSource, loginAccount)
	at(upgradeCount*earlyCount, earlySource, earlyAccount)
	logins.Wait()
}

// sessionsLater is how many sessions in IDLE begin after each upgrade, so that every
// generation has some.
func sessionsLater() int { return max(1, upgradeSessions/50) }

// loadAccounts are the accounts of TestUpgradeUnderLoad.
func loadAccounts() (all []standin.Account) {
	all = idleAccounts(upgradeSessions + upgradeCount*sessionsLater())
	for i := range loginAccounts {
		all = append(all, standin.Account{Name: loginAccount(i), Secret: loginSecret})
	}
	for i := range upgradeCount * earlyCount {
		all = append(all, standin.Account{Name: earlyAccount(i), Secret: loginSecret})
	}
	return all
}

// checkEndings fails the test if a connection in IDLE ended. Those of a generation that
// is one too many are closed gently.
func checkEndings(t *testing.T, idle []*idleClients) {
	t.Helper()
	all := map[string]int{}
	for _, c := range idle {
		for end, n := range c.endings() {
			all[end] += n
		}
	}
	t.Logf("connections in IDLE that ended: %v", all)
	if upgradeCount >= generationsMax {
		if all[outcomeClosed] == 0 {
			t.Error("no connection in IDLE was closed, although there were too many generations")
		}
		delete(all, outcomeClosed)
	}
	if len(all) > 0 {
		t.Errorf("connections in IDLE ended: %v", all)
	}
}

// readMetrics reads the metrics over a new connection and asks whether the gateway is
// ready. It returns the outcome.
func (s *supervisor) readMetrics(int) string {
	unix := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "admin"))
	}}
	for url, transport := range map[string]*http.Transport{
		"http://" + s.addr("metrics") + "/metrics": {DisableKeepAlives: true},
		"http://localhost/readyz":                  unix,
	} {
		c := http.Client{Timeout: testbed.Patience, Transport: transport}
		answer, err := c.Get(url)
		if err != nil {
			return outcome(err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Sprintf("%s: status %d, %v", url, answer.StatusCode, err)
		}
	}
	return outcomeOK
}

// early are connections that were opened before an upgrade and are used after it, each
// with an account and an address of its own.
type early struct {
	round    int
	sessions []*client.Session
}

// earlyCount is how many there are in each round, that is, upgrade.
const earlyCount = 20

// earlyAccount is one of their accounts, and earlySource its address.
func earlyAccount(i int) string    { return fmt.Sprintf("early%d", i) }
func earlySource(i int) netip.Addr { return address(21, i) }

// connectBefore opens connections, half of them in TLS, and sends nothing.
func connectBefore(t *testing.T, s *supervisor, round int) early {
	t.Helper()
	e, d := early{round: round}, dialers(s)
	for i := range earlyCount {
		session, err := d[i%2].Dial(context.Background(), earlySource(round*earlyCount+i))
		if err != nil {
			t.Fatal(err)
		}
		e.sessions = append(e.sessions, session)
	}
	return e
}

// use logs in on all connections at once, on half of them with a wrong password. Each gets
// the answer that is right.
func (e early) use(t *testing.T) {
	t.Helper()
	var logins sync.WaitGroup
	for i, session := range e.sessions {
		secret, want := loginSecret, client.Accepted
		if i/2%2 == 1 {
			secret, want = "wrong", client.Denied
		}
		logins.Go(func() {
			if got, err := session.Login(earlyAccount(e.round*earlyCount+i), secret, client.Login); err != nil || got != want {
				t.Errorf("a login on a connection from before the upgrade: got answer %d, %v; want %d", got, err, want)
			}
			session.Close()
		})
	}
	logins.Wait()
}

// attack is what attackers do. In each round they have other addresses and try other
// accounts, so that they have guesses left at each upgrade.
type attack struct {
	dialers [2]*client.Dialer
	mail    *mailServer
	round   atomic.Int32
	begun   time.Time
}

// The attackers of each round: half of them try passwords at a few accounts of users, from
// many addresses; the others from a few addresses at many accounts.
const (
	attackedAccounts = 4
	manyAttackers    = 64
	fewAttackers     = 8
	attackedFrom     = 66 // 127.66.0.0/16 is that of the many attackers in the first round
)

// newAttack returns the attack on s.
func newAttack(s *supervisor) *attack {
	return &attack{dialers: dialers(s), mail: s.mail, begun: time.Now()}
}

// guess tries three passwords on one connection. What the attackers are answered does
// not matter, but they must be able to connect.
func (a *attack) guess(i int) string {
	round, n := int(a.round.Load()), i/4
	net := byte(attackedFrom + 2*(round%20))
	source, account := address(net, n%manyAttackers), loginAccount(round*attackedAccounts+n%attackedAccounts)
	if i/2%2 == 1 {
		source, account = address(net+1, n%fewAttackers), fmt.Sprintf("nobody%d", i)
	}
	session, err := a.dialers[i%2].Dial(context.Background(), source)
	if session == nil {
		if result := outcome(err); result == "refused" {
			return result
		}
		return outcomeOK
	}
	for try := 0; err == nil && try < 3; try++ {
		_, err = session.Login(account, fmt.Sprintf("guess %d.%d", i, try), client.Login)
	}
	session.Close()
	return outcomeOK
}

// overshoot is how many guesses more than at one gateway an attacker may have for each
// upgrade: those that two generations let through before each knows of the other's.
const overshoot = 1

// check fails the test if more passwords of attackers have reached the mail server than
// one gateway would let through, or so few that the limits were not tested.
func (a *attack) check(t *testing.T, upgrades int) {
	t.Helper()
	denials := a.mail.denials()
	for g := range denials {
		if net := g.source.As4()[1]; net < attackedFrom {
			delete(denials, g) // a user
		}
	}
	elapsed := time.Since(a.begun)
	more := overshoot * upgrades
	checkLimit(t, "source", sum(denials, bySource), 10, more, elapsed, 10*time.Minute)
	checkLimit(t, "account", sum(denials, byAccount), 10, more, elapsed, time.Hour)
	checkLimit(t, "pair", denials, 5, more, elapsed, 10*time.Minute)
}

// checkLimit checks the denials of each key against a limit of tokens in period, and more in
// all.
func checkLimit[K comparable](t *testing.T, rule string, denials map[K]int, tokens, more int, elapsed, period time.Duration) {
	t.Helper()
	refilled := int(math.Ceil(float64(tokens) * float64(elapsed) / float64(period)))
	most, over := 0, 0
	for key, n := range denials {
		if n > tokens+refilled+more {
			t.Errorf("%s: %d passwords of %v reached the mail server, want at most %d", rule, n, key, tokens+refilled+more)
		}
		if n > tokens+refilled {
			over++
		}
		most = max(most, n)
	}
	t.Logf("%s: %d keys, most denials %d, limit %d and %d refilled, exceeded by %d keys", rule, len(denials), most, tokens, refilled, over)
	if most < tokens*3/4 { // addresses that were denied leave a quarter of an account to others
		t.Errorf("%s: the limit was not reached", rule)
	}
}
