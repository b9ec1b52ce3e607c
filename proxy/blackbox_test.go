//go:build linux

package proxy

import (
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

// The black-box suite: a client alone, which knows nothing of what it talks to,
// plays every case of testdata/blackbox against a whole Server in front of a
// real Dovecot, and against a real Dovecot without anything in front. The second
// is the check of the cases themselves: a front must look like what it fronts.
// Where it must be stricter than Dovecot, or does by design what Dovecot does
// not, the case is in a file whose name ends in -gate; each says why.

const (
	// blackboxPlayers is how many cases are played at once. Most of them wait for
	// Dovecot, which takes half a second to deny a login.
	blackboxPlayers = 16
	// blackboxPatience is for one step of a case, on a machine that is busy.
	blackboxPatience = 30 * time.Second
	// blackboxVictim is an account that hostile cases try to smuggle a login for,
	// with its right password.
	blackboxVictim = "victim"
)

// blackbox is one of the two things that the cases are played against.
type blackbox struct {
	dovecot *mailtest.Dovecot
	doors   map[mailtest.Listener]string

	mu       sync.Mutex
	attempts []Attempt // that the gate has settled
}

// blackboxSettings keep Dovecot from starting a process for each connection, which
// is most of what a case costs.
const blackboxSettings = `
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
`

// blackboxDovecot starts a Dovecot with the accounts that the cases know, and with
// more settings.
func blackboxDovecot(t *testing.T, settings string) *blackbox {
	t.Helper()
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Settings: blackboxSettings + settings, Accounts: append(mailtest.DovecotAccounts(),
		standin.Account{Name: blackboxVictim, Secret: "victimpass"},
		// One for each case that makes a mailbox: Dovecot may find one it is
		// just making for somebody else.
		standin.Account{Name: "piper", Secret: "pass"},
		standin.Account{Name: "storer", Secret: "pass"},
		standin.Account{Name: "hoarder", Secret: "pass"},
		standin.Account{Name: "idler", Secret: "pass"},
		standin.Account{Name: "maildrop", Secret: "pass", Messages: standin.Samples()},
	)})
	return blackboxBare(d)
}

// blackboxBare is a Dovecot with nothing in front.
func blackboxBare(d *mailtest.Dovecot) *blackbox {
	return &blackbox{dovecot: d, doors: map[mailtest.Listener]string{
		{Protocol: "imap"}: d.IMAP, {Protocol: "imap", TLS: true}: d.IMAPS,
		{Protocol: "pop3"}: d.POP3, {Protocol: "pop3", TLS: true}: d.POP3S,
	}}
}

// blackboxGate starts a Dovecot and a gate in front of it, which knows of it
// what its probe has found, and limits logins as p says. It has login slots for
// all players, though they are strangers: who has to wait for one is gone when he
// has said no more.
func blackboxGate(t *testing.T, p limiter.Policy, settings string) *blackbox {
	t.Helper()
	b := blackboxDovecot(t, settings)
	b.doors = map[mailtest.Listener]string{}
	backends := map[string]*Backends{}
	for name, addr := range map[string]string{"imap": b.dovecot.IMAPProxy, "pop3": b.dovecot.POP3Proxy} {
		backends[name] = NewBackends(protocols[name], BackendConfig{Addrs: []string{addr}, Logins: 4 * blackboxPlayers})
		backends[name].probe(t.Context(), backends[name].all[0])
	}
	for _, cleartext := range []bool{false, true} {
		s := newTestServer(t, backends["imap"])
		s.Limiter = newLimiter(t, p)
		s.Backends, s.CleartextLogin, s.Settled = backends, cleartext, b.settled
		for name, protocol := range protocols {
			door := Listener{Name: name, Protocol: protocol, Config: b.dovecot.Certificate.Server()}
			b.doors[mailtest.Listener{Protocol: name, Cleartext: cleartext}] = serve(t, s, door)
			door.Name, door.TLS = name+"s", Implicit
			b.doors[mailtest.Listener{Protocol: name, TLS: true, Cleartext: cleartext}] = serve(t, s, door)
		}
	}
	return b
}

func (b *blackbox) settled(a Attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempts = append(b.attempts, a)
}

// dial connects to the door from an address of the case's own.
func (b *blackbox) dial(t *testing.T, door mailtest.Listener, from netip.Addr) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := dialer.DialContext(t.Context(), "tcp", b.doors[door])
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// blackboxClient is the address of the client of the case with the given number.
func blackboxClient(number int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 20, byte(number / 250), byte(number%250) + 1})
}

// play plays all scripts. The tests do not call t.Parallel because that would
// play as many at once as there are processors, which have nothing to do.
func (b *blackbox) play(t *testing.T, scripts []mailtest.Script) {
	next := make(chan int)
	var players sync.WaitGroup
	for range blackboxPlayers {
		players.Go(func() {
			for i := range next {
				t.Run(scripts[i].Name, func(t *testing.T) {
					client := b.dial(t, scripts[i].Listener, blackboxClient(i))
					scripts[i].Play(t, mailtest.Endpoints{Client: client, Timeout: blackboxPatience})
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

// readBlackbox returns the cases, and those that only the gate is to be tried with.
func readBlackbox(t *testing.T) (both, gateOnly []mailtest.Script) {
	t.Helper()
	for _, s := range readScripts(t, filepath.Join("testdata", "blackbox", "*.dlg")) {
		if file, _, _ := strings.Cut(s.Name, "/"); strings.HasSuffix(file, "-gate") {
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
	b := blackboxDovecot(t, "")
	b.play(t, append(cases, blackboxSecrets(t, b.dovecot.Accounts)...))
	t.Run("challenges", b.challenges)
	t.Run("TLS only", b.tlsOnly)
}

func TestBlackboxGate(t *testing.T) {
	t.Parallel()
	cases, gateOnly := readBlackbox(t)
	b := blackboxGate(t, limiter.Policy{}, "")
	defer b.explain(t)
	cases = append(cases, gateOnly...)
	cases = append(cases, blackboxSecrets(t, b.dovecot.Accounts)...)
	b.play(t, cases)
	t.Run("challenges", b.challenges)
	t.Run("TLS only", b.tlsOnly)
	b.checkAttempts(t, cases)
	b.checkLog(t, cases)
}
