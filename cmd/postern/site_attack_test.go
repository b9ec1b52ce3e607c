//go:build linux

package main

import (
	"testing"
)

// TestSiteUnderAttack: during an attack at all gateways at once, users log in at any of
// them, and the attackers get no more guesses than at one gateway, but for one at each
// other gateway. That holds whatever happens to the engine and to the gateways.
func TestSiteUnderAttack(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, siteAccounts())
	for i := range loginAccounts {
		s.login(t, i%3, i)
	}
	users := s.startUsers(t)
	attack := s.startAttack(t, "all gateways count together")
	attack.awaitGuesses(t, 400)
	users.check(t)
	attack.check(t)
}
