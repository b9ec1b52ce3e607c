package proxy

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
)

// lot is where connections are left that nobody waits for. One goroutine watches
// all of them, by an epoll descriptor that Go's poller watches in turn, so that
// no thread waits in the kernel for them.
type lot struct {
	mu    sync.Mutex
	epoll *os.File   // nil before the first connection and after close
	fd    int        // of epoll
	spots []*tcpSpot // by descriptor
}

// lotBatch is how many are woken before others get their turn.
const lotBatch = 128

// spot returns a place for conn and the one who reads it, or nil if conn cannot be watched.
func (l *lot) spot(conn net.Conn, reader sleeper) spot {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	s := &tcpSpot{lot: l, raw: raw, reader: reader, op: syscall.EPOLL_CTL_ADD}
	if raw.Control(func(fd uintptr) { s.fd = int(fd) }) != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open() {
		return nil
	}
	for len(l.spots) <= s.fd {
		l.spots = append(l.spots, nil)
	}
	l.spots[s.fd] = s
	return s
}

// open says whether there is a lot, and makes one if there is none. l.mu must be
// held.
func (l *lot) open() bool {
	if l.epoll != nil {
		return true
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	_ = syscall.SetNonblock(fd, true) // or Go would not watch it
	epoll := os.NewFile(uintptr(fd), "epoll")
	raw, err := epoll.SyscallConn()
	if err != nil {
		epoll.Close()
		return false
	}
	l.epoll, l.fd = epoll, fd
	go l.watch(raw)
	return true
}

// close ends the watch. Nothing may be left in the lot.
func (l *lot) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoll != nil {
		l.epoll.Close()
		l.epoll = nil
	}
}

// watch wakes whoever has something to read, until the lot is closed. Before it
// waits it looks at epoll itself each time, and so misses nothing.
func (l *lot) watch(raw syscall.RawConn) {
	var events [lotBatch]syscall.EpollEvent
	woken := make([]sleeper, 0, lotBatch)
	n := 0
	look := func(fd uintptr) bool {
		n, _ = syscall.EpollWait(int(fd), events[:], 0)
		return n != 0 // below 0 after an interruption
	}
	for raw.Read(look) == nil {
		woken = woken[:0]
		l.mu.Lock()
		for i := range max(n, 0) {
			if s := l.spots[events[i].Fd]; s != nil {
				woken = append(woken, s.reader)
			}
		}
		l.mu.Unlock()
		for _, reader := range woken {
			reader.wake()
		}
		if n == lotBatch {
			runtime.Gosched()
		}
	}
}

// tcpSpot is the place of a TCP connection. It is woken once each time it is
// armed, and now and then for nothing: its descriptor may have been another
// connection's before.
type tcpSpot struct {
	lot    *lot
	raw    syscall.RawConn
	reader sleeper
	fd, op int
}

// arm has the reader woken when there is something to read, or there is already.
func (s *tcpSpot) arm() error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | epollOneshot, Fd: int32(s.fd)}
	err := syscall.EpollCtl(s.lot.fd, s.op, s.fd, &event)
	s.op = syscall.EPOLL_CTL_MOD
	if err == syscall.EEXIST { // the connection was in the lot before
		err = syscall.EpollCtl(s.lot.fd, s.op, s.fd, &event)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

const epollOneshot = 1 << 30 // which package syscall gives as a negative number for some

// leave gives the place back. The connection must still be open, or another
// might have its descriptor already.
func (s *tcpSpot) leave() {
	s.lot.mu.Lock()
	defer s.lot.mu.Unlock()
	s.lot.spots[s.fd] = nil
}

// read returns what is there, or errNothing.
func (s *tcpSpot) read(p []byte) (int, error) {
	g := glances.Get().(*glance)
	defer g.put()
	g.p = p
	if err := s.raw.Read(g.look); err != nil {
		return 0, err
	}
	switch {
	case g.err == syscall.EAGAIN:
		return 0, errNothing
	case g.err != nil:
		return 0, os.NewSyscallError("read", g.err)
	case g.n == 0:
		return 0, io.EOF
	}
	return g.n, nil
}

// glance is one read that does not wait. It is an object of its own because the
// function that reads would else be made anew each time.
type glance struct {
	p    []byte
	n    int
	err  error
	look func(fd uintptr) bool
}

var glances = sync.Pool{New: func() any {
	g := new(glance)
	g.look = func(fd uintptr) bool {
		for {
			if g.n, g.err = syscall.Read(int(fd), g.p); g.err != syscall.EINTR {
				return true
			}
		}
	}
	return g
}}

func (g *glance) put() {
	g.p, g.err = nil, nil
	glances.Put(g)
}
