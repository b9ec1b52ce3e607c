package explain

import (
	"strings"
	"testing"
	"time"

	"postern/limiter"
)

// testJA4 is the TLS fingerprint of clients that are refused.
const testJA4 = "t13d181100_85036bcba153_d41ae481755e"

func TestExplainJA4OfAttack(t *testing.T) {
	const fact = "attackers use the TLS fingerprint " + testJA4 + " of this client"
	f := newFixture()
	f.refuse(3*time.Minute, "abcdef-1", "192.0.2.7", "anna", limiter.RuleGlobal)
	for _, attack := range []bool{false, true} {
		f.inspect = func(a limiter.Attempt) limiter.Inspection {
			return limiter.Inspection{AttackJA4: attack && a.JA4 == testJA4}
		}
		if got := text(f.explain(t, "abcdef-1")); strings.Contains(strings.ToLower(got), strings.ToLower(fact)) != attack {
			t.Errorf("attack %v: got\n%s", attack, got)
		}
	}
}
