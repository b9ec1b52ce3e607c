package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// At a gateway that runs already the bench has only the clients: their success
// and latency are all that it can measure.

const (
	// userPause is the shortest time between two logins of one user. Postern treats
	// a known user as a stranger after 8 logins a minute if LIMIT_GLOBAL is small,
	// else after more.
	userPause = 8 * time.Second
	// firstLoginRate is how many users log in for the first time each second,
	// before an attack.
	firstLoginRate = 20.0
	// notMeasured says what only the testbed of the bench can measure.
	notMeasured = "Not measured at a running gateway: its CPU time, memory and file descriptors, and the passwords that its mail server checks."
)

// guessingKinds are the kinds of attack that need no accounts of the attackers
// and no users at a shared address.
var guessingKinds = []traffic.Kind{traffic.Few, traffic.Wide, traffic.Target, traffic.Spray, traffic.Hop, traffic.Impatient, traffic.Spray48, traffic.Fresh48}

// gatewayUsers are the users of a running gateway and their addresses.
type gatewayUsers struct {
	users     []User
	homes     []netip.Addr // of each user
	explained *explainer
	keep      float64 // share of the generated logins of users that take place

	kept       float64 // fraction of a login that is left over
	next       int     // number of the next login of a user
	guessed    int     // guesses until now
	domain     string  // of made-up accounts
	oneAccount bool    // all guesses are at the first account
}

// openGateway returns the users who can log in at t. As many log in once as take
// part in logins, so that postern knows them. It notes in s those who cannot; if
// nobody can, it returns an error with the reason.
func openGateway(ctx context.Context, t *target, s *sample, logins int) (*gatewayUsers, error) {
	d, err := t.trafficDialer()
	if err != nil {
		return nil, err
	}
	d.Timeout = userTimeout
	g := &gatewayUsers{explained: newExplainer(d), domain: t.users[0].domain(), keep: 1}
	var homes []netip.Addr
	for _, l := range traffic.New(1, traffic.Normal, time.Time{}).KnownLogins()[1:] { // the first one is 127.0.0.1 on loopback
		home, err := t.sourceFor(l.Addr)
		if err != nil {
			return nil, err
		}
		homes = append(homes, home)
	}
	n := min(max(1, logins), len(t.users), len(homes))
	results := make([]attempt, n)
	if results[0] = g.firstLogin(ctx, d, t.users[0], homes[0]); results[0].beforeLogin() { // as for all others
		return nil, fmt.Errorf("log in before the attack: %s (%s)", g.explained.explain(results[0]), results[0].example())
	}
	var wg sync.WaitGroup
	atRate(ctx, firstLoginRate, n-1, func(i int, _ time.Time) {
		wg.Go(func() { results[i+1] = g.firstLogin(ctx, d, t.users[i+1], homes[i+1]) })
	})
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var denied []string
	for i, u := range t.users[:n] {
		switch a := results[i]; {
		case a.accepted():
			g.users, g.homes = append(g.users, u), append(g.homes, homes[i])
		case a.err == nil && a.answer == client.Denied && responseCode(a.line) != privacyRequired:
			denied = append(denied, u.Account)
		default:
			g.explained.add(a)
		}
	}
	return g, g.reportFirst(s, n, denied)
}

// firstLogin logs a user in once. It tries again if the gateway refuses for now.
func (g *gatewayUsers) firstLogin(ctx context.Context, d *client.Dialer, u User, home netip.Addr) attempt {
	a := attempt{who: whoUsers, account: u.Account, source: home}
	for try := 1; ; try++ {
		a.answer, a.line, a.err = logInOut(ctx, d, u, home)
		if a.accepted() {
			g.explained.served.Store(true)
			return a
		}
		if a.err != nil || a.answer != client.Busy || try == firstTries || pause(ctx, time.Second) != nil {
			return a
		}
	}
}

// firstTries is how often a user tries to log in for the first time.
const firstTries = 3

