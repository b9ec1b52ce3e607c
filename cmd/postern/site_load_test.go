//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/bench/client"
)

// The load of a site: logins of users a second, and connections of attackers, each of
// which tries three passwords.
const (
	siteLogins  = 8
	siteAttacks = 10 * siteLogins
)

// siteSize is how many users a site has.
const siteSize = 90

// The attackers of each round: half of them try passwords of a few users from many addresses,
// the others those of many accounts from a few addresses.
const (
	siteTargets = 2
	siteSources = 4
	siteMany    = 48
)

// nobody is the number of no gateway.
const nobody = -1

// siteUsers log in at a gateway each time that is chosen at random. If that does not run,
// they try the next one, as mail programs and balancers do.
type siteUsers struct {
	site *site
	load *load
	dead atomic.Int32 // gateway that may be killed now, or nobody: it may break connections

	mu     sync.Mutex
	took   []time.Duration // logins that were accepted, from the begin of the connection on
	again  int             // connections to dead that failed
	failed []string        // logins that failed, as text
}

// startUsers starts the users of a site.
func (s *site) startUsers(t *testing.T) *siteUsers {
	t.Helper()
	u := &siteUsers{site: s}
	u.dead.Store(nobody)
	u.load = startLoad(t, siteLogins, 8, u.logIn)
	return u
}

// logIn is the i-th login. Half of them are in TLS.
func (u *siteUsers) logIn(i int) string {
	begin := time.Now()
	first := rand.IntN(len(u.site.gateways))
	for n := 0; ; n++ {
		gateway := (first + n) % len(u.site.gateways)
		mayBeDead := int32(gateway) == u.dead.Load()
		err := logInAndOut(u.site.dialers[gateway][i%2], loginSource(i%siteSize), loginAccount(i%siteSize), loginSecret)
		mayBeDead = mayBeDead || int32(gateway) == u.dead.Load()
		u.mu.Lock()
		switch {
		case err == nil:
			u.took = append(u.took, time.Since(begin))
		case mayBeDead && n < len(u.site.gateways)-1:
			u.again++
			u.mu.Unlock()
			continue
		default:
			u.failed = append(u.failed, fmt.Sprintf("%s: login of %s at gateway %d: %v", time.Now().UTC().Format(time.StampMilli), loginAccount(i%siteSize), gateway, err))
		}
		u.mu.Unlock()
		return outcome(err)
	}
}

// check ends the load and fails the test if more than one login of a thousand failed.
func (u *siteUsers) check(t *testing.T) {
	t.Helper()
	outcomes := u.load.end()
	all := 0
	for _, n := range outcomes {
		all += n
	}
	slices.Sort(u.took)
	t.Logf("logins of users: %v in %v; median %v, 99th percentile %v, longest %v; %d connections to a killed gateway", outcomes, time.Since(u.load.begin).Round(time.Second),
		percentile(u.took, 50), percentile(u.took, 99), percentile(u.took, 100), u.again)
	if failed := all - outcomes[outcomeOK]; failed*1000 > all {
		t.Errorf("%d of %d logins of users failed, want at most 0.1 %%:\n%s", failed, all, strings.Join(u.failed, "\n"))
		for _, g := range u.site.gateways {
			t.Logf("log of a gateway, users who were refused:\n%s", g.logOf("127.20."))
		}
	}
}

// logOf is the part of the log about clients of a network, without logins that reached a backend.
func (s *supervisor) logOf(network string) string {
	return s.logLines(func(line string) bool {
		return strings.Contains(line, " rip="+network) && !strings.Contains(line, " result=backend")
	})
}

// percentile returns a percentile of sorted durations.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100].Round(time.Millisecond / 10)
}

// siteAttack is what attackers do at all gateways of a site at once. In each round they have
// other addresses and try other accounts.
type siteAttack struct {
	site   *site
	load   *load
	round  atomic.Int32
	rounds []attackRound
}

