//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"testing"

	"postern/bench/client"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
)

// startWithIdleClients starts a gateway with sessions in IDLE, of which each may get messages.
func startWithIdleClients(t *testing.T, sessions, messages int, more ...string) (*supervisor, *idleClients) {
	t.Helper()
	s := newSupervisor(t, idleAccounts(sessions), more...)
	s.start(t)
	return s, newIdleClients(t, s, 0, sessions, messages)
}

// login logs the account of testbed in and out at both listeners.
func (s *supervisor) login(t *testing.T) {
	t.Helper()
	for _, d := range dialers(s) {
		if err := s.tryLogin(d); err != nil {
			t.Errorf("login at %s: %v", d.Addr, err)
		}
	}
}

// tryLogin logs the account of testbed in and out.
func (s *supervisor) tryLogin(d *client.Dialer) error {
	return logInAndOut(d, address(30, 1), testbed.Account.Name, testbed.Account.Secret)
}

// noEndings fails the test if a connection in IDLE ended.
func (c *idleClients) noEndings(t *testing.T) {
	t.Helper()
	if ends := c.endings(); len(ends) > 0 {
		t.Errorf("connections in IDLE ended: %v", ends)
	}
}

// TestUpgradeBeforeDovecot: sessions with Dovecot go on.
func TestUpgradeBeforeDovecot(t *testing.T) {
	t.Parallel()
	const sessions, upgrades = 12, 2
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Accounts: idleAccounts(sessions), Settings: dovecot.Config.Settings + "disable_plaintext_auth = no\n"})
	s := newSupervisor(t, nil, "IMAP_BACKENDS", d.IMAPProxy)
	s.start(t)
	idle := newIdleClients(t, s, 0, sessions, upgrades)
	idle.deliver = func(account string, message []byte) error {
		session, err := dialers(s)[0].Dial(t.Context(), address(30, 1))
		if err != nil {
			return err
		}
		if _, err := session.Login(account, loginSecret, client.Login); err != nil {
			return err
		}
		if err := session.Upload("INBOX", int64(len(message))); err != nil {
			return err
		}
		return session.Logout()
	}
	for range upgrades {
		s.upgrade(t)
		idle.notify(t)
	}
	idle.noEndings(t)
}

// TestStatusListsGenerations, with their sessions.
func TestStatusListsGenerations(t *testing.T) {
	t.Parallel()
	s, _ := startWithIdleClients(t, 4, 0)
	former := s.mainProcess(t)
	main := s.upgrade(t)
	var all []monitor.Generation
	await(t, "the sessions of the former generation", func() bool {
		code, text := s.command(t, "status", "-json")
		var state monitor.State
		if err := json.Unmarshal([]byte(text), &state); err != nil || code != exitOK {
			t.Fatalf("exit %d, %v\n%s", code, err, text)
		}
		all = state.Generations
		return len(all) == 2 && all[1].Sessions == 4
	})
	if all[0].PID != main || all[1].PID != former || all[0].Sessions != 0 || !all[0].Until.IsZero() || all[1].Until.IsZero() {
		t.Errorf("got %+v, want process %d without sessions and process %d with 4, which end", all, main, former)
	}
}

// TestReloadAndUpgrade: SIGHUP reloads the settings, or upgrades if there is another
// program.
func TestReloadAndUpgrade(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 2, 2)
	running := s.mainProcess(t)
	s.set(t, "LIMIT_SOURCE", "20/10m")
	s.signal(t, running, syscall.SIGHUP)
	s.log.Await(t, "settings reloaded", "changed=[POSTERN_LIMIT_SOURCE]")
	idle.notify(t)
	program, err := os.ReadFile(s.program)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, s.program, program, 0o755)
	s.signal(t, running, syscall.SIGHUP)
	s.log.Await(t, "event=upgrade", "upgrade complete")
	s.awaitGenerations(t, 2)
	idle.notify(t)
	s.login(t)
	idle.noEndings(t)
}

// TestUpgradeWithOtherAddresses: the new process listens at the new addresses, and the
// old ones are closed. Sessions go on.
func TestUpgradeWithOtherAddresses(t *testing.T) {
	t.Parallel()
	s, idle := startWithIdleClients(t, 4, 2, "STATE_DIR", "off")
	before := dialers(s)
	for _, name := range []string{"imap", "imaps", "metrics"} {
		s.ports[name] = "2" + s.ports[name]
	}
	s.set(t, "IMAP_LISTEN", s.addr("imap"), "IMAPS_LISTEN", s.addr("imaps"), "METRICS_LISTEN", s.addr("metrics"))
	s.upgrade(t)
	s.login(t)
	if result := s.readMetrics(0); result != outcomeOK {
		t.Error(result)
	}
	for _, d := range before {
		await(t, d.Addr+" to be closed", func() bool { return outcome(s.tryLogin(d)) == "refused" })
	}
	idle.notify(t)
	s.upgrade(t)
	s.login(t)
	idle.notify(t)
	idle.noEndings(t)
}

// TestUpgradesLeaveNothingBehind: generations without sessions end, and the main process
// does not get more descriptors with each upgrade.
func TestUpgradesLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil)
	s.start(t)
	open := descriptors(t, s.mainProcess(t))
	for range generationsMax + 2 {
		main := s.upgrade(t)
		s.login(t)
		if left := s.awaitGenerations(t, 1); left[0] != main {
			t.Errorf("process %d runs, want %d", left[0], main)
		}
	}
	await(t, fmt.Sprintf("%d descriptors, as at the start", open), func() bool { return descriptors(t, s.mainProcess(t)) <= open })
}
