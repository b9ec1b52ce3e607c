//go:build linux

package main

import (
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// mailServer is a stand-in IMAP server that counts the denied passwords which the
// gateway let through to it.
type mailServer struct {
	*standin.Server

	mu     sync.Mutex
	denied map[guess]int
	before func(guess) // called before a login is answered; may be nil
}

// guess says from where and at which account a password was tried.
type guess struct {
	source  netip.Addr
	account string
}

// newMailServer runs a mail server until the test ends.
func newMailServer(t *testing.T, accounts []standin.Account) *mailServer {
	t.Helper()
	m := &mailServer{denied: map[guess]int{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.Server, err = standin.ServeIMAP(ln, append(accounts, testbed.Account), standin.Options{ProxyHeader: true, Login: m.login})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// login counts a denied login.
func (m *mailServer) login(l standin.Login) {
	g := guess{l.Peer.Client.Addr(), l.Account}
	m.mu.Lock()
	before := m.before
	if !l.Accepted {
		m.denied[g]++
	}
	m.mu.Unlock()
	if before != nil {
		before(g)
	}
}

// onLogin calls before for every login from now on, before it is answered.
func (m *mailServer) onLogin(before func(guess)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = before
}

// denials returns how many passwords were denied so far.
func (m *mailServer) denials() map[guess]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.denied)
}

// sum adds up the denials whose key, which of returns, is the same.
func sum[K comparable](denials map[guess]int, of func(guess) K) map[K]int {
	all := map[K]int{}
	for g, n := range denials {
		all[of(g)] += n
	}
	return all
}

// bySource and byAccount are keys for sum.
func bySource(g guess) netip.Addr { return g.source }
func byAccount(g guess) string    { return g.account }

// address returns the address 127.net.x.y with the number i.
func address(net byte, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, net, byte(i / 250), byte(1 + i%250)})
}
