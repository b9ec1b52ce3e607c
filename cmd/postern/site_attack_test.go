//go:build linux

package main

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/bench/client"
	"postern/cmd/postern/internal/monitor"
)

// roundGuesses is how many connections of attackers a round has at least after something
// has happened, so that its limits are reached.
const roundGuesses = 120

// TestSiteUnderAttack: during an attack at all gateways at once, users log in at any of
// them, and the attackers get no more guesses than at one gateway, but for one at each
// other gateway. That holds whatever happens to the engine and to the gateways.
func TestSiteUnderAttack(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, slices.Concat(siteAccounts(), newcomerAccounts()))
	s.makeKnown(t)
	users := s.startUsers(t)
	attack := s.startAttack(t, "all gateways count together")
	attack.awaitGuesses(t, roundGuesses)
	for _, step := range []struct {
		name string
		do   func(*testing.T, *siteUsers, *siteAttack)
		more func(tokens int) int
	}{
		{"the engine is killed", s.killEngine, s.alone},
		{"the engine hangs", s.stopEngine, s.alone},
		{"the engine loses everything", s.flushEngine, s.shared},
		{"a gateway is cut off", s.cutOff, s.divided},
		{"a gateway is killed", s.killGateway, s.restarted},
		{"a gateway is upgraded", s.upgradeGateway, s.restarted},
	} {
		begin := time.Now()
		attack.next(step.name, step.more)
		step.do(t, users, attack)
		t.Logf("%s: %v", step.name, time.Since(begin).Round(time.Millisecond))
	}
	users.check(t)
	attack.check(t)
}

// makeKnown logs all accounts in once, each at one of the gateways.
func (s *site) makeKnown(t *testing.T) {
	t.Helper()
	var logins sync.WaitGroup
	for gateway := range s.gateways {
		logins.Go(func() {
			for i := gateway; i < siteSize; i += len(s.gateways) {
				s.login(t, gateway, i)
			}
		})
	}
	logins.Wait()
}

// divided are the additional guesses at gateways of which one is cut off from the engine:
// it has its part of each bucket for itself.
func (s *site) divided(tokens int) int { return s.shared(tokens) + max(1, tokens/len(s.gateways)) }

// alone are the additional guesses at gateways that all lose the engine. Until they notice,
// each may let its part of a bucket through without knowing of the others, and then the same
// part of what it takes to be left.
func (s *site) alone(tokens int) int { return s.shared(tokens) + tokens - tokens/len(s.gateways) }

// restarted are the additional guesses at gateways of which one is another process now.
func (s *site) restarted(tokens int) int { return s.shared(tokens) + overshoot }

// killEngine kills the engine, which comes back empty.
func (s *site) killEngine(t *testing.T, _ *siteUsers, attack *siteAttack) {
	s.loseEngine(t, attack, s.engine.Kill, s.engine.Start)
}

// loseEngine makes the engine unusable, and usable again once each gateway counts alone.
func (s *site) loseEngine(t *testing.T, attack *siteAttack, begin, end func()) {
	attack.awaitGuesses(t, roundGuesses/10)
	begin()
	s.awaitAlone(t, 0, 1, 2)
	attack.awaitGuesses(t, roundGuesses)
	end()
	s.awaitShared(t)
	attack.awaitGuesses(t, roundGuesses)
}

// stopEngine suspends the engine: its connections stay open, and nothing is answered.
func (s *site) stopEngine(t *testing.T, _ *siteUsers, attack *siteAttack) {
	defer s.engine.Continue() // else it would never end after a failure
	s.loseEngine(t, attack, s.engine.Stop, s.engine.Continue)
}

// flushEngine removes everything from the engine.
func (s *site) flushEngine(t *testing.T, _ *siteUsers, attack *siteAttack) {
	attack.awaitGuesses(t, roundGuesses/10)
	s.engine.Do("FLUSHALL")
	attack.awaitGuesses(t, roundGuesses)
	s.awaitShared(t)
	for _, g := range s.gateways {
		if n := g.logged("mode=" + string(monitor.Alone)); n > 2 {
			t.Errorf("a gateway counted alone %d times, want 2: an engine that is empty can be used", n)
		}
	}
}

// cutOff drops all packets between one gateway and the engine for a while. Users who are new
// on one side are known on both afterwards.
func (s *site) cutOff(t *testing.T, _ *siteUsers, attack *siteAttack) {
	const apart = 2
	attack.awaitGuesses(t, roundGuesses/10)
	s.network.partition(t, apart)
	s.awaitAlone(t, apart)
	attack.awaitGuesses(t, roundGuesses)
	inside, outside := s.newcomer(t, apart), s.newcomer(t, 0)
	s.network.heal(t, apart)
	s.awaitShared(t)
	s.awaitKnown(t, 0, inside)
	s.awaitKnown(t, apart, outside)
	attack.awaitGuesses(t, roundGuesses)
}

// killGateway kills one gateway and starts it again. It knows what the others know within
// five seconds of its start.
func (s *site) killGateway(t *testing.T, users *siteUsers, attack *siteAttack) {
	const killed = 1
	g := s.gateways[killed]
	attack.awaitGuesses(t, roundGuesses)
	users.dead.Store(killed)
	g.signal(t, g.mainProcess(t), syscall.SIGKILL)
	g.awaitEnd(t)
	late := s.newcomer(t, 0)
	g.start(t)
	begin := time.Now()
	users.dead.Store(nobody)
	s.awaitKnown(t, killed, late)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("a gateway knew what the others know after %v, want at most 5 s", took)
	} else {
		t.Logf("a gateway knew what the others know %v after its start", took.Round(time.Millisecond))
	}
	s.awaitShared(t)
	attack.awaitGuesses(t, roundGuesses)
}

// upgradeGateway upgrades one gateway, whose sessions go on.
func (s *site) upgradeGateway(t *testing.T, _ *siteUsers, attack *siteAttack) {
	const upgraded = 0
	var sessions []*client.Session
	for _, d := range s.dialers[upgraded] {
		session, err := d.Dial(t.Context(), loginSource(0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.Login(loginAccount(0), loginSecret, client.Login); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, session)
	}
	attack.awaitGuesses(t, roundGuesses/2)
	s.gateways[upgraded].upgrade(t)
	s.awaitShared(t)
	attack.awaitGuesses(t, roundGuesses/2)
	for _, session := range sessions {
		if err := session.Noop(); err != nil {
			t.Errorf("a session that an upgrade must not end: %v", err)
		}
		if err := session.Logout(); err != nil {
			t.Error(err)
		}
	}
	s.awaitKnown(t, upgraded, s.newcomer(t, 1))
	s.awaitKnown(t, 1, s.newcomer(t, upgraded))
}
