//go:build linux

package main

import (
	"strings"
	"syscall"
	"testing"
)

// TestUpgradesAtTheSameTime: of several, one or more succeed, and the others are refused.
func TestUpgradesAtTheSameTime(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 4, 1)
	running := s.mainProcess(t)
	results := make(chan string)
	const commands = 3
	for range commands {
		go func() {
			code, text := s.command(t, "upgrade")
			if code == exitOK {
				text = ""
			}
			results <- text
		}()
	}
	s.signal(t, running, syscall.SIGUSR2)
	done := 0
	for range commands {
		switch text := <-results; {
		case text == "":
			done++
		case !strings.Contains(text, "under way"):
			t.Errorf("refused with %q", text)
		}
	}
	t.Logf("%d of %d commands succeeded", done, commands)
	s.log.Await(t, "event=upgrade", "upgrade complete")
	idle.notify(t)
	s.login(t)
	idle.end()
	s.awaitGenerations(t, 1)
	s.upgrade(t)
	idle.noEndings(t)
}

// TestUpgradeDuringDrain is refused, and the drain goes on.
func TestUpgradeDuringDrain(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 4, 2, "DRAIN", "1h")
	running := s.mainProcess(t)
	s.signal(t, running, syscall.SIGTERM)
	s.log.Await(t, "event=stop", "shutting down")
	if code, text := s.command(t, "upgrade"); code != exitFailure || !strings.Contains(text, "under way") {
		t.Errorf("exit %d\n%s", code, text)
	}
	idle.notify(t)
	s.signal(t, running, syscall.SIGUSR2)
	idle.notify(t)
	if left := s.generations(t); len(left) != 1 || left[0] != running {
		t.Errorf("processes %v run, want %d alone", left, running)
	}
	idle.noEndings(t)
	idle.end()
	s.awaitEnd(t)
}

// TestStopDuringUpgrade: SIGTERM ends an upgrade that is under way, and the gateway.
func TestStopDuringUpgrade(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 4, 1, "DRAIN", "1h")
	s.install(t, "exec sleep 1000")
	running := s.mainProcess(t)
	s.signal(t, running, syscall.SIGUSR2)
	s.awaitGenerations(t, 2)
	s.signal(t, running, syscall.SIGTERM)
	s.log.Await(t, "event=upgrade", "level=ERROR", "shutting down")
	s.awaitGenerations(t, 1)
	idle.notify(t)
	idle.noEndings(t)
	idle.end()
	s.awaitEnd(t)
}

// TestStopOfTheNewest ends all generations: their sessions within DRAIN, gently.
func TestStopOfTheNewest(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 4, 1, "DRAIN", "2s")
	s.upgrade(t)
	idle.notify(t)
	s.signal(t, s.mainProcess(t), syscall.SIGTERM)
	s.awaitEnd(t)
	for end, n := range idle.endings() {
		if end != outcomeClosed && end != "refused" { // a program whose connection was closed tries to connect again
			t.Errorf("%d times %s", n, end)
		}
	}
	if n := idle.endings()[outcomeClosed]; n != 4 {
		t.Errorf("%d of 4 sessions were closed gently", n)
	}
}

// TestStopOfAFormer ends that alone, within DRAIN, and its sessions gently.
func TestStopOfAFormer(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 4, 2, "DRAIN", "2s")
	former := s.mainProcess(t)
	main := s.upgrade(t)
	idle.notify(t)
	s.signal(t, former, syscall.SIGTERM)
	if left := s.awaitGenerations(t, 1); left[0] != main {
		t.Errorf("process %d runs, want %d", left[0], main)
	}
	idle.notify(t)
	if ends := idle.endings(); ends[outcomeClosed] != 4 || len(ends) != 1 {
		t.Errorf("connections in IDLE ended: %v, want 4 times %s", ends, outcomeClosed)
	}
	s.login(t)
}

// TestKillOfTheNewest: the sessions of the former go on, and the gateway can be started
// again at once.
func TestKillOfTheNewest(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 4, 2)
	former := s.mainProcess(t)
	s.signal(t, s.upgrade(t), syscall.SIGKILL)
	s.awaitGenerations(t, 1)
	idle.notify(t)
	s.recover(t)
	idle.notify(t)
	idle.noEndings(t)
	if all := s.generations(t); len(all) != 2 || all[0] != former {
		t.Errorf("processes %v run, want %d and a new one", all, former)
	}
}
