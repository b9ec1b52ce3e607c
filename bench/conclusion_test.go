package bench

import (
	"strings"
	"testing"
	"time"

	"postern/bench/client"
)

// times returns results of n accepted logins that took that long, and of some
// that were refused.
func times(n, refused int, took time.Duration) *results {
	r := newResults(time.Time{})
	for range n {
		r.add(time.Time{}, took, client.Accepted, nil)
	}
	for range refused {
		r.add(time.Time{}, took, client.Busy, nil)
	}
	return r
}

func TestConclusion(t *testing.T) {
	const fast, slow = 100 * time.Millisecond, 3 * time.Second
	for _, tc := range []struct {
		name               string
		before, during     *results
		attackers, guessed int
		late               time.Duration
		want               string
	}{
		{"held", times(50, 0, fast), times(200, 1, fast), 900, 0, 0, "users served 99.5 % (200 of 201 logins), 99 % of them within 100 ms (100 ms before the attack): the gateway held."},
		{"slow before and after", times(50, 0, slow), times(50, 0, slow), 900, 0, 0, "the gateway held."},
		{"a little slower", times(50, 0, fast), times(50, 0, time.Second), 900, 0, 0, "the gateway held."},
		{"refused", times(50, 0, fast), times(50, 10, fast), 900, 0, 0, "users served 83.3 % (50 of 60 logins)"},
		{"refused, conclusion", times(50, 0, fast), times(50, 10, fast), 900, 0, 0, ": the gateway did not hold, because less than 99 % were served."},
		{"too slow", times(50, 0, fast), times(50, 0, slow), 900, 0, 0, "too slowly, more than 2 times and 1s slower than before."},
		{"bad before", times(50, 10, fast), times(50, 10, fast), 900, 0, 0, "no conclusion, because only 83.3 % were served before the attack."},
		{"no user", times(50, 0, fast), times(0, 0, fast), 900, 0, 0, "no conclusion, because no user logged in"},
		{"no attacker", times(50, 0, fast), times(50, 0, fast), 0, 0, 0, "no conclusion, because there was no login of an attacker."},
		{"guessed", times(50, 0, fast), times(50, 0, fast), 900, 2, 0, "the gateway held. 2 logins of attackers were accepted"},
		{"late", times(50, 0, fast), times(50, 0, fast), 900, 0, time.Second, "The bench itself was late by 1000 ms (99 %), so latencies are doubtful"},
	} {
		r := attackResult{before: tc.before, during: tc.during, late: times(10, 0, tc.late), attackers: tc.attackers, guessed: tc.guessed}
		r.beforeServed.add(tc.before)
		r.served.add(tc.during)
		if got := r.String(); !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
