package netpoll

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// The poller watches all connections of the process by one epoll descriptor, which
// Go's own poller watches in turn: so no thread waits in the kernel for it. Each
// connection is registered once, for both directions and edge-triggered.
var poller struct {
	begin sync.Once
	fd    int
	err   error

	mu    sync.RWMutex
	conns []*conn // by descriptor
}

// pollBatch is how many events are dealt with before others get their turn.
const pollBatch = 128

const (
	epollET   = 1 << 31 // which package syscall gives as a negative number
	pollRead  = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	pollWrite = syscall.EPOLLOUT | syscall.EPOLLHUP | syscall.EPOLLERR
	pollShort = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR | syscall.EPOLLPRI
)

// watch has the poller tell c what its descriptor is ready for, from now on.
func watch(c *conn) error {
	poller.begin.Do(func() { poller.err = poll() })
	if poller.err != nil {
		return poller.err
	}
	poller.mu.Lock()
	for len(poller.conns) <= int(c.fd) {
		poller.conns = append(poller.conns, nil)
	}
	poller.conns[c.fd] = c
	poller.mu.Unlock()
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | syscall.EPOLLPRI | epollET, Fd: c.fd}
	err := epollAdd(poller.fd, int(c.fd), &event)
	if err != nil {
		unwatch(c)
	}
	return err
}

// unwatch forgets c, whose descriptor is about to be closed, which the kernel takes
// for an end of the watch.
func unwatch(c *conn) {
	poller.mu.Lock()
	defer poller.mu.Unlock()
	poller.conns[c.fd] = nil
}

// poll begins to watch.
func poll() error {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	_ = syscall.SetNonblock(fd, true) // or Go would not watch it
	epoll := os.NewFile(uintptr(fd), "epoll")
	raw, err := epoll.SyscallConn()
	if err != nil {
		return err
	}
	poller.fd = fd
	go pollForever(raw)
	return nil
}

// pollForever tells connections of events. Before it waits it looks at epoll itself
// each time, and so misses nothing. An event may reach a connection that has the
// descriptor of the one it was for: then it is woken for nothing.
func pollForever(raw syscall.RawConn) {
	var events [pollBatch]syscall.EpollEvent
	var told [pollBatch]*conn
	n := 0
	look := func(fd uintptr) bool {
		n = epollNow(int(fd), events[:])
		return n != 0 // below 0 after an interruption
	}
	for raw.Read(look) == nil {
		poller.mu.RLock()
		for i := range max(n, 0) {
			told[i] = poller.conns[events[i].Fd]
		}
		poller.mu.RUnlock()
		for i := range max(n, 0) {
			if c, e := told[i], events[i].Events; c != nil {
				c.notify(e&pollRead != 0, e&pollWrite != 0, e&pollShort != 0)
			}
		}
		clear(told[:max(n, 0)])
		if n == pollBatch {
			runtime.Gosched()
		}
	}
}
