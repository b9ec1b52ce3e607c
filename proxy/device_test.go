package proxy

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
)

// newDevicePool returns a pool whose tickets have the given keys.
func newDevicePool(keys ...byte) *devicePool {
	p := &devicePool{base: testCert.Server()}
	p.setKeys(keys...)
	return p
}

// setKeys replaces the ticket keys, the one for new tickets first. Without keys,
// crypto/tls makes its own.
func (p *devicePool) setKeys(keys ...byte) {
	var all [][32]byte
	for _, k := range keys {
		all = append(all, [32]byte{k})
	}
	if len(all) > 0 {
		p.base.SetSessionTicketKeys(all)
	}
}

// resumingClient returns a TLS client that resumes its last session.
func resumingClient(version uint16) *tls.Config {
	c := testCert.Client()
	c.MaxVersion, c.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
	return c
}

// connect makes a connection of a client, which reads a line to receive its tickets, and
// returns what the server knows of it.
func (p *devicePool) connect(t testing.TB, client *tls.Config) clientDevice {
	t.Helper()
	device, conn := p.connectOpen(t, client)
	conn.Close()
	return device
}

// connectOpen is connect for a connection that stays open. The server returns what it
// receives.
func (p *devicePool) connectOpen(t testing.TB, client *tls.Config) (clientDevice, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	devices := make(chan clientDevice, 1)
	go func() {
		defer far.Close()
		secure, device, _, err := p.handshake(far)
		if err != nil {
			t.Errorf("handshake: %v", err)
		}
		devices <- device
		_, _ = io.Copy(secure, secure)
	}()
	conn := tls.Client(near, client)
	expectEcho(t, conn)
	return <-devices, conn
}

// expectEcho sends an octet and expects it back.
func expectEcho(t testing.TB, conn net.Conn) {
	t.Helper()
	var octet [1]byte
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("write: %v", err)
	}
	if _, err := io.ReadFull(conn, octet[:]); err != nil || octet[0] != 'x' {
		t.Errorf("got %q, %v, want x", octet, err)
	}
}

// eachTLSVersion runs test with TLS 1.2 and 1.3, whose tickets differ.
func eachTLSVersion(t *testing.T, test func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { test(t, version) })
	}
}

// expectNew fails the test unless a client has a device that it has not shown.
func expectNew(t *testing.T, got clientDevice, former ...clientDevice) {
	t.Helper()
	if got.id == 0 || got.resumed {
		t.Errorf("got %+v, want a new device", got)
	}
	for _, f := range former {
		if got.id == f.id {
			t.Errorf("got device %x again, want a new one", got.id)
		}
	}
}

