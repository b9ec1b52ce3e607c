package netpoll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSocketOptions(t *testing.T) {
	for name, open := range map[string]func(testing.TB) (Conn, *net.TCPConn){"accepted": openAccepted, "dialed": openDialed} {
		t.Run(name, func(t *testing.T) {
			c, _ := open(t)
			expectOptions(t, c.(*conn))
		})
	}
	ln := listenPlain(t)
	defer ln.Close()
	c, err := Dial(strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1), time.Now().Add(testTimeout))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	expectOptions(t, c.(*conn))
}

func expectOptions(t *testing.T, c *conn) {
	t.Helper()
	for _, o := range [][3]int{
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 300},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 30},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 5},
		{syscall.IPPROTO_TCP, tcpUserTimeout, 450_000},
	} {
		if v, err := syscall.GetsockoptInt(int(c.fd), o[0], o[1]); err != nil || v != o[2] {
			t.Errorf("option %d of level %d: got %d, %v, want %d", o[1], o[0], v, err, o[2])
		}
	}
}

// ipMinTTL is IP_MINTTL of ip(7), which package syscall does not have.
const ipMinTTL = 21

// vanish makes peer ignore what it receives from now on, without an answer, as if it
// had lost its network: no packet on loopback has a time to live of 255.
func vanish(t *testing.T, peer *net.TCPConn) {
	t.Helper()
	raw, err := peer.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipMinTTL, 255) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
}

// A peer that vanishes without closing ends the connection, whether it is idle or has
// not acknowledged what was written. This wakes a parked connection. The test uses
// shorter times than keepAlives.
func TestVanishedPeerEndsConnection(t *testing.T) {
	for name, written := range map[string]string{"idle": "", "with unacknowledged data": "data"} {
		for side, open := range map[string]func(testing.TB) (Conn, *net.TCPConn){"accepted": openAccepted, "dialed": openDialed} {
			t.Run(side+", "+name, func(t *testing.T) {
				t.Parallel()
				c, peer := open(t)
				if err := setOptions(int(c.(*conn).fd), keepAlive{time.Second, time.Second, 2}); err != nil {
					t.Fatal(err)
				}
				vanish(t, peer)
				if _, err := c.Write([]byte(written)); err != nil {
					t.Fatal(err)
				}
				woken := make(testWaker, 1)
				if !c.Park(woken) {
					t.Fatal("not parked")
				}
				<-woken
				if _, err := c.Read(make([]byte, 9)); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("got %v, want %v", err, syscall.ETIMEDOUT)
				}
			})
		}
	}
}

// A client that asks for multipath TCP gets plain TCP.
func TestNoMultipathTCP(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	var d net.Dialer
	d.SetMultipathTCP(true)
	peer, err := d.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if on, err := peer.(*net.TCPConn).MultipathTCP(); on || err != nil {
		t.Errorf("multipath TCP: got %v, %v, want false", on, err)
	}
}

// openFDs is the number of descriptors this process has open.
func openFDs(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// withFDs calls f while the process can open only n more descriptors.
func withFDs(t *testing.T, n int, f func()) {
	t.Helper()
	free, err := syscall.Dup(0) // the lowest that is free
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(free)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lower := limit
	lower.Cur = uint64(free + n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lower); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	f()
}

// At whatever point descriptors run out, the operation fails and closes those it has
// opened.
func TestNoLeakWhenDescriptorsRunOut(t *testing.T) {
	ln, peer := listen(t, "127.0.0.1:0"), listenPlain(t)
	defer peer.Close()
	byName := strings.Replace(peer.Addr().String(), "127.0.0.1", "localhost", 1)
	for name, open := range map[string]func() (interface{ Close() error }, error){
		"listen": func() (interface{ Close() error }, error) { return Listen("tcp", "127.0.0.1:0") },
		"dial": func() (interface{ Close() error }, error) {
			return Dial(peer.Addr().String(), time.Now().Add(testTimeout))
		},
		"dial by name": func() (interface{ Close() error }, error) { return Dial(byName, time.Now().Add(testTimeout)) },
		"accept":       func() (interface{ Close() error }, error) { return ln.Accept() },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "accept" {
				client, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
			}
			before, failed := openFDs(t), 0
			for n := 0; ; n++ {
				var c interface{ Close() error }
				var err error
				withFDs(t, n, func() { c, err = open() })
				if err == nil {
					c.Close()
					break
				}
				failed++
				if n > 20 || n == 0 && name != "dial by name" && !errors.Is(err, syscall.EMFILE) {
					t.Fatalf("with %d descriptors: got %v, want %v", n, err, syscall.EMFILE)
				}
				if got := openFDs(t); got != before {
					t.Errorf("with %d descriptors: %d leaked", n, got-before)
				}
			}
			if got := openFDs(t); got != before || failed == 0 {
				t.Errorf("%d descriptors leaked after %d failures", got-before, failed)
			}
		})
	}
}

// A descriptor that epoll does not accept is closed, and not in the table.
func TestUnwatchableDescriptorIsClosed(t *testing.T) {
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := dup(file)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := newConn(fd, netip.AddrPort{}); !errors.Is(err, syscall.EPERM) || c != nil {
		t.Fatalf("got %v, %v, want %v", c, err, syscall.EPERM)
	}
	if err := syscall.SetNonblock(fd, true); err != syscall.EBADF {
		t.Errorf("the descriptor is still open: %v", err)
	}
	poller.mu.Lock()
	defer poller.mu.Unlock()
	if poller.conns[fd] != nil {
		t.Error("the table still has the connection")
	}
}

// fullListener returns a listener with a full queue, so that a new connection waits
// until accept takes one from it.
func fullListener(t *testing.T) (addr string, accept func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	local, _ := syscall.Getsockname(fd)
	addr = fmt.Sprint("127.0.0.1:", local.(*syscall.SockaddrInet4).Port)
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Close() })
	return addr, func() {
		if c, _, err := syscall.Accept(fd); err == nil {
			syscall.Close(c)
		}
	}
}

func TestDialWaitsUntilDeadline(t *testing.T) {
	addr, accept := fullListener(t)
	before := openFDs(t)
	for _, wait := range []time.Duration{20 * time.Millisecond, 0, -time.Hour} {
		start := time.Now()
		c, err := Dial(addr, start.Add(wait))
		if !errors.Is(err, os.ErrDeadlineExceeded) || c != nil || time.Since(start) < wait {
			t.Errorf("deadline in %v: got %v, %v after %v", wait, c, err, time.Since(start))
		}
		if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
			t.Errorf("got %v, want a timeout", err)
		}
	}
	if got := openFDs(t); got != before {
		t.Errorf("%d descriptors leaked", got-before)
	}
	dialed := make(chan error)
	go func() {
		c, err := Dial(addr, time.Now().Add(testTimeout))
		if err == nil {
			_, err = c.Write([]byte("data"))
			c.Close()
		}
		dialed <- err
	}()
	accept()
	if err := <-dialed; err != nil {
		t.Error(err)
	}
}

// The kernel may choose the destination port as the source port, when nothing listens
// there, and connects the socket to itself. Such a connection would block the port.
func TestDialRefusesConnectionToItself(t *testing.T) {
	fd, err := newSocket(syscall.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if c, err := connectFD(fd, localAddr(fd), time.Now().Add(testTimeout)); !errors.Is(err, syscall.ECONNREFUSED) || c != nil {
		t.Errorf("got %v, %v, want %v", c, err, syscall.ECONNREFUSED)
	}
	if err := syscall.SetNonblock(fd, true); err != syscall.EBADF {
		t.Errorf("the descriptor is still open: %v", err)
	}
}
