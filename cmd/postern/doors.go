package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"postern/proxy"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
	"postern/tlsconf"
)

// entrance is a door with one of its listeners.
type entrance struct {
	door     proxy.Listener
	listener net.Listener
}

// openDoors binds every address of every door. The error names the setting at
// fault, and then nothing stays bound. certs may be nil; the doors then offer
// no TLS.
func openDoors(s DoorSettings, certs *tlsconf.Source) (entrances []entrance, err error) {
	defer func() {
		if err != nil {
			closeDoors(entrances)
			entrances = nil
		}
	}()
	for _, d := range []struct {
		setting  string
		addrs    listenAddrs
		name     string
		protocol dialogue.Protocol
		tls      proxy.TLSMode
	}{
		{"IMAP_LISTEN", s.IMAP, "imap", dialogue.IMAP{}, proxy.Upgrade},
		{"IMAPS_LISTEN", s.IMAPS, "imaps", dialogue.IMAP{}, proxy.Implicit},
		{"POP3_LISTEN", s.POP3, "pop3", dialogue.POP3{}, proxy.Upgrade},
		{"POP3S_LISTEN", s.POP3S, "pop3s", dialogue.POP3{}, proxy.Implicit},
	} {
		door := proxy.Listener{Name: d.name, Protocol: d.protocol, TLS: d.tls}
		if certs != nil {
			door.Config = certs.Server(d.protocol.Name())
		}
		for _, addr := range d.addrs {
			ln, err := listen(addr)
			if err != nil {
				return entrances, wrong(d.setting, "%v", err)
			}
			entrances = append(entrances, entrance{door, ln})
		}
	}
	return entrances, nil
}

// closeDoors gives back the addresses.
func closeDoors(entrances []entrance) {
	for _, e := range entrances {
		e.listener.Close()
	}
}

// listen binds addr. An address literal gets its own family only, so that
// 0.0.0.0:993 and [::]:993 can stand side by side; a port alone gets both.
func listen(addr string) (net.Listener, error) {
	network := "tcp"
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		network = "tcp6"
		if ip.Is4() {
			network = "tcp4"
		}
	}
	ln, err := netpoll.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, reasonOf(err))
	}
	return ln, nil
}

// reasonOf leaves out what the net package repeats of the address.
func reasonOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
