package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/handover"
	"postern/proxy"
)

// sockets are listening sockets that this process was given and does not use yet: by the former generation, or by systemd
// through a socket unit or its descriptor store. A socket of a socket unit has one of listenerNames and is used instead of
// the addresses in the settings. Any other has the name that boundName returns, and is used for that address.
type sockets []handover.Socket

// boundName is the name of the socket that a listener of this name has bound at addr, an address in the settings. systemd
// allows no colon in the name of a descriptor.
func boundName(listener, addr string) string {
	return listener + " " + strings.ReplaceAll(addr, ":", ";")
}

// isBound reports whether name is one that boundName returns.
func isBound(name string) bool { return strings.Contains(name, " ") }

// isUnix reports whether name is one that boundName returns for a unix socket.
func isUnix(name string) bool { return strings.Contains(name, boundName("", "unix:")) }

// take returns the sockets of this name, which belong to the caller.
func (s *sockets) take(name string) (files []*os.File) {
	*s = slices.DeleteFunc(*s, func(one handover.Socket) bool {
		if one.Name == name {
			files = append(files, one.File)
		}
		return one.Name == name
	})
	return files
}

// takeBound returns the socket that is bound at an address already, or nil.
func (s *sockets) takeBound(listener, addr string) *os.File {
	files := s.take(boundName(listener, addr))
	if len(files) == 0 {
		return nil
	}
	for _, more := range files[1:] {
		more.Close()
	}
	return files[0]
}

// takeFor returns the socket for an address of a listener, or nil, and whether it is of a socket unit.
func (s *sockets) takeFor(listener, addr string) (f *os.File, managed bool) {
	for i, one := range *s {
		if one.Name == listener {
			*s = slices.Delete(*s, i, i+1)
			return one.File, true
		}
	}
	return s.takeBound(listener, addr), false
}

// closeAll closes the sockets.
func (s sockets) closeAll() {
	for _, one := range s {
		one.File.Close()
	}
}

// listenerNames are the names of the listeners, for which a socket unit may have sockets.
func listenerNames() []string {
	return append(proxy.ListenerNames(), "admin", "metrics", "policy")
}

// closeRest closes the sockets that nothing has taken, because the settings have changed, and returns their names. One of a
// socket unit is an error: connections to it would wait for ever.
func (s *sockets) closeRest(log *eventlog.Log) (closed []string, err error) {
	rest := *s
	*s = nil
	for _, one := range rest {
		one.File.Close()
		switch {
		case isBound(one.Name):
			log.Info("listening socket closed: the settings have no such address any more", slog.String("event", "listener"), slog.String("socket", one.Name))
			closed = append(closed, one.Name)
		case !slices.Contains(listenerNames(), one.Name):
			err = fmt.Errorf("got a socket named %q from the service manager, want FileDescriptorName= one of %s", one.Name, strings.Join(listenerNames(), ", "))
		default:
			err = config.Errorf(config.ListenSetting(one.Name), "got off and a socket named %s from the service manager, want only one of the two", one.Name)
		}
	}
	return closed, err
}

// sockets returns duplicates of all listening sockets, which the caller closes, by the names that the next generation
// knows them by.
func (d *Daemon) sockets() (all sockets, err error) {
	for _, l := range d.listeners {
		f, err := l.listener.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return all, fmt.Errorf("pass the listener %s on: %w", l.socket, err)
		}
		all = append(all, handover.Socket{Name: l.socket, File: f})
	}
	of, err := d.admin.Sockets()
	for _, s := range of {
		name := s.Listener
		if !s.Managed {
			name = boundName(s.Listener, s.Addr)
		}
		all = append(all, handover.Socket{Name: name, File: s.File})
	}
	return all, err
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
