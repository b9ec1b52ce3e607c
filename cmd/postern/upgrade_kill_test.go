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
	var faults []fault
	for _, action := range []string{killMain, killNext} {
		for n := range mainMessages {
			faults = append(faults, fault{sender: "main", n: n + 1, action: action})
		}
		for n := range nextMessages {
			faults = append(faults, fault{sender: "next", n: n + 1, action: action})
		}
	}
	for _, f := range faults {
		name := map[string][]string{"main": mainMessages, "next": nextMessages}[f.sender][f.n-1]
		t.Run(f.action+"/"+name, func(t *testing.T) {
			t.Parallel()
			s, idle := startWithIdleClients(t, 2, 3, "DRAIN", "1ms")
			f.main = s.mainProcess(t)
			s.install(t, f.script())
			s.signal(t, f.main, syscall.SIGUSR2)
			s.log.Await(t, fmt.Sprintf("fault=%q", f))
			s.install(t, "")
			if f.action == killNext && name != "committed" {
				s.log.Await(t, "event=upgrade", "upgrade failed")
			}
			s.recover(t)
			idle.notify(t)
			if f.action == killNext {
				idle.noEndings(t)
			}
			s.upgrade(t)
			idle.notify(t)
			s.checkRestart(t)
			idle.notify(t)
		})
	}
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
