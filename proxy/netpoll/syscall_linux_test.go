package netpoll

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
)

// nest calls f with n calls of its own on the stack.
func nest(n int, f func()) {
	if n > 0 {
		nest(n-1, f)
		return
	}
	f()
}

// The stack may grow, and move, between taking the address of a variable and the
// system call that uses it. At some depth each call here makes the stack grow.
func TestSyscallsUseAddressesAfterStackGrowth(t *testing.T) {
	c, peer := openDialed(t)
	fd, local := int(c.(*conn).fd), peer.RemoteAddr().String()
	for name, call := range map[string]func() (got, want string){
		"getsockname": func() (string, string) { return localAddr(fd).String(), local },
		"read": func() (string, string) {
			var data [4]byte
			_, err := read(fd, data[:])
			return fmt.Sprintf("%s %v", data, err), "data <nil>"
		},
		"write": func() (string, string) {
			data := [4]byte{'d', 'a', 't', 'a'}
			_, err := write(fd, data[:])
			var received [4]byte
			io.ReadFull(peer, received[:])
			return fmt.Sprintf("%s %v", received, err), "data <nil>"
		},
	} {
		for depth := range 500 {
			if name == "read" {
				peer.Write([]byte("data"))
			}
			done := make(chan error)
			go nest(depth, func() {
				var err error
				if got, want := call(); got != want {
					err = fmt.Errorf("%s at depth %d: got %q, want %q", name, depth, got, want)
				}
				done <- err
			})
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Ports are in network byte order, and both families survive the conversion.
func TestSockaddr(t *testing.T) {
	for _, a := range []string{"192.0.2.1:258", "[2001:db8::1]:993"} {
		want := netip.MustParseAddrPort(a)
		if got := newSockaddr(want).addrPort(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if got := (&sockaddr{}).addrPort(); got.IsValid() {
		t.Errorf("no address: got %v, want the zero value", got)
	}
}
