//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"

	"postern/bench/client"
	"postern/cmd/postern/internal/testbed"
)

// TestRestartKeepsDevices: after a stop and a start, TLS clients resume their sessions, and
// are known by their devices: an account that is closed to strangers lets them try.
func TestRestartKeepsDevices(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, nil, "LIMIT_ACCOUNT", "1/1000h", "TARPIT_MAX", "1ms")
	s.start(t)
	config := s.cert.Client()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	device := func(secret string, n int) (resumed bool, answer client.Answer) {
		t.Helper()
		session, err := (&client.Dialer{Addr: s.addr("imaps"), Protocol: client.IMAP, Security: client.TLS, TLS: config, Timeout: testbed.Patience}).Dial(context.Background(), address(80, 250*n))
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		answer, err = session.Login(testbed.Account.Name, secret, client.Login)
		if err != nil {
			t.Fatal(err)
		}
		return session.Resumed, answer
	}
	if resumed, answer := device(testbed.Account.Secret, 0); resumed || answer != client.Accepted {
		t.Fatalf("first login: resumed %t, answer %d", resumed, answer)
	}
	for i := range 3 {
		s.stop(t)
		s.start(t)
		strangers := &guesser{s: s, dialer: dialers(s)[0], guess: func(n int) guess { return guess{address(81, 250*(10*i+n)), testbed.Account.Name} }}
		strangers.tryMany(t, 3)
		if denied, err := strangers.try(); denied || err != nil {
			t.Errorf("the account is open to strangers: denied %t, %v", denied, err)
		}
		if resumed, answer := device(fmt.Sprint("wrong", i), 2*i+1); !resumed || answer != client.Denied {
			t.Errorf("restart %d: resumed %t, answer %d, want true and %d", i+1, resumed, answer, client.Denied)
		}
		if resumed, answer := device(testbed.Account.Secret, 2*i+2); !resumed || answer != client.Accepted {
			t.Errorf("restart %d: resumed %t, answer %d, want true and %d", i+1, resumed, answer, client.Accepted)
		}
	}
}
