//go:build linux

package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
)

// TestServiceUpgrade upgrades by a reload, twice. Sessions go on, systemd supervises
// the new main process, and a stop ends all.
func TestServiceUpgrade(t *testing.T) {
	s := newService(t, "WatchdogSec=1\n")
	s.systemctl(t, "start", "postern")
	var sessions []*testbed.Client
	for range 2 {
		sessions = append(sessions, s.login(t))
		s.upgrade(t)
	}
	sessions = append(sessions, s.login(t))
	for _, c := range sessions {
		c.Say("b NOOP", "b OK")
	}
	if got := s.processes(t); len(got) != 3 {
		t.Errorf("processes: got %v, want 3", got)
	}
	for range 3 {
		s.awaitWatchdog(t)
	}
	if got := s.property(t, "NRestarts"); got != "0" {
		t.Errorf("restarts: got %s, want 0", got)
	}

	s.systemctl(t, "stop", "postern")
	s.await(t, "ActiveState", func(string) bool { return len(s.processes(t)) == 0 })
	if got := s.property(t, "Result"); got != "success" {
		t.Errorf("result: got %q, want success", got)
	}
	s.refused(t, "993")
	if got := s.warnings(); got != nil {
		t.Errorf("systemd warns:\n%s", got)
	}
}

// TestServiceEndsFormer checks that the end of a former process changes nothing.
func TestServiceEndsFormer(t *testing.T) {
	s := newService(t, "")
	s.systemctl(t, "start", "postern")
	c := s.login(t)
	former := s.property(t, "MainPID")
	s.upgrade(t)
	main := s.property(t, "MainPID")
	c.Say("b LOGOUT", "b OK")
	s.log.Await(t, "the last session of this process has ended")
	s.await(t, "SubState", func(string) bool { return !slices.Contains(s.processes(t), former) })
	s.login(t).Say("b NOOP", "b OK")
	if got := s.property(t, "MainPID"); got != main {
		t.Errorf("main process: got %s, want %s", got, main)
	}
}

// TestServiceCrashDuringUpgrade kills the main process while it hands over. systemd
// starts another one, and the process that was to take over ends.
func TestServiceCrashDuringUpgrade(t *testing.T) {
	s := newService(t, "RestartSec=0\n")
	gate := s.newGate(t)
	s.systemctl(t, "start", "postern")
	s.installAs(t, "postern-real")
	s.replace(t, "postern", []byte("#!/bin/sh\ntest -z \"$HANDOVER_FD\" || read line </etc/gate\nexec postern-real \"$@\"\n"))
	s.systemctl(t, "reload", "--no-block", "postern")
	s.log.Await(t, "upgrade begins")
	s.crash(t)
	gate.WriteString("\n")
	s.log.Await(t, "the service manager starts another one")
	main := s.property(t, "MainPID")
	s.await(t, "SubState", func(string) bool { return slices.Equal(s.processes(t), []string{main}) })
	s.login(t).Say("b NOOP", "b OK")
}

// gated are settings with which systemd starts no main process until the test writes a
// line to the pipe that newGate returns.
const gated = "RestartSec=0\nExecStartPre=+/bin/sh -c 'read line </etc/gate'\n"

// newGate returns a pipe, for systemd and the user postern /etc/gate.
func (s *service) newGate(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(s.dir, "etc/gate")
	if err := errors.Join(syscall.Mkfifo(path, 0o600), os.Chown(path, posternUser, posternUser)); err != nil {
		t.Fatal(err)
	}
	gate, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gate.Close() })
	return gate
}

