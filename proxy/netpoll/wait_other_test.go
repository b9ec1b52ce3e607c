//go:build !linux

package netpoll

import "testing"

// awaitWaiter cannot tell here whether anybody waits.
func awaitWaiter(testing.TB, Conn) {}
