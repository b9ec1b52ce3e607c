//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// upgradeKills is how many upgrades TestKillAtAnyTime disturbs.
var upgradeKills = flagFromEnviron("UPGRADE_KILLS", 6)

// TestKillDuringUpgrade kills one of the two processes at each message of a hand-over.
// One working process is left, or a new one can be started at once. Sessions of the
// process that was not killed go on.
func TestKillDuringUpgrade(t *testing.T) {
	t.Parallel()
	sent := map[string]int{} // by sender
	for _, m := range handoverMessages {
		sent[m.sender]++
		n := sent[m.sender]
		for _, action := range []string{killMain, killNext} {
			t.Run(action+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				s, idle := startWithIdleClients(t, 2, 3, "DRAIN", "1ms")
				f := fault{sender: m.sender, n: n, action: action, main: s.mainProcess(t)}
				s.install(t, f.script())
				s.signal(t, f.main, syscall.SIGUSR2)
				s.log.Await(t, fmt.Sprintf("fault=%q kind=%d", f, m.kind))
				s.install(t, "")
				if action == killNext {
					s.awaitUpgradeEnd(t, m.name == "committed")
				}
				s.recover(t)
				idle.notify(t)
				if action == killNext {
					idle.noEndings(t)
				}
				s.upgrade(t)
				idle.notify(t)
				s.checkRestart(t)
				idle.notify(t)
			})
		}
	}
}

// awaitUpgradeEnd waits until the process that hands over has noticed that the next one has been killed. The hand-over may be
// complete before that if the next one was about to hear so; then nobody accepts connections any more.
func (s *supervisor) awaitUpgradeEnd(t *testing.T, mayBeComplete bool) {
	t.Helper()
	await(t, "the end of the upgrade", func() bool {
		return s.logged("event=upgrade", "upgrade failed") > 0 || mayBeComplete && s.logged("event=upgrade", "the process that has taken over has ended") > 0
	})
}

// recover waits until the gateway works after a crash. Like a service manager, it starts
// it again if nobody accepts connections.
func (s *supervisor) recover(t *testing.T) {
	t.Helper()
	await(t, "a working process", func() bool {
		for _, d := range dialers(s) {
			if err := s.tryLogin(d); err != nil {
				if outcome(err) == "refused" {
					s.tryStart(t) // it fails where the next process goes on alone, but was not ready
				}
				return false
			}
		}
		return true
	})
}

// checkRestart fails the test unless all processes end and what is in the state directory
// can be used.
func (s *supervisor) checkRestart(t *testing.T) {
	t.Helper()
	for _, pid := range s.generations(t) {
		s.signal(t, pid, syscall.SIGTERM)
	}
	s.awaitEnd(t)
	s.start(t)
	s.login(t)
	if s.logged("corrupt") > 0 {
		t.Error("a state file is corrupt")
	}
}

// TestKillAtAnyTime kills one of the two processes at random moments of upgrades.
func TestKillAtAnyTime(t *testing.T) {
	t.Parallel()
	const seed = 14
	random := rand.New(rand.NewPCG(seed, seed))
	s, idle := startWithIdleClients(t, 2, upgradeKills, "DRAIN", "1ms")
	begin := time.Now()
	s.upgrade(t)
	took := time.Since(begin)
	for i := range upgradeKills {
		running := s.mainProcess(t)
		s.signal(t, running, syscall.SIGUSR2)
		<-time.After(time.Duration(random.Int64N(int64(took * 3 / 2))))
		all := s.generations(t)
		victim := all[random.IntN(len(all))]
		t.Logf("%d: process %d of %v is killed", i, victim, all)
		s.signal(t, victim, syscall.SIGKILL)
		s.recover(t)
		idle.notify(t)
	}
	s.checkRestart(t)
}
