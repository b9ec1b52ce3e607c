package netpoll

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// poller watches all connections of the process with one epoll descriptor. That
// descriptor is itself watched by the poller of the Go runtime, so no thread blocks
// in epoll_wait.
var poller struct {
	start sync.Once
	fd    int
	err   error // of the start

	mu    sync.RWMutex
	conns []*conn // by descriptor
}

// pollBatch is how many events are handled before other goroutines may run.
const pollBatch = 128

const (
	epollET     = 1 << 31 // package syscall has it as a negative number
	pollRead    = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	pollWrite   = syscall.EPOLLOUT | syscall.EPOLLHUP | syscall.EPOLLERR
	pollPartial = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR | syscall.EPOLLPRI
)

// watch registers c for both directions, edge-triggered. From now on its
// handleEvent is called. The first watch starts the poller.
func watch(c *conn) error {
	poller.start.Do(func() { poller.err = startPoller() })
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

// unwatch removes c from the table. The caller closes the descriptor, which removes
// it from epoll.
func unwatch(c *conn) {
	poller.mu.Lock()
	defer poller.mu.Unlock()
	poller.conns[c.fd] = nil
}

// startPoller creates the epoll descriptor and starts its goroutine, which runs for
// the rest of the process.
func startPoller() error {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	_ = syscall.SetNonblock(fd, true) // the runtime polls non-blocking descriptors only
	epoll := os.NewFile(uintptr(fd), "epoll")
	raw, err := epoll.SyscallConn()
	if err != nil {
		return err
	}
	poller.fd = fd
	go pollLoop(raw)
	return nil
}

// pollLoop delivers events. The function passed to raw.Read asks epoll before each
// wait, so no event is missed. An event may arrive after its descriptor was closed
// and reused; the new connection then finds nothing to read or write.
func pollLoop(raw syscall.RawConn) {
	var events [pollBatch]syscall.EpollEvent
	var conns [pollBatch]*conn
	n := 0
	poll := func(fd uintptr) bool {
		n = epollPoll(int(fd), events[:])
		return n != 0 // negative after an interruption: try again
	}
	for raw.Read(poll) == nil {
		poller.mu.RLock()
		for i := range max(n, 0) {
			conns[i] = poller.conns[events[i].Fd]
		}
		poller.mu.RUnlock()
		for i := range max(n, 0) {
			if c, e := conns[i], events[i].Events; c != nil {
				c.handleEvent(e&pollRead != 0, e&pollWrite != 0, e&pollPartial != 0)
			}
		}
		clear(conns[:max(n, 0)])
		if n == pollBatch {
			runtime.Gosched()
		}
	}
}
