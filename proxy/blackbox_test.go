//go:build linux

package proxy

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// A client that cannot see what it talks to plays every script of testdata/blackbox,
// against a Server in front of a real Dovecot and against a real Dovecot alone. The
// second run checks the scripts: a proxy must behave like what is behind it. Where it
// is stricter than Dovecot, or differs by design, the script is in a file whose name
// ends in -proxy, and a comment there says why.

const (
	// blackboxParallel is how many scripts are played at once. Most of them wait for
	// Dovecot, which takes half a second to deny a login.
	blackboxParallel = 16
	// blackboxVictim is an account for which hostile scripts try to smuggle a login,
	// with its right password.
	blackboxVictim = "victim"
)

// blackboxTarget is what the scripts are played against.
type blackboxTarget struct {
	dovecot  *mailtest.Dovecot
	addrs    map[mailtest.Listener]string
	limiters []*limiter.Limiter // of the proxy

	mu       sync.Mutex
	attempts []Attempt // that the proxy has settled
}

// reuseProcesses keeps Dovecot from starting processes for each connection, which would
// be most of the cost of a case.
const reuseProcesses = `
service imap-login {
  service_count = 0
  process_min_avail = 1
  client_limit = 500
}
service pop3-login {
  service_count = 0
  process_min_avail = 1
  client_limit = 500
}
service imap {
  service_count = 100
  process_limit = 200
}
service pop3 {
  service_count = 100
  process_limit = 200
}
`

// newBlackboxDovecot starts a Dovecot with the accounts of the scripts, and with more
// settings.
func newBlackboxDovecot(t *testing.T, settings string) *blackboxTarget {
	t.Helper()
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Settings: reuseProcesses + settings, Accounts: append(mailtest.DovecotAccounts(),
		standin.Account{Name: blackboxVictim, Secret: "victimpass"},
		// Each script that makes a mailbox has an account of its own: Dovecot may find
		// a mailbox that it is making for another session.
		standin.Account{Name: "piper", Secret: "pass"},
		standin.Account{Name: "storer", Secret: "pass"},
		standin.Account{Name: "hoarder", Secret: "pass"},
		standin.Account{Name: "idler", Secret: "pass"},
		standin.Account{Name: "maildrop", Secret: "pass", Messages: standin.Samples()},
	)})
	return withoutProxy(d)
}

// withoutProxy is a Dovecot with nothing in front.
func withoutProxy(d *mailtest.Dovecot) *blackboxTarget {
	return &blackboxTarget{dovecot: d, addrs: map[mailtest.Listener]string{
		{Protocol: "imap"}: d.IMAP, {Protocol: "imap", TLS: true}: d.IMAPS,
		{Protocol: "pop3"}: d.POP3, {Protocol: "pop3", TLS: true}: d.POP3S,
	}}
}

// newBlackboxProxy starts a Dovecot and a proxy in front of it, which has probed it and
// limits logins by the policy p. There are login slots for all clients, though they are
// strangers: one that closes while it waits for a slot makes no attempt. On a busy machine
// no client may run out of time.
func newBlackboxProxy(t *testing.T, p limiter.Policy, settings string) *blackboxTarget {
	t.Helper()
	b := newBlackboxDovecot(t, settings)
	b.addrs = map[mailtest.Listener]string{}
	backends := map[string]*Backends{}
	for name, addr := range map[string]string{"imap": b.dovecot.IMAPProxy, "pop3": b.dovecot.POP3Proxy} {
		backends[name] = NewBackends(protocols[name], BackendConfig{Addrs: []string{addr}, Logins: 4 * blackboxParallel})
		probeUntilUp(t, backends[name])
	}
	for _, cleartext := range []bool{false, true} {
		s := newServer(t, backends["imap"])
		s.Limiter = newLimiter(t, p)
		b.limiters = append(b.limiters, s.Limiter)
		s.Timeouts.Login, s.Timeouts.Handshake = time.Hour, time.Hour
		s.Backends, s.CleartextLogin, s.Settled = backends, cleartext, b.onSettled
		for name, protocol := range protocols {
			listener := Listener{Name: name, Protocol: protocol, Config: b.dovecot.Certificate.Server()}
			b.addrs[mailtest.Listener{Protocol: name, Cleartext: cleartext}] = serve(t, s, listener)
			listener.Name, listener.TLS = name+"s", Implicit
			b.addrs[mailtest.Listener{Protocol: name, TLS: true, Cleartext: cleartext}] = serve(t, s, listener)
		}
	}
	return b
}