// connectBeforeStart connects to IMAPS while systemd waits at gate, opens that, and
// returns the connection once it is served.
func (s *service) connectBeforeStart(t *testing.T, gate *os.File) *testbed.Client {
	t.Helper()
	s.await(t, "SubState", func(state string) bool { return state == "start-pre" })
	c, err := net.Dial("tcp", s.addr("993"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gate.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	served := testbed.NewClient(t, tls.Client(c, s.site.Certificate.Client()))
	served.Until("OK")
	s.await(t, "SubState", func(state string) bool { return state == "running" })
	return served
}

// TestServiceCrashAfterUpgrade kills the main process while a former one has a
// session. Connections wait for the next main process, the session goes on, and the next
// stop ends it.
func TestServiceCrashAfterUpgrade(t *testing.T) {
	s := newService(t, gated)
	gate := s.newGate(t)
	gate.WriteString("\n")
	s.configure(t, prefix+"ADMIN_LISTEN=unix:/run/postern/admin.sock")
	s.systemctl(t, "start", "postern")
	c := s.login(t)
	s.upgrade(t)
	s.healthy(t)
	s.systemctl(t, "kill", "--signal=KILL", "--kill-whom=main", "postern")
	s.connectBeforeStart(t, gate).Login()
	s.healthy(t)
	c.Say("b NOOP", "b OK")
	if got := s.property(t, "NRestarts"); got != "1" {
		t.Errorf("restarts: got %s, want 1", got)
	}
	s.await(t, "SubState", func(string) bool { return s.generations(t) == 2 })
	s.upgrade(t)
	c.Say("b NOOP", "b OK")
	s.systemctl(t, "stop", "postern")
	if _, err := c.ReadLine(); !errors.Is(err, io.EOF) {
		t.Errorf("session of a former process after a stop: got %v, want %v", err, io.EOF)
	}
	s.await(t, "ActiveState", func(string) bool { return len(s.processes(t)) == 0 })
}

// generations is how many processes with sessions postern status lists, and the main one.
func (s *service) generations(t *testing.T) int {
	t.Helper()
	code, output := s.run(t, "env", prefix+"ENV_FILE=/etc/postern/postern.env", "postern", "status", "-json")
	var state monitor.State
	if err := json.Unmarshal([]byte(output), &state); code != 0 || err != nil {
		t.Fatalf("postern status: exit code %d, %v\n%s", code, err, output)
	}
	n := 1
	for _, g := range state.Generations[1:] {
		if g.Sessions > 0 {
			n++
		}
	}
	return n
}

// healthy runs postern health, in the namespaces of systemd.
func (s *service) healthy(t *testing.T) {
	t.Helper()
	if code, output := s.run(t, "env", prefix+"ENV_FILE=/etc/postern/postern.env", "postern", "health"); code != 0 {
		t.Errorf("postern health: exit code %d\n%s", code, output)
	}
}

// TestServiceRestart restarts the service with another address of a listener. Meanwhile
// connections wait, and then the former address is closed.
func TestServiceRestart(t *testing.T) {
	s := newService(t, gated)
	gate := s.newGate(t)
	gate.WriteString("\n")
	s.systemctl(t, "start", "postern")
	s.configure(t, prefix+"POP3_LISTEN="+s.addr("1110"))
	s.systemctl(t, "restart", "--no-block", "postern")
	s.connectBeforeStart(t, gate).Login()
	testbed.Dial(t, s.addr("1110")).Until("+OK")
	s.refused(t, "110")
}

// TestServiceUpgradeFails installs a program that cannot take over. The reload fails, and
// the main process goes on.
func TestServiceUpgradeFails(t *testing.T) {
	s := newService(t, "")
	s.systemctl(t, "start", "postern")
	main := s.property(t, "MainPID")
	c := s.login(t)
	s.installAs(t, "postern-real")
	s.replace(t, "postern", []byte("#!/bin/sh\ntest -z \"$HANDOVER_FD\" || exit 1\nexec postern-real \"$@\"\n"))
	if code, output := s.run(t, "systemctl", "reload", "postern"); code == 0 {
		t.Errorf("systemctl reload: got exit code 0, want another\n%s", output)
	}
	s.log.Await(t, "postern: reload: ", "the new process ended before it served")
	if got := s.property(t, "SubState"); got != "running" {
		t.Errorf("state: got %s, want running", got)
	}
	if got := s.property(t, "MainPID"); got != main {
		t.Errorf("main process: got %s, want %s", got, main)
	}
	c.Say("b NOOP", "b OK")
	s.login(t).Say("b NOOP", "b OK")
	s.upgrade(t)
	c.Say("c NOOP", "c OK")
}

// TestServiceOfSocketUnits lets systemd bind the ports. A connection starts the
// service, and while it is stopped clients wait.
func TestServiceOfSocketUnits(t *testing.T) {
	s := newService(t, "", "sockets/postern-imap.socket", "sockets/postern-imaps.socket", "sockets/postern-pop3.socket", "sockets/postern-pop3s.socket")
	for name, port := range map[string]string{"imap": "143", "imaps": "993", "pop3": "110", "pop3s": "995"} {
		s.write(t, "etc/systemd/system/postern-"+name+".socket.d/test.conf", "[Socket]\nListenStream=\nListenStream="+s.addr(port)+"\n")
	}
	s.systemctl(t, "daemon-reload")
	s.systemctl(t, "start", "postern-imap.socket", "postern-imaps.socket", "postern-pop3.socket", "postern-pop3s.socket")
	c := s.login(t)
	s.upgrade(t)
	c.Say("b NOOP", "b OK")
	s.login(t)
	testbed.Dial(t, s.addr("110")).Until("+OK")
	s.crash(t)
	s.login(t)
	s.systemctl(t, "stop", "postern")
	s.login(t).Say("b NOOP", "b OK")
}
