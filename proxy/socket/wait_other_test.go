//go:build !linux

package socket

import "testing"

// awaitWaiter cannot tell here whether anybody waits.
func awaitWaiter(testing.TB, Conn) {}