// probeUntilUp probes the only backend until it answers.
func probeUntilUp(t *testing.T, b *Backends) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), realTimeout)
	defer cancel()
	for b.all[0].offer.Load() == nil {
		if b.probe(ctx, b.all[0]); ctx.Err() != nil {
			t.Fatalf("probe: %+v", b.Stats())
		}
	}
}

func (b *blackboxTarget) onSettled(a Attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempts = append(b.attempts, a)
}

// dial connects to the listener from an address of the script's own. A login from there
// was accepted before, so that a handshake waits for its slot for as long as it takes; the
// account of that login is in no script.
func (b *blackboxTarget) dial(t *testing.T, listener mailtest.Listener, from netip.Addr) net.Conn {
	t.Helper()
	for _, l := range b.limiters {
		ticket := l.Ask(time.Now(), limiter.Attempt{Addr: from, Account: "known"})
		ticket.Settle(time.Now(), limiter.Accepted)
	}
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := dialer.DialContext(t.Context(), "tcp", b.addrs[listener])
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// clientAddrOf is the address of the client of the script with the given number.
func clientAddrOf(number int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 20, byte(number / 250), byte(number%250) + 1})
}

// runScripts plays all scripts. They do not call t.Parallel: that would play as many at
// once as there are processors, which have little to do.
func (b *blackboxTarget) runScripts(t *testing.T, scripts []mailtest.Script) {
	next := make(chan int)
	var players sync.WaitGroup
	for range blackboxParallel {
		players.Go(func() {
			for i := range next {
				t.Run(scripts[i].Name, func(t *testing.T) {
					client := b.dial(t, scripts[i].Listener, clientAddrOf(i))
					scripts[i].Play(t, mailtest.Endpoints{Client: client, Timeout: realTimeout})
				})
			}
		})
	}
	for i := range scripts {
		next <- i
	}
	close(next)
	players.Wait()
}

// readBlackbox returns the scripts for both targets, and those for the proxy alone.
func readBlackbox(t *testing.T) (both, gateOnly []mailtest.Script) {
	t.Helper()
	for _, s := range readScripts(t, filepath.Join("testdata", "blackbox", "*.dlg")) {
		if file, _, _ := strings.Cut(s.Name, "/"); strings.HasSuffix(file, "-proxy") {
			gateOnly = append(gateOnly, s)
		} else {
			both = append(both, s)
		}
	}
	return both, gateOnly
}

func TestBlackboxDovecot(t *testing.T) {
	t.Parallel()
	cases, _ := readBlackbox(t)
	b := newBlackboxDovecot(t, "")
	b.runScripts(t, append(cases, passwordScripts(t, b.dovecot.Accounts)...))
	t.Run("challenges", b.testChallenges)
	t.Run("TLS only", b.testNonTLSInput)
}

func TestBlackboxProxy(t *testing.T) {
	t.Parallel()
	cases, gateOnly := readBlackbox(t)
	b := newBlackboxProxy(t, limiter.Policy{KnownTTL: time.Hour}, "")
	defer b.logFailures(t)
	cases = append(cases, gateOnly...)
	cases = append(cases, passwordScripts(t, b.dovecot.Accounts)...)
	b.runScripts(t, cases)
	t.Run("challenges", b.testChallenges)
	t.Run("TLS only", b.testNonTLSInput)
	b.checkAttempts(t, cases)
	b.checkDovecotLog(t, cases)
}