// logInOut logs in and out. line is the server's answer to a login that was not
// accepted.
func logInOut(ctx context.Context, d *client.Dialer, u User, source netip.Addr) (a client.Answer, line string, err error) {
	session, err := d.Dial(ctx, source)
	if err != nil {
		return 0, "", err
	}
	a, err = session.Login(u.Account, u.Password, client.Login)
	if err != nil || a != client.Accepted {
		line = session.Refusal
		session.Close()
		return a, line, err
	}
	return a, "", session.Logout()
}

// namesShown is how many names a list shows.
const namesShown = 5

// reportFirst notes which of n users could not log in before the attack. It
// returns an error if there are no others.
func (g *gatewayUsers) reportFirst(s *sample, n int, denied []string) error {
	var why []string
	if len(denied) > 0 {
		who := "user "
		if len(denied) > 1 {
			who = "users "
		}
		names := strings.Join(denied[:min(len(denied), namesShown)], ", ")
		if more := len(denied) - namesShown; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		why = append(why, "wrong password in the file for "+who+names)
	}
	for _, x := range g.explained.all() {
		why = append(why, x.String())
	}
	if len(g.users) == 0 {
		return fmt.Errorf("none of %d users of the file can log in: %s", n, strings.Join(why, "; "))
	}
	if len(why) > 0 {
		s.problem("%d of %d users could not log in before the attack and are left out: %s", n-len(g.users), n, strings.Join(why, "; "))
	}
	g.explained.reset()
	return nil
}

// limitRate makes each user log in at most once in userPause: of the generated
// logins of users, which are normal a second, only as many take place.
func (g *gatewayUsers) limitRate(normal float64) {
	g.keep = min(1, float64(len(g.users))/userPause.Seconds()/normal)
}

// login replaces a generated login by one of a user of the gateway, or a guess
// at one. ok is false if it does not take place. It is not safe for concurrent
// use.
func (g *gatewayUsers) login(l traffic.Login) (replaced traffic.Login, ok bool) {
	if l.Class == traffic.Attacker {
		return g.guess(l), true
	}
	if g.kept += g.keep; g.kept < 1 {
		return l, false
	}
	g.kept--
	n := g.next % len(g.users)
	g.next++
	u := g.users[n]
	if l.Class == traffic.Traveller {
		l.Account, l.Secret = u.Account, u.Password
		return l, true
	}
	return traffic.Login{At: l.At, Class: traffic.Phone, Try: 1, Tries: 1, Addr: g.homes[n], Account: u.Account, Secret: u.Password}, true
}

// guess replaces the account of a guess, alternately by one of the gateway and
// one that is made up.
func (g *gatewayUsers) guess(l traffic.Login) traffic.Login {
	n := g.guessed
	g.guessed++
	switch {
	case g.oneAccount:
		l.Account = g.users[0].Account
	case n%2 == 0:
		l.Account = g.users[n/2%len(g.users)].Account
	default:
		l.Account = fmt.Sprintf("made-up-%d%s", n/2, g.domain)
	}
	return l
}

// loginsIn returns how many logins of users there are in d.
func loginsIn(normal float64, d time.Duration) int { return int(math.Ceil(normal * d.Seconds())) }

// checkUsers returns an error if there are no users of a running gateway.
func (r *Remote) checkUsers() error {
	if len(r.Users) == 0 {
		return errNoUsersFile
	}
	return nil
}

// errNoUsersFile is returned if there are no users to attack.
var errNoUsersFile = errors.New("a running gateway needs -users FILE, with lines NAME:PASSWORD of its users")

// checkKinds returns an error that names a kind of attack that a running gateway
// cannot get.
func checkKinds(kinds []traffic.Kind) error {
	for _, k := range kinds {
		if !slices.Contains(guessingKinds, k) {
			var want []string
			for _, k := range guessingKinds {
				want = append(want, k.String())
			}
			return fmt.Errorf("-kinds: got %s, want some of %s at a running gateway", k, strings.Join(want, ", "))
		}
	}
	return nil
}
