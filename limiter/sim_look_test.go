//go:build !race

package limiter_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// The account that these tests attack, known from home.
var (
	guessedAccount = "owner@example.org"
	guessedLogin   = login("198.51.100.7", traffic.Secret(guessedAccount))
)

func login(addr, secret string) traffic.Login {
	return traffic.Login{Addr: netip.MustParseAddr(addr), Account: guessedAccount, Secret: secret}
}

// newGuessedLimiter returns a limiter that knows guessedLogin.
func newGuessedLimiter(tb testing.TB) *limiter.Limiter {
	l := newLimiter(tb)
	acceptAll(l, []traffic.Login{guessedLogin})
	return l
}

// refusalTime is how long it takes to get the answer that an attempt is refused.
const refusalTime = 5 * time.Millisecond

// An answer is how a login ended.
type answer struct {
	outcome   limiter.Outcome
	verdict   limiter.Verdict
	connected bool // so the password was shown
	checked   bool // by the backend
	at        time.Time
}

// logIn runs one login at time t, alone, with a backend that answers in loginTime.
func logIn(l *limiter.Limiter, t time.Time, login traffic.Login) answer {
	connection, v := l.Connect(t, login.Addr)
	if v.Action == limiter.Refuse {
		return answer{verdict: v, at: t.Add(refusalTime)}
	}
	ticket := l.Ask(t, limiterAttempt(l, login))
	v = ticket.Verdict()
	for v.Wait > 0 {
		t = t.Add(v.Wait)
		if !v.Again {
			break
		}
		v = ticket.Again(t)
	}
	outcome, checked := limiter.Void, false
	if v.Action < limiter.Repeat {
		v = ticket.Enter(t, nil)
	}
	switch v.Action {
	case limiter.Pass:
		t, outcome, checked = t.Add(loginTime), limiter.Denied, true
		if login.Good() {
			outcome = limiter.Accepted
		}
	case limiter.Repeat:
		outcome = limiter.Denied
	default:
		t = t.Add(refusalTime)
	}
	ticket.Settle(t, outcome)
	connection.Close(t)
	return answer{outcome, v, true, checked, t}
}

// guessForAnHour guesses at guessedAccount from one address, each time as soon as the last answer is there. The guess of
// number right is the right password; none is if it is negative. It returns for each guess whether the backend checked
// it.
func guessForAnHour(l *limiter.Limiter, right int) (checked []bool, found bool) {
	end := attackStart.Add(time.Hour)
	for t := attackStart; t.Before(end); {
		guess := login("203.0.113.5", fmt.Sprint("guess-", len(checked)))
		if len(checked) == right {
			guess.Secret = guessedLogin.Secret
		}
		a := logIn(l, t, guess)
		t = a.at
		if !a.connected {
			t = t.Add(loginTime)
			continue
		}
		if checked = append(checked, a.checked); a.outcome == limiter.Accepted {
			return checked, true
		}
	}
	return checked, false
}

// sampledGuesses is how many of an attacker's guesses are examined.
const sampledGuesses = 150

// An attacker who goes on guessing after refusals learns about no more guesses than the buckets of the pair allow: that
// of denials, and one as large for looks. A guess is evaluated if the attacker would have been let in had it been the
// right one: that is tried, in a run of its own, for a sample of those that the backend did not check.
func TestSimulationGuessesAfterRefusals(t *testing.T) {
	t.Parallel()
	guesses, _ := guessForAnHour(newGuessedLimiter(t), -1)
	checked, refused := 0, []int{}
	for i, c := range guesses {
		if c {
			checked++
		} else {
			refused = append(refused, i)
		}
	}
	found, sample := 0, min(sampledGuesses, len(refused))
	for i := range sample {
		if _, ok := guessForAnHour(newGuessedLimiter(t), refused[(2*i+1)*len(refused)/(2*sample)]); ok {
			found++
		}
	}
	looked := 0
	if sample > 0 {
		looked = len(refused) * found / sample
	}
	t.Logf("%d guesses in an hour: the backend evaluated %d, the limiter about %d", len(guesses), checked, looked)
	pair := policy().Pair
	if most := 2 * (pair.Tokens + pair.Tokens*int(time.Hour/pair.Per)); checked+looked > most {
		t.Errorf("about %d passwords were evaluated in an hour, want at most %d", checked+looked, most)
	}
}

// A wrong password that has the same fingerprint as the right one makes nobody forget the right one.
func TestSimulationCollisionWithTheRightPassword(t *testing.T) {
	t.Parallel()
	l := newGuessedLimiter(t)
	collision := collidingSecret(l, guessedLogin)
	now := attackStart
	for i := range 12 { // until strangers have no guess left
		now = logIn(l, now, login(fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprint("guess-", i))).at
	}
	for i := range 3 { // from three networks, in case the first is not let through
		a := logIn(l, now, login(fmt.Sprintf("203.0.%d.5", i), collision))
		t.Logf("the collision: %v by %s, checked: %v", a.verdict.Action, a.verdict.Rule, a.checked)
		now = a.at
	}
	for i := range 3 {
		a := logIn(l, now, login(fmt.Sprintf("198.18.%d.5", i), guessedLogin.Secret))
		if a.outcome == limiter.Accepted {
			return
		}
		t.Logf("the owner from a new network, try %d: %v by %s", i+1, a.verdict.Action, a.verdict.Rule)
		now = a.at.Add(5 * time.Second)
	}
	t.Error("the owner is shut out from a new network")
}

// collidingSecret returns a wrong secret for the account of right whose credential begins with the same 16 bits.
func collidingSecret(l *limiter.Limiter, right traffic.Login) string {
	want := l.Credential(right.Account, []byte(right.Secret))
	for i := 0; ; i++ {
		secret := fmt.Sprint("collision-", i)
		if c := l.Credential(right.Account, []byte(secret)); c[0] == want[0] && c[1] == want[1] {
			return secret
		}
	}
}
