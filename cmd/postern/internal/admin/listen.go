package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
)

// listen binds addr, unless a socket was passed for it; that may belong to the service manager.
func (s *Server) listen(name, addr string) (ln net.Listener, managed bool, err error) {
	var passed *os.File
	if s.gateway.Passed != nil {
		passed, managed = s.gateway.Passed(name, addr)
	}
	defer passed.Close() // nil is closed already
	if passed == nil || !managed && isRemoved(addr) {
		ln, err = bind(addr)
		return ln, false, err
	}
	if ln, err = net.FileListener(passed); err != nil {
		err = fmt.Errorf("use the socket passed for %s: %w", addr, err)
	}
	return ln, managed, err
}

// isRemoved reports whether addr is that of a unix socket whose file is gone, so nobody can connect to it.
func isRemoved(addr string) bool {
	path, isUnix := strings.CutPrefix(addr, "unix:")
	if !isUnix {
		return false
	}
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// bind binds host:port or unix:/path. A socket file that no process listens
// on any more is replaced; the group may use the new one.
func bind(addr string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(addr, "unix:")
	if !isUnix {
		ln, err := net.Listen(config.Network(addr, nil), addr)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, eventlog.WithoutAddr(err))
		}
		return ln, nil
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("listen on %s: another process does", path)
		}
		os.Remove(path)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, eventlog.WithoutAddr(err))
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return ln, nil
}

// A fileListener is a listener that can be passed to another process.
type fileListener interface{ File() (*os.File, error) }

// A Socket is a duplicate of a listening socket, to be passed to another process.
type Socket struct {
	Listener string // admin, metrics or policy
	Addr     string // in the settings
	Managed  bool   // by the service manager
	File     *os.File
}

// Sockets returns a duplicate of every socket. The caller closes them.
func (s *Server) Sockets() (all []Socket, err error) {
	for _, e := range s.endpoints {
		f, err := e.listener.(fileListener).File()
		if err != nil {
			return all, fmt.Errorf("pass the socket of %s on: %w", e.addr, err)
		}
		all = append(all, Socket{e.name, e.addr, e.managed, f})
	}
	return all, nil
}

// ownFiles makes closeListeners remove the files of Unix sockets, but not those of the service manager.
func (s *Server) ownFiles() {
	s.closing.Lock()
	defer s.closing.Unlock()
	for _, e := range s.endpoints {
		if unix, ok := e.listener.(*net.UnixListener); ok {
			unix.SetUnlinkOnClose(!e.managed)
		}
	}
}

// closeListeners releases the addresses. If keepFiles is set, the files of Unix sockets stay.
func (s *Server) closeListeners(keepFiles bool) {
	s.closing.Lock()
	defer s.closing.Unlock()
	for _, e := range s.endpoints {
		if unix, ok := e.listener.(*net.UnixListener); ok && keepFiles {
			unix.SetUnlinkOnClose(false)
		}
		e.listener.Close()
	}
}

// Close releases the addresses, whether Serve was called or not.
func (s *Server) Close() {
	s.live.close()
	for _, e := range s.endpoints {
		e.http.Close()
	}
	s.closeListeners(false)
}

// retireTime is how long Retire waits for requests.
const retireTime = 5 * time.Second

// StopAccepting makes Serve return, because another process serves the same sockets now: connections that begin after it
// has returned are not for this one, and idle ones are closed. Those accepted before that have not been answered yet are,
// until Retire ends them. Serve must have been called.
func (s *Server) StopAccepting() {
	s.retiring.Store(true)
	s.closeListeners(true)
	<-s.served
	for _, e := range s.endpoints {
		e.http.SetKeepAlivesEnabled(false)
	}
}

// Retire ends serving after StopAccepting, once each connection that was accepted is answered. The method Shutdown of
// http.Server would close those whose request it has not read yet.
func (s *Server) Retire() {
	s.live.close()
	answered := make(chan struct{})
	go func() {
		s.connections.open.Wait()
		s.policy.open.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(retireTime):
	}
	s.Close()
}
