//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postern/bench/client"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/testbed"
)

// mustRun runs a command that must succeed and returns what it prints.
func (s *supervisor) mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, text := s.command(t, args...)
	if code != exitOK {
		t.Fatalf("postern %s: exit %d\n%s", strings.Join(args, " "), code, text)
	}
	return text
}

// tryFrom logs the account of testbed in and out from an address.
func (s *supervisor) tryFrom(source netip.Addr) error {
	return logInAndOut(dialers(s)[0], source, testbed.Account.Name, testbed.Account.Secret)
}

// inForce lists the decisions.
func (s *supervisor) inForce(t *testing.T) (all []decisions.Decision) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.mustRun(t, "decisions", "-json")), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDecisionsOutlive restarts, upgrades and crashes, and end by hand.
func TestDecisionsOutlive(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil)
	s.start(t)
	blocked, neighbour, allowed := address(60, 7), address(60, 500), address(61, 9)
	s.mustRun(t, "block", "-force", blocked.String()+"/24", "-for", "2h", "-comment", "bots")
	s.mustRun(t, "block", "-force", allowed.String()+"/24")
	s.mustRun(t, "allow", allowed.String(), "-for", "forever")
	check := func(when string) {
		t.Helper()
		if err := s.tryFrom(blocked); err == nil {
			t.Errorf("%s: a blocked client has logged in", when)
		}
		for name, source := range map[string]netip.Addr{"of another network": neighbour, "that is allowed": allowed} {
			if err := s.tryFrom(source); err != nil {
				t.Errorf("%s: a client %s: %v", when, name, err)
			}
		}
		if all := s.inForce(t); len(all) != 3 || all[2].Comment != "bots" || all[2].By == "" {
			t.Errorf("%s: got %+v in force, want three decisions", when, all)
		}
	}
	check("at first")
	s.upgrade(t)
	check("after an upgrade")
	s.stop(t)
	s.start(t)
	check("after a restart")
	id := s.inForce(t)[2].ID
	if text := s.mustRun(t, "decisions", "-end", id); !strings.Contains(text, "ended decision "+id) {
		t.Errorf("got %q", text)
	}
	if err := s.tryFrom(blocked); err != nil {
		t.Errorf("after the end of the decision: %v", err)
	}
	if text := s.mustRun(t, "release", allowed.String()); !strings.Contains(text, "ended decision") || !strings.Contains(text, "still blocked by decision") {
		t.Errorf("release of an allowed address in a blocked network: got %q", text)
	}
	if err := s.tryFrom(allowed); err == nil {
		t.Error("a client logged in whose network is blocked, and who is no longer allowed")
	}
	s.log.Await(t, "event=decision", "kind=block", "comment=bots")
}

// TestBlockClosesSessions, in the process that accepts connections and in the former one,
// but not those of others.
func TestBlockClosesSessions(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil)
	s.start(t)
	session := func(source netip.Addr) *client.Session {
		t.Helper()
		c, err := dialers(s)[0].Dial(context.Background(), source)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if answer, err := c.Login(testbed.Account.Name, testbed.Account.Secret, client.Login); err != nil || answer != client.Accepted {
			t.Fatalf("got %v, %v", answer, err)
		}
		return c
	}
	former, stays := session(address(60, 7)), session(address(62, 1))
	s.upgrade(t)
	current := session(address(60, 8))
	code, text := s.command(t, "block", address(60, 0).String()+"/24")
	if code == exitOK || !strings.Contains(text, "known user has logged in from there in the last 24 h") || !strings.Contains(text, "-force does it all the same") {
		t.Errorf("got exit %d, %q; want the number of known users", code, text)
	}
	if text := s.mustRun(t, "block", "-force", address(60, 0).String()+"/24"); !strings.Contains(text, "closed 1 open connection") {
		t.Errorf("got %q", text)
	}
	s.log.Await(t, "connections closed", "event=decision") // by the former process
	for name, c := range map[string]*client.Session{"former": former, "current": current} {
		if err := c.Logout(); err == nil {
			t.Errorf("the session of the %s process goes on", name)
		}
	}
	if err := stays.Logout(); err != nil {
		t.Errorf("a session of another network: %v", err)
	}
}