// attackRound is one round of an attack, and what bounds its guesses.
type attackRound struct {
	name  string
	begin time.Time
	end   time.Time
	more  func(tokens int) int // guesses in addition to the tokens of a bucket and what has refilled
}

// The networks 127.N.0.0/16 of the attackers in the first round; the others follow.
const siteAttackers = 100

// shared are the additional guesses at gateways that count together: each may let one
// through before it knows of that of the others.
func (s *site) shared(int) int { return len(s.gateways) - 1 }

// startAttack starts the first round of an attack.
func (s *site) startAttack(t *testing.T, name string) *siteAttack {
	t.Helper()
	a := &siteAttack{site: s}
	a.next(name, s.shared)
	a.load = startLoad(t, siteAttacks, 3*len(s.gateways)*4, a.guess)
	return a
}

// next begins another round.
func (a *siteAttack) next(name string, more func(tokens int) int) {
	now := time.Now()
	if n := len(a.rounds); n > 0 {
		a.rounds[n-1].end = now
	}
	a.rounds = append(a.rounds, attackRound{name: name, begin: now, more: more})
	a.round.Store(int32(len(a.rounds) - 1))
}

// awaitGuesses waits until n more connections of attackers have ended.
func (a *siteAttack) awaitGuesses(t *testing.T, n int) {
	t.Helper()
	a.load.awaitCount(t, a.load.count()+n)
}

// guess tries three passwords on one connection: those of successive i at one account from
// one address, at all gateways one after the other.
func (a *siteAttack) guess(i int) string {
	round, gateways := int(a.round.Load()), len(a.site.gateways)
	gateway, n := i%gateways, i/gateways
	net := byte(siteAttackers + 2*round)
	source, account := address(net, n/2%siteMany), loginAccount(round*siteTargets+n/2%siteTargets)
	if n%2 == 1 {
		source, account = address(net+1, n/2%siteSources), fmt.Sprintf("nobody%d", i)
	}
	session, err := a.site.dialers[gateway][1].Dial(context.Background(), source)
	for try := 0; err == nil && try < 3; try++ {
		_, err = session.Login(account, fmt.Sprintf("guess %d.%d", i, try), client.Login)
	}
	if session != nil {
		session.Close()
	}
	return outcomeOK
}

// mismatchLine is what Dovecot logs of a wrong password: the account and the address.
var mismatchLine = regexp.MustCompile(`auth: Info: passwd-file\(([^,]+),([^,)]+)[^)]*\): (?:unknown user|Password mismatch)`)

// check ends the attack, and fails the test if more passwords of attackers have reached
// Dovecot in a round than its bound, or so few that the limits were not tested.
func (a *siteAttack) check(t *testing.T) {
	t.Helper()
	a.load.end()
	a.rounds[len(a.rounds)-1].end = time.Now()
	denials := make([]map[guess]int, len(a.rounds))
	for line := range strings.Lines(a.site.dovecot.Logs()) {
		m := mismatchLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		g := guess{netip.MustParseAddr(m[2]), m[1]}
		round := (int(g.source.As4()[1]) - siteAttackers) / 2
		if round < 0 || round >= len(denials) {
			t.Errorf("a wrong password of %s from %s", g.account, g.source)
			continue
		}
		if denials[round] == nil {
			denials[round] = map[guess]int{}
		}
		denials[round][g]++
	}
	for i, r := range a.rounds {
		t.Logf("attack: %s, %v", r.name, r.end.Sub(r.begin).Round(time.Second))
		checkLimit(t, "source", sum(denials[i], bySource), 10, r.more(10), r.end.Sub(r.begin), 10*time.Minute)
		checkLimit(t, "account", sum(denials[i], byAccount), 10, r.more(10), r.end.Sub(r.begin), time.Hour)
		checkLimit(t, "pair", denials[i], 5, r.more(5), r.end.Sub(r.begin), 10*time.Minute)
	}
}