// expectShown fails the test unless the client has shown the device it had before.
func expectShown(t *testing.T, got, former clientDevice) {
	t.Helper()
	if want := (clientDevice{former.id, true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A client keeps its device over a chain of resumptions.
func TestResumptionKeepsDevice(t *testing.T) {
	eachTLSVersion(t, func(t *testing.T, version uint16) {
		p, client := newDevicePool(), resumingClient(version)
		first := p.connect(t, client)
		expectNew(t, first)
		for range 5 {
			expectShown(t, p.connect(t, client), first)
		}
		expectNew(t, p.connect(t, resumingClient(version)), first)
	})
}

// Devices survive the rotation of ticket keys, and not the deletion of their key.
func TestDeviceFollowsTicketKeys(t *testing.T) {
	eachTLSVersion(t, func(t *testing.T, version uint16) {
		p, client := newDevicePool(1), resumingClient(version)
		first := p.connect(t, client)
		p.setKeys(2, 1)
		expectShown(t, p.connect(t, client), first)
		p.setKeys(3, 2) // the ticket was renewed with key 2
		expectShown(t, p.connect(t, client), first)
		p.setKeys(4)
		expectNew(t, p.connect(t, client), first)
	})
}

// Gateways with the same keys read each other's devices.
func TestSharedTicketKeysShareDevices(t *testing.T) {
	eachTLSVersion(t, func(t *testing.T, version uint16) {
		one, two, other, client := newDevicePool(1), newDevicePool(1), newDevicePool(2), resumingClient(version)
		first := one.connect(t, client)
		expectShown(t, two.connect(t, client), first)
		expectShown(t, one.connect(t, client), first)
		expectNew(t, other.connect(t, client), first)
	})
}

// A session that was issued without a device resumes, and gets one then.
func TestTicketWithoutDevice(t *testing.T) {
	eachTLSVersion(t, func(t *testing.T, version uint16) {
		p, client := newDevicePool(1), resumingClient(version)
		near, far := net.Pipe()
		go func() {
			secure := tls.Server(far, p.base)
			_, _ = io.Copy(secure, secure)
		}()
		conn := tls.Client(near, client)
		expectEcho(t, conn)
		conn.Close()
		far.Close()
		first, open := p.connectOpen(t, client)
		if !open.(*tls.Conn).ConnectionState().DidResume {
			t.Error("the session was not resumed")
		}
		open.Close()
		expectNew(t, first)
		expectShown(t, p.connect(t, client), first)
	})
}

// A client that takes no tickets has no device: it can never show one.
func TestClientWithoutTicketsHasNoDevice(t *testing.T) {
	eachTLSVersion(t, func(t *testing.T, version uint16) {
		client := resumingClient(version)
		client.SessionTicketsDisabled = true
		if got := newDevicePool().connect(t, client); got != (clientDevice{}) {
			t.Errorf("got %+v, want none", got)
		}
	})
}

// alteringCache is a session cache of a client that changes its tickets.
type alteringCache struct {
	tls.ClientSessionCache
	alter func(ticket []byte) []byte
}

func (c alteringCache) Put(key string, session *tls.ClientSessionState) {
	ticket, state, err := session.ResumptionState()
	if state != nil && err == nil {
		session, _ = tls.NewResumptionState(c.alter(ticket), state)
	}
	c.ClientSessionCache.Put(key, session)
}

// A ticket that was changed or made up has no device, and the client gets a new one.
func TestForgedTicketHasNoDevice(t *testing.T) {
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(ticket []byte) []byte {
			ticket[at(len(ticket))] ^= 1
			return ticket
		}
	}
	for name, alter := range map[string]func([]byte) []byte{
		"first octet":  flip(func(int) int { return 0 }),
		"middle octet": flip(func(n int) int { return n / 2 }),
		"last octet":   flip(func(n int) int { return n - 1 }),
		"cut":          func(ticket []byte) []byte { return ticket[:len(ticket)-1] },
		"longer":       func(ticket []byte) []byte { return append(ticket, 0) },
		"one octet":    func([]byte) []byte { return []byte{0} },
		"id alone":     func([]byte) []byte { return deviceEntry(7) },
		"random": func(ticket []byte) []byte {
			rand.Read(ticket)
			return ticket
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachTLSVersion(t, func(t *testing.T, version uint16) {
				p, client := newDevicePool(), resumingClient(version)
				client.ClientSessionCache = alteringCache{client.ClientSessionCache, alter}
				first := p.connect(t, client)
				expectNew(t, p.connect(t, client), first)
			})
		})
	}
}

// ticketOf is the ticket that a client would show.
func ticketOf(t *testing.T, client *tls.Config) []byte {
	t.Helper()
	session, ok := client.ClientSessionCache.Get(client.ServerName)
	if !ok {
		t.Fatal("the client has no session")
	}
	ticket, _, err := session.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// Of several tickets in a hello, the accepted one has the device. crypto/tls stops at it.
func TestDeviceOfAcceptedTicket(t *testing.T) {
	p, a, b := newDevicePool(), resumingClient(tls.VersionTLS13), resumingClient(tls.VersionTLS13)
	first, second := p.connect(t, a), p.connect(t, b)
	ticketA, ticketB, forged := ticketOf(t, a), ticketOf(t, b), []byte("forged")
	for name, tt := range map[string]struct {
		tickets [][]byte
		resumed bool
		want    clientDevice
	}{
		"second accepted":         {[][]byte{ticketA, ticketB}, true, clientDevice{second.id, true}},
		"behind a forged one":     {[][]byte{forged, ticketA}, true, clientDevice{first.id, true}},
		"none accepted":           {[][]byte{ticketA, ticketB, forged}, false, clientDevice{}},
		"all forged, not resumed": {[][]byte{forged}, false, clientDevice{}},
	} {
		d := newDeviceTLS(p.base)
		for _, ticket := range tt.tickets {
			if _, err := d.config.UnwrapSession(ticket, tls.ConnectionState{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := d.client(tls.ConnectionState{DidResume: tt.resumed}); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}

// A config that was returned says nothing about the handshake it served, not even about
// one that failed after the ticket was read.
func TestReturnedConfigIsClean(t *testing.T) {
	eachTLSVersion(t, func(t *testing.T, version uint16) {
		p, client := newDevicePool(), resumingClient(version)
		first := p.connect(t, client)
		for range 3 {
			near, far := net.Pipe()
			failed := make(chan struct{})
			go func() {
				defer close(failed)
				if _, _, _, err := p.handshake(far); err == nil {
					t.Error("the handshake of a client that closes succeeded")
				}
			}()
			_ = tls.Client(&failingReadConn{Conn: near}, client).Handshake()
			near.Close()
			<-failed
			expectNew(t, p.connect(t, resumingClient(version)), first)
		}
		if len(p.free) != 1 {
			t.Errorf("got %d configs for handshakes one after the other, want 1", len(p.free))
		}
		if d := p.free[0]; d.shown != 0 || d.issued != 0 {
			t.Errorf("got a config with device %x, %x, want none", d.shown, d.issued)
		}
	})
}

// Each of many clients that connect at once, and resume while others connect, gets its own
// device, and connections that stay open are not disturbed.
func TestConcurrentHandshakesKeepDevicesApart(t *testing.T) {
	const clients, resumptions = 100, 6
	p := newDevicePool()
	var running sync.WaitGroup
	var mu sync.Mutex
	owners := map[clientDevice]int{}
	for n := range clients {
		running.Go(func() {
			client := resumingClient([]uint16{tls.VersionTLS12, tls.VersionTLS13}[n%2])
			first, open := p.connectOpen(t, client)
			expectNew(t, first)
			for range resumptions {
				expectShown(t, p.connect(t, client), first)
				expectEcho(t, open)
			}
			open.Close()
			mu.Lock()
			defer mu.Unlock()
			if other, taken := owners[first]; taken {
				t.Errorf("clients %d and %d have the same device", other, n)
			}
			owners[first] = n
		})
	}
	running.Wait()
	if len(p.free) > clients {
		t.Errorf("got %d configs, want at most one for each of %d clients", len(p.free), clients)
	}
}

// A burst of handshakes leaves a bounded number of configs.
func TestPoolIsBounded(t *testing.T) {
	p := newDevicePool()
	var borrowed []*deviceTLS
	for range 2 * maxFreeConfigs {
		borrowed = append(borrowed, p.borrow())
	}
	for _, d := range borrowed {
		p.release(d)
	}
	if len(p.free) != maxFreeConfigs {
		t.Errorf("got %d unused configs, want %d", len(p.free), maxFreeConfigs)
	}
}