// TestRelease: a source that is refused after its denials may log in once an operator has
// released it, or the account.
func TestRelease(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil, "LIMIT_PAIR", "2/1000h", "LIMIT_SOURCE", "4/1000h", "TARPIT_MAX", "1ms", "TRIES", "1")
	s.start(t)
	source := address(60, 7)
	guess := func() {
		t.Helper()
		for i := range 2 {
			_ = logInAndOut(dialers(s)[0], source, testbed.Account.Name, fmt.Sprint("wrong", i))
		}
		if err := s.tryFrom(source); err == nil {
			t.Fatal("the source is not refused after its denials")
		}
	}
	guess()
	text := s.mustRun(t, "explain", source.String())
	if !strings.Contains(text, "POSTERN_LIMIT_PAIR") || !strings.Contains(text, "postern release") {
		t.Errorf("explain: got\n%s", text)
	}
	s.mustRun(t, "release", source.String())
	if err := s.tryFrom(source); err != nil {
		t.Errorf("after the release of the source: %v", err)
	}
}

// TestForget: after it, the account is unknown.
func TestForget(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil)
	s.start(t)
	if err := s.tryFrom(address(60, 7)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"strangers until they log in", "nothing was known"} {
		if text := s.mustRun(t, "forget", testbed.Account.Name); !strings.Contains(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// TestWrongDecisions: each gets one line that says what was wrong.
func TestWrongDecisions(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil)
	s.start(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"block"}, exitUsage, "got 0 arguments, want one address or network"},
		{[]string{"block", "host.example"}, exitUsage, `got "host.example", want an address or a network`},
		{[]string{"block", "203.0.113.7", "-for", "soon"}, exitFailure, `for: got "soon", want a duration such as`},
		{[]string{"block", "127.0.0.1"}, exitFailure, "it has loopback addresses of the gateway itself"},
		{[]string{"allow", "203.0.113.7", "198.51.100.7"}, exitUsage, "got 2 arguments"},
		{[]string{"observe", "-for", "48h"}, exitFailure, "want at most 1d"},
		{[]string{"observe", "now"}, exitUsage, `got the argument "now", want none`},
		{[]string{"release"}, exitUsage, "want one address, network or account"},
		{[]string{"forget", "203.0.113.7"}, exitFailure, "want the name of an account"},
		{[]string{"decisions", "-end", "nosuch"}, exitFailure, "there is no such decision in force"},
	} {
		code, text := s.command(t, c.args...)
		line, rest, _ := strings.Cut(text, "\n")
		if code != c.code || !strings.Contains(line, c.want) || c.code == exitFailure && rest != "" {
			t.Errorf("postern %s: got exit %d, %q; want %d and one line with %q", strings.Join(c.args, " "), code, text, c.code, c.want)
		}
	}
	if all := s.inForce(t); len(all) != 0 {
		t.Errorf("got %+v in force", all)
	}
}

// TestObserveForAWhile: verdicts are not enforced while the decision is in force.
func TestObserveForAWhile(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil)
	s.start(t)
	source := address(60, 7)
	s.mustRun(t, "block", "-force", source.String())
	if err := s.tryFrom(source); err == nil {
		t.Fatal("a blocked client has logged in")
	}
	s.mustRun(t, "observe", "-for", "1h")
	if err := s.tryFrom(source); err != nil {
		t.Errorf("while verdicts are only observed: %v", err)
	}
	if text := s.mustRun(t, "block", "203.0.113.7"); !strings.Contains(text, "verdicts are only observed now") {
		t.Errorf("got %q, want a warning", text)
	}
	s.mustRun(t, "enforce")
	if err := s.tryFrom(source); err == nil {
		t.Error("a blocked client has logged in after enforce")
	}
}

// TestExplainOutlivesUpgrade: the next process knows why a client was refused before.
func TestExplainOutlivesUpgrade(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil)
	s.start(t)
	source := address(60, 7)
	_ = logInAndOut(dialers(s)[0], source, testbed.Account.Name, "wrong")
	for _, when := range []string{"before", "after"} {
		if text := strings.ReplaceAll(s.mustRun(t, "explain", source.String()), "\n", " "); !strings.Contains(text, "a mail server denied a login to the account "+testbed.Account.Name) {
			t.Errorf("%s the upgrade: got\n%s", when, text)
		}
		if when == "before" {
			s.upgrade(t)
		}
	}
}
