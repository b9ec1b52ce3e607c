package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"

	"postern/cmd/postern/internal/config"
	"postern/proxy"
	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// listener is one bound address and what is served there.
type listener struct {
	kind     proxy.Listener
	socket   string // its name for the next generation
	listener net.Listener
}

// openListeners binds every address, or uses the socket that was passed for it. The error
// names the setting at fault, and then no address is bound. Without certs, which may be
// nil, no TLS is offered.
func openListeners(s config.Listeners, certs *certificates, passed *sockets) (all []listener, err error) {
	defer func() {
		if err != nil {
			closeListeners(all)
			all = nil
		}
	}()
	for _, l := range []struct {
		setting  string
		addrs    []string
		name     string
		protocol dialogue.Protocol
		tls      proxy.TLSMode
	}{
		{"IMAP_LISTEN", s.IMAP, "imap", dialogue.IMAP{}, proxy.Upgrade},
		{"IMAPS_LISTEN", s.IMAPS, "imaps", dialogue.IMAP{}, proxy.Implicit},
		{"POP3_LISTEN", s.POP3, "pop3", dialogue.POP3{}, proxy.Upgrade},
		{"POP3S_LISTEN", s.POP3S, "pop3s", dialogue.POP3{}, proxy.Implicit},
	} {
		kind := proxy.Listener{Name: l.name, Protocol: l.protocol, TLS: l.tls, Config: certs.server(l.protocol.Name())}
		add := func(socket string, ln net.Listener, err error) error {
			if err != nil {
				return config.Errorf(l.setting, "%w", err)
			}
			all = append(all, listener{kind, socket, ln})
			return nil
		}
		if len(l.addrs) == 0 {
			continue
		}
		activated := passed.take(l.name)
		for _, f := range activated {
			ln, err := netpoll.FromFile(f)
			if err := add(l.name, ln, err); err != nil {
				return all, err
			}
		}
		if len(activated) > 0 {
			continue
		}
		for _, addr := range l.addrs {
			ln, err := listen(addr, s.Addrs(), passed.takeBound(l.name, addr))
			if err := add(boundName(l.name, addr), ln, err); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// closeListeners releases the addresses.
func closeListeners(all []listener) {
	for _, l := range all {
		l.listener.Close()
	}
}

// listen binds addr, one of all, unless there is a socket that is bound to it already. The
// error leaves out what the net package repeats of it.
func listen(addr string, all []string, bound *os.File) (net.Listener, error) {
	if bound != nil {
		return netpoll.FromFile(bound)
	}
	ln, err := netpoll.Listen(config.Network(addr, all), addr)
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}
