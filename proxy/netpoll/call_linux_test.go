package netpoll

import (
	"fmt"
	"io"
	"testing"
)

// under calls f under n other calls.
func under(n int, f func()) {
	if n > 0 {
		under(n-1, f)
		return
	}
	f()
}

// The kernel reads and writes where a variable is, and not where it was before the
// stack grew on the way to a call.
func TestStackGrowsOnTheWayToACall(t *testing.T) {
	near, far := dialled(t)
	fd, here := int(near.(*conn).fd), far.RemoteAddr().String()
	for name, f := range map[string]func() (got, want string){
		"getsockname": func() (string, string) { return localAddr(fd).String(), here },
		"read": func() (string, string) {
			var word [4]byte
			_, err := read(fd, word[:])
			return fmt.Sprintf("%s %v", word, err), "word <nil>"
		},
		"write": func() (string, string) {
			word := [4]byte{'w', 'o', 'r', 'd'}
			_, err := write(fd, word[:])
			var back [4]byte
			io.ReadFull(far, back[:])
			return fmt.Sprintf("%s %v", back, err), "word <nil>"
		},
	} {
		for depth := range 500 {
			if name == "read" {
				far.Write([]byte("word"))
			}
			ok := make(chan error)
			go under(depth, func() {
				var err error
				if got, want := f(); got != want {
					err = fmt.Errorf("%s at depth %d: got %q, want %q", name, depth, got, want)
				}
				ok <- err
			})
			if err := <-ok; err != nil {
				t.Fatal(err)
			}
		}
	}
}
