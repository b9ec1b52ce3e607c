//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/bench/client"
	"postern/cmd/postern/internal/testbed"
)

// guesser tries passwords of which none was tried before.
type guesser struct {
	s      *supervisor
	dialer *client.Dialer
	guess  func(i int) guess // from where and at which account
	tried  atomic.Int32
}

// try tries a password on a connection of its own, and reports whether it was denied.
func (g *guesser) try() (denied bool, err error) {
	i := int(g.tried.Add(1))
	from := g.guess(i)
	session, err := g.dialer.Dial(context.Background(), from.source)
	if err != nil {
		return false, err
	}
	defer session.Close()
	answer, err := session.Login(from.account, fmt.Sprintf("guess %d", i), client.Login)
	return answer == client.Denied, err
}

// reached returns how many passwords reached the mail server.
func (g *guesser) reached() (n int) {
	for _, times := range g.s.mail.denials() {
		n += times
	}
	return n
}

// TestUpgradeKeepsWhatIsSpent: an attacker has no more guesses than without an upgrade.
// They spend some before, have some under way during it, and try the others after it.
func TestUpgradeKeepsWhatIsSpent(t *testing.T) {
	t.Parallel()
	const (
		burst  = 12 // of the limit in question
		before = 4
		open   = 2
	)
	limit := fmt.Sprintf("%d/1000h", burst)
	for name, tt := range map[string]struct {
		settings []string
		guess    func(i int) guess
	}{
		"source":  {[]string{"LIMIT_SOURCE", limit, "LIMIT_PAIR", "off", "LIMIT_ACCOUNT", "off"}, func(i int) guess { return guess{address(70, 0), fmt.Sprint("user", i)} }},
		"account": {[]string{"LIMIT_ACCOUNT", limit, "LIMIT_SOURCE", "off", "LIMIT_PAIR", "off"}, func(i int) guess { return guess{address(70, 250*i), "user"} }},
		"pair":    {[]string{"LIMIT_PAIR", limit, "LIMIT_SOURCE", "off", "LIMIT_ACCOUNT", "off"}, func(int) guess { return guess{address(70, 0), "user"} }},
	} {
		for _, state := range []string{"on", "off"} {
			t.Run(name+"/state "+state, func(t *testing.T) {
				t.Parallel()
				s := newSupervisor(t, nil, append(tt.settings, "TARPIT_MAX", "1ms", "LIMIT_CONNECT", "off", "LIMIT_NETWORK", "off")...)
				if state == "off" {
					s.set(t, "STATE_DIR", "off")
				}
				s.start(t)
				g := &guesser{s: s, dialer: dialers(s)[1], guess: tt.guess}
				for range before {
					if denied, err := g.try(); !denied {
						t.Fatalf("a guess was not denied: %v", err)
					}
				}
				release := g.leaveOpen(t, open)
				s.upgrade(t)
				g.tryMany(t, 2*burst)
				if n := g.reached(); n > burst {
					t.Errorf("%d guesses reached the mail server while %d were under way, want at most %d", n, open, burst)
				}
				release()
				await(t, fmt.Sprintf("all %d guesses to be spent", burst), func() bool {
					g.tryMany(t, 1)
					return g.reached() >= burst
				})
				s.upgrade(t)
				g.tryMany(t, burst)
				if n := g.reached(); n != burst {
					t.Errorf("%d guesses reached the mail server, want %d", n, burst)
				}
			})
		}
	}
}

// tryMany tries n passwords. Each must be answered.
func (g *guesser) tryMany(t *testing.T, n int) {
	t.Helper()
	for range n {
		if _, err := g.try(); err != nil {
			t.Fatal(err)
		}
	}
}

// leaveOpen tries n passwords that the mail server does not answer until release is called,
// which waits until they are answered.
func (g *guesser) leaveOpen(t *testing.T, n int) (release func()) {
	t.Helper()
	arrived, answer := make(chan struct{}), make(chan struct{})
	var held atomic.Int32
	g.s.mail.onLogin(func(guess) {
		if held.Add(1) <= int32(n) {
			arrived <- struct{}{}
			<-answer
		}
	})
	var waiting sync.WaitGroup
	for range n {
		waiting.Go(func() {
			if denied, err := g.try(); !denied {
				t.Errorf("a guess that was under way during the upgrade was not denied: %v", err)
			}
		})
	}
	for range n {
		select {
		case <-arrived:
		case <-time.After(testbed.Patience):
			t.Fatal("a guess does not reach the mail server")
		}
	}
	return sync.OnceFunc(func() {
		close(answer)
		waiting.Wait()
	})
}

// TestUpgradeReturnsWhatIsHeld: a login that was under way during an upgrade and is
// accepted costs no guess.
func TestUpgradeReturnsWhatIsHeld(t *testing.T) {
	t.Parallel()
	const burst = 6
	s := newSupervisor(t, nil, "LIMIT_PAIR", fmt.Sprintf("%d/1000h", burst), "LIMIT_SOURCE", "off", "LIMIT_ACCOUNT", "off", "TARPIT_MAX", "1ms", "LIMIT_CONNECT", "off", "LIMIT_NETWORK", "off")
	s.start(t)
	source := netip.MustParseAddr("127.71.0.1")
	g := &guesser{s: s, dialer: dialers(s)[1], guess: func(int) guess { return guess{source, testbed.Account.Name} }}
	arrived, answer := make(chan struct{}), make(chan struct{})
	s.mail.onLogin(func(guess) {
		arrived <- struct{}{}
		<-answer
	})
	logged := make(chan error)
	go func() {
		session, err := g.dialer.Dial(context.Background(), source)
		if err == nil {
			defer session.Close()
			_, err = session.Login(testbed.Account.Name, testbed.Account.Secret, client.Login)
		}
		logged <- err
	}()
	<-arrived
	s.mail.onLogin(nil)
	s.upgrade(t)
	g.tryMany(t, 2*burst)
	if n := g.reached(); n > burst-1 {
		t.Errorf("%d guesses reached the mail server while a login was under way, want at most %d", n, burst-1)
	}
	close(answer)
	if err := <-logged; err != nil {
		t.Error(err)
	}
	await(t, "the guess that was held", func() bool {
		g.tryMany(t, 1)
		return g.reached() >= burst
	})
}
