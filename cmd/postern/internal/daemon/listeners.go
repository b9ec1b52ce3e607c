package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"

	"postern/cmd/postern/internal/config"
	"postern/proxy"
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
	for _, kind := range proxy.ListenerKinds() {
		addrs := s.Of(kind.Name)
		if len(addrs) == 0 {
			continue
		}
		kind.Config = certs.server(kind.Protocol.ALPN())
		opened, err := openListener(kind, addrs, s.Addrs(), passed)
		all = append(all, opened...)
		if err != nil {
			return all, config.Errorf(config.ListenSetting(kind.Name), "%w", err)
		}
	}
	return all, nil
}

// openListener binds the addresses of one kind of listener, some of all, or uses the sockets
// that were passed. It also returns what it has opened before an error.
func openListener(kind proxy.Listener, addrs, all []string, passed *sockets) (opened []listener, err error) {
	activated := passed.take(kind.Name)
	for i, f := range activated {
		ln, err := netpoll.FromFile(f)
		if err != nil {
			closeFiles(activated[i+1:])
			return opened, err
		}
		opened = append(opened, listener{kind, kind.Name, ln})
	}
	if len(activated) > 0 {
		return opened, nil
	}
	for _, addr := range addrs {
		ln, err := listen(addr, all, passed.takeBound(kind.Name, addr))
		if err != nil {
			return opened, err
		}
		opened = append(opened, listener{kind, boundName(kind.Name, addr), ln})
	}
	return opened, nil
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
