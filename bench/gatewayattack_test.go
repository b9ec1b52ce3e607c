package bench

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter/traffic"
)

// asGateway returns p as a running gateway with n users, whose passwords
// checkPassword accepts.
func asGateway(p *proxyHeaderServer, n int) *target {
	t := p.target()
	for _, u := range siteUsers(n) {
		t.users = append(t.users, User{u.Account, traffic.Secret(u.Account)})
	}
	return t
}

// attackGateway attacks p for 20 s after 10 s without attackers.
func attackGateway(t *testing.T, p *proxyHeaderServer, users int, kind traffic.Kind) *sample {
	t.Helper()
	p.tls = serverTLS(t)
	o, s := GatewayDefaults(), &sample{}
	plan := attackPlan{normal: 5, baseline: 10 * time.Second, duration: 20 * time.Second, attack: traffic.Steady(kind, 10*time.Second, 5)}
	synctest.Test(t, func(t *testing.T) {
		if err := plan.measureGateway(t.Context(), asGateway(p, users), s, &o); err != nil {
			t.Error(err)
		}
	})
	return s
}

// isGuess reports whether l is a guess of an attacker.
func isGuess(l seenLogin) bool { return l.secret != traffic.Secret(l.account) }

// All users log in once before; then they log in from their addresses or from
// new ones, and attackers guess at their accounts and at made-up ones.
func TestGatewayTraffic(t *testing.T) {
	p := &proxyHeaderServer{answer: checkPassword}
	s := attackGateway(t, p, 40, traffic.Wide)
	homes, madeUp, guessedAt, users := map[string]netip.Addr{}, 0, 0, 0
	moved := 0
	for _, l := range p.logins {
		if !isGuess(l) {
			users++
			if homes[l.account] == (netip.Addr{}) {
				homes[l.account] = l.addr
			}
			if homes[l.account] != l.addr {
				moved++
			}
			continue
		}
		if strings.HasPrefix(l.account, "made-up-") && strings.HasSuffix(l.account, "@example.org") {
			madeUp++
		} else if strings.HasPrefix(l.account, "user") {
			guessedAt++
		} else {
			t.Fatalf("a guess at %s", l.account)
		}
	}
	if len(homes) != 40 || moved == 0 || moved > users/4 {
		t.Errorf("%d users, %d of %d logins from new addresses", len(homes), moved, users)
	}
	if madeUp < guessedAt-1 || madeUp > guessedAt+1 || madeUp+guessedAt < 300 {
		t.Errorf("%d guesses at made-up accounts, %d at those of the file; want about 200 each", madeUp, guessedAt)
	}
	if s.value(t, knownAccepted) != 100 || s.value(t, "travellers, accepted") != 100 || s.value(t, "of them, denied") != 100 {
		t.Errorf("%+v", s.figures)
	}
	if !strings.HasSuffix(s.conclusion, ": the gateway held.") || len(s.explanations) != 1 {
		t.Errorf("%q %+v", s.conclusion, s.explanations)
	}
}

// A gateway that refuses users under attack has not held, and the refusals are
// explained.
func TestGatewayThatRefusesUsers(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // as in every synctest bubble
	s := attackGateway(t, &proxyHeaderServer{answer: func(l seenLogin) string {
		if l.at.Sub(start) > 20*time.Second {
			return "a NO [UNAVAILABLE] Later. (abcdef-1)\r\n"
		}
		return checkPassword(l)
	}}, 40, traffic.Wide)
	if !strings.Contains(s.conclusion, "the gateway did not hold") {
		t.Errorf("conclusion: %q", s.conclusion)
	}
	refused := func(e Explanation) bool {
		return e.Who == whoUsers && strings.HasPrefix(e.What, "NO [UNAVAILABLE]: postern refused") && strings.HasSuffix(e.Example, "postern explain abcdef-1")
	}
	if !slices.ContainsFunc(s.explanations, refused) {
		t.Errorf("explanations: %+v", s.explanations)
	}
}

// Few users are a sample of the site: each logs in at most once in userPause.
// An attack of kind target is at one of them.
func TestGatewayWithFewUsers(t *testing.T) {
	p := &proxyHeaderServer{answer: checkPassword}
	attackGateway(t, p, 2, traffic.Target)
	users, guesses := map[string]int{}, map[string]int{}
	for _, l := range p.logins {
		if isGuess(l) {
			guesses[l.account]++
		} else {
			users[l.account]++
		}
	}
	most := 2 + int(30*time.Second/userPause) // the first login, and one more for the limits of the time
	for account, n := range users {
		if n > most || n < 2 {
			t.Errorf("%s: got %d logins in 30 s, want 2 to %d", account, n, most)
		}
	}
	if len(users) != 2 || len(guesses) != 1 || guesses["user0@example.org"] < 300 {
		t.Errorf("users %v, guesses %v", users, guesses)
	}
}

// Attackers that wait when the run ends are not counted as unanswered.
func TestGatewayAttackersThatWaitAtTheEnd(t *testing.T) {
	p := &proxyHeaderServer{answer: checkPassword, delayed: isGuess, delay: time.Hour}
	s := attackGateway(t, p, 40, traffic.Wide)
	unanswered, waiting := s.value(t, "of them, without an answer in time"), s.value(t, "of them, waiting at the end")
	if unanswered+waiting < 99.9 || waiting < 40 || unanswered < 30 {
		t.Errorf("%v %% without an answer, %v %% wait at the end", unanswered, waiting)
	}
	if !strings.HasSuffix(s.conclusion, ": the gateway held.") {
		t.Errorf("conclusion: %q", s.conclusion)
	}
}

// Attackers that a gateway closes are counted and do not end the measurement.
func TestGatewayTarpit(t *testing.T) {
	p := &proxyHeaderServer{tls: serverTLS(t), answer: func(l seenLogin) string {
		if isGuess(l) {
			return "* BYE Too many failed logins. (abcdef-1)\r\na NO [UNAVAILABLE] Later. (abcdef-1)\r\n"
		}
		return checkPassword(l)
	}}
	o, s := GatewayDefaults(), &sample{}
	o.Held = 10
	synctest.Test(t, func(t *testing.T) {
		if err := measureGatewayTarpit(t.Context(), asGateway(p, 40), s, &o); err != nil {
			t.Error(err)
		}
	})
	if s.value(t, "attackers still connected") != 0 || s.value(t, knownAccepted) != 100 || !strings.HasSuffix(s.conclusion, ": the gateway held.") {
		t.Errorf("%+v %q", s.figures, s.conclusion)
	}
	if len(s.explanations) != 1 || s.explanations[0].Count != 10 || s.explanations[0].Who != whoAttackers {
		t.Errorf("explanations: %+v", s.explanations)
	}
}
