package proxy

import (
	"fmt"
	"runtime/debug"
)

// fault is a panic of a goroutine that another waited for.
type fault struct {
	value any
	stack []byte
}

func (f fault) String() string { return fmt.Sprintf("%v\n%s", f.value, f.stack) }

// apart runs f on a goroutine of its own and waits for it. The stack that f needs
// goes with that goroutine: what TLS needs is several times what a session needs
// that waits, and a stack does not shrink by itself. A panic of f is the caller's.
func apart(f func() error) error {
	var broken *fault
	done := make(chan error)
	go func() {
		var err error
		defer func() {
			if value := recover(); value != nil {
				broken = &fault{value, debug.Stack()}
			}
			done <- err
		}()
		err = f()
	}()
	err := <-done
	if broken != nil {
		panic(*broken)
	}
	return err
}
