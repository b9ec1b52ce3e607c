package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"

	"postern/limiter"
	"postern/tlsconf"
)

// This file gives each TLS client a device id: a random number in its session tickets,
// which a client that resumes its session shows again. Tickets are encrypted and
// authenticated, so only a gateway with the ticket keys can read or make one. The idea is
// the device cookie of OWASP, "Slow Down Online Guessing Attacks with Device Cookies".

// devicePrefix begins the entry with the id in the extra data of a session. The id
// follows as 8 octets, the most significant first.
const devicePrefix = "postern device "

// clientDevice is the device of a TLS client.
type clientDevice struct {
	id      limiter.Device // in the client's tickets; zero if it has none
	resumed bool           // the client has shown a ticket with id
}

// deviceTLS is a TLS config with the device and the JA4 of the one handshake that uses it.
//
// The callbacks of crypto/tls for tickets do not say which connection they are called
// for, and a config for each connection would stay in memory as long as the connection.
// So a handshake borrows a config, and the next handshake gets the same one. That is
// right for Go 1.26: a server calls WrapSession and UnwrapSession only within Handshake,
// and never sends a ticket later. A connection whose handshake is complete reads only
// Rand, Renegotiation and DynamicRecordSizingDisabled from its config, and those do not
// change.
type deviceTLS struct {
	config *tls.Config
	shown  limiter.Device // in the ticket that was decrypted last
	issued limiter.Device // in the tickets of this handshake
	ja4    string         // of the ClientHello
}

// newDeviceTLS returns a clone of base. Tickets are encrypted and decrypted with the keys
// of base, so a change of these applies.
func newDeviceTLS(base *tls.Config) *deviceTLS {
	d := &deviceTLS{config: base.Clone()}
	d.config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := base.DecryptTicket(ticket, state)
		if session != nil {
			d.shown = deviceIn(session.Extra)
		}
		return session, err
	}
	d.config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if d.issued = d.accepted(state); d.issued == 0 {
			d.issued = newDevice()
		}
		session.Extra = append(session.Extra, deviceEntry(d.issued))
		return base.EncryptTicket(state, session)
	}
	d.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		d.ja4 = tlsconf.JA4(hello)
		if base.GetConfigForClient != nil {
			return base.GetConfigForClient(hello)
		}
		return nil, nil
	}
	return d
}

// accepted is the device in the ticket that the session was resumed with, zero if there is
// none. A TLS 1.3 client may offer several tickets. They are decrypted in its order until
// one is accepted, so that is the last.
func (d *deviceTLS) accepted(state tls.ConnectionState) limiter.Device {
	if !state.DidResume {
		return 0
	}
	return d.shown
}

// client returns the client's device after the handshake.
func (d *deviceTLS) client(state tls.ConnectionState) clientDevice {
	if id := d.accepted(state); id != 0 {
		return clientDevice{id, true}
	}
	return clientDevice{d.issued, false}
}

// newDevice returns a random device, not zero.
func newDevice() limiter.Device {
	var id [8]byte
	for {
		rand.Read(id[:])
		if device := limiter.Device(binary.BigEndian.Uint64(id[:])); device != 0 {
			return device
		}
	}
}

// deviceEntry is the entry for a device in the extra data of a session.
func deviceEntry(device limiter.Device) []byte {
	return binary.BigEndian.AppendUint64([]byte(devicePrefix), uint64(device))
}

// deviceIn returns the device in the extra data of a session, zero if there is none.
func deviceIn(extra [][]byte) limiter.Device {
	for _, entry := range extra {
		if id, ok := bytes.CutPrefix(entry, []byte(devicePrefix)); ok && len(id) == 8 {
			return limiter.Device(binary.BigEndian.Uint64(id))
		}
	}
	return 0
}

// devicePool lends configs to handshakes. All are clones of one base config. The config
// returned last is lent first, so the connections share as few as possible.
type devicePool struct {
	base *tls.Config

	mu   sync.Mutex
	free []*deviceTLS
}

// maxFreeConfigs is how many unused configs a pool keeps, of less than 1 KB each. It is
// more than handshakes are usually under way at once.
const maxFreeConfigs = 256

// handshake makes the handshake of a server on conn. It returns the JA4 of the client also
// if the handshake fails after the ClientHello. The caller closes conn.
func (p *devicePool) handshake(conn net.Conn) (_ *tls.Conn, _ clientDevice, ja4 string, _ error) {
	d := p.borrow()
	secure := tls.Server(conn, d.config)
	err := secure.Handshake()
	device, ja4 := d.client(secure.ConnectionState()), d.ja4
	p.release(d)
	return secure, device, ja4, err
}

// borrow returns a config for one handshake.
func (p *devicePool) borrow() *deviceTLS {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.free) - 1
	if last < 0 {
		return newDeviceTLS(p.base)
	}
	d := p.free[last]
	p.free[last], p.free = nil, p.free[:last]
	return d
}

// release takes back a config whose handshake has returned.
func (p *devicePool) release(d *deviceTLS) {
	d.shown, d.issued, d.ja4 = 0, 0, ""
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < maxFreeConfigs {
		p.free = append(p.free, d)
	}
}
