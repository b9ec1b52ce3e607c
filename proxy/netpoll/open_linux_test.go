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

// What holds for every connection does, however it came about.
func TestOptions(t *testing.T) {
	eachKind(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
		own, ok := c.(*conn)
		if !ok {
			t.Skip("options of its own")
		}
		hasOptions(t, own)
	})
	ln := netListen(t)
	defer ln.Close()
	c, err := Dial(strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1), time.Now().Add(truePatience))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hasOptions(t, c.(*conn))
}

func hasOptions(t *testing.T, c *conn) {
	t.Helper()
	for _, o := range [][3]int{
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 300},
	} {
		if v, err := syscall.GetsockoptInt(int(c.fd), o[0], o[1]); err != nil || v != o[2] {
			t.Errorf("option %d of level %d is %d, %v, want %d", o[1], o[0], v, err, o[2])
		}
	}
}

// A client that asks for multipath TCP is served without.
func TestNoMultipath(t *testing.T) {
	ln := socketListen(t, "127.0.0.1:0")
	var d net.Dialer
	d.SetMultipathTCP(true)
	far, err := d.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if on, err := far.(*net.TCPConn).MultipathTCP(); on || err != nil {
		t.Errorf("multipath: %v, %v", on, err)
	}
}

// descriptors are those that this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// lacking calls f with only n more descriptors to be had.
func lacking(t *testing.T, n int, f func()) {
	t.Helper()
	free, err := syscall.Dup(0) // the first that is free
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(free)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(free + n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	f()
}

// Wherever descriptors run out, none is lost, and what was asked for fails.
func TestDescriptorsRunOut(t *testing.T) {
	ln, far := socketListen(t, "127.0.0.1:0"), netListen(t)
	defer far.Close()
	byName := strings.Replace(far.Addr().String(), "127.0.0.1", "localhost", 1)
	for name, open := range map[string]func() (interface{ Close() error }, error){
		"listen": func() (interface{ Close() error }, error) { return Listen("tcp", "127.0.0.1:0") },
		"dial": func() (interface{ Close() error }, error) {
			return Dial(far.Addr().String(), time.Now().Add(truePatience))
		},
		"dial by name": func() (interface{ Close() error }, error) { return Dial(byName, time.Now().Add(truePatience)) },
		"accept":       func() (interface{ Close() error }, error) { return ln.Accept() },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "accept" {
				caller, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer caller.Close()
			}
			before, failed := descriptors(t), 0
			for n := 0; ; n++ {
				var c interface{ Close() error }
				var err error
				lacking(t, n, func() { c, err = open() })
				if err == nil {
					c.Close()
					break
				}
				failed++
				if n > 20 || n == 0 && name != "dial by name" && !errors.Is(err, syscall.EMFILE) {
					t.Fatalf("with %d descriptors: %v", n, err)
				}
				if got := descriptors(t); got != before {
					t.Errorf("with %d descriptors: %d are lost", n, got-before)
				}
			}
			if got := descriptors(t); got != before || failed == 0 {
				t.Errorf("%d descriptors are lost after %d failures", got-before, failed)
			}
		})
	}
}

// A descriptor that cannot be watched is closed, and forgotten.
func TestNothingIsLeftOfWhatCannotBeWatched(t *testing.T) {
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
		t.Fatalf("%v, %v", c, err)
	}
	if err := syscall.SetNonblock(fd, true); err != syscall.EBADF {
		t.Errorf("the descriptor is open: %v", err)
	}
	poller.mu.Lock()
	defer poller.mu.Unlock()
	if poller.conns[fd] != nil {
		t.Error("it is still known")
	}
}

// deafListener is full: it lets connections wait until open lets them in.
func deafListener(t *testing.T) (addr string, open func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	here, _ := syscall.Getsockname(fd)
	addr = fmt.Sprint("127.0.0.1:", here.(*syscall.SockaddrInet4).Port)
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

// A dial that is not answered waits until its time is over, and no longer.
func TestDialWaits(t *testing.T) {
	addr, open := deafListener(t)
	before := descriptors(t)
	for _, patience := range []time.Duration{20 * time.Millisecond, 0, -time.Hour} {
		begun := time.Now()
		c, err := Dial(addr, begun.Add(patience))
		if !errors.Is(err, os.ErrDeadlineExceeded) || c != nil || time.Since(begun) < patience {
			t.Errorf("patience %v: %v, %v after %v", patience, c, err, time.Since(begun))
		}
		if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
	}
	if got := descriptors(t); got != before {
		t.Errorf("%d descriptors are lost", got-before)
	}
	dialled := make(chan error)
	go func() {
		c, err := Dial(addr, time.Now().Add(truePatience))
		if err == nil {
			_, err = c.Write([]byte("word"))
			c.Close()
		}
		dialled <- err
	}()
	open()
	if err := <-dialled; err != nil {
		t.Error(err)
	}
}

// A port that nobody listens on may be the one that a dial is made from. Such a
// connection leads nowhere, and keeps the port from who wants to listen.
func TestConnectedToItself(t *testing.T) {
	fd, err := newSocket(syscall.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if c, err := dialFrom(fd, localAddr(fd), time.Now().Add(truePatience)); !errors.Is(err, syscall.ECONNREFUSED) || c != nil {
		t.Errorf("%v, %v", c, err)
	}
	if err := syscall.SetNonblock(fd, true); err != syscall.EBADF {
		t.Errorf("the descriptor is open: %v", err)
	}
}

// Addresses are in the order of the network.
func TestSockaddr(t *testing.T) {
	for _, a := range []string{"192.0.2.1:258", "[2001:db8::1]:993"} {
		want := netip.MustParseAddrPort(a)
		s := newSockaddr(want)
		if got := s.addrPort(); got != want {
			t.Errorf("%v became %v", want, got)
		}
	}
	if got := (&sockaddr{}).addrPort(); got.IsValid() {
		t.Errorf("no address became %v", got)
	}
}
