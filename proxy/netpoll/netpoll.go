// Package socket has TCP connections that cost nothing while nobody uses them.
//
// A Conn is a net.Conn with one thing more: it can be parked. A parked
// connection has no goroutine and no buffer; whoever parked it is woken when
// there is something to read, or when the time to read has passed. On Linux all
// connections are watched by one epoll descriptor, registered once each for as
// long as they last, and a read or write that would only learn that it must wait
// is not made. Elsewhere, and on connections of other kinds, Wrap does the same
// with a goroutine for each that is parked.
//
// A Conn is read by one goroutine at a time and written by one at a time. Whoever
// closes it must be the last to use it.
package netpoll

import "net"

// Conn is a connection that can be parked.
type Conn interface {
	net.Conn
	// CloseWrite tells the peer that no more will come.
	CloseWrite() error
	// SetNonblock says whether Read returns ErrNothing where it would have to wait.
	SetNonblock(on bool)
	// Park has s woken, once, when there is something to read, the peer's end
	// included, or the read deadline has passed. It returns false, and s is not
	// woken, if that is so already. Nobody may read meanwhile.
	Park(s Waker) bool
	// ParkUntilDeadline is Park for whom only the read deadline wakes.
	ParkUntilDeadline(s Waker) bool
}

// Sleeper is one who has parked a connection.
type Waker interface {
	// Wake tells that there is something to do. It must not block.
	Wake()
}

// ErrNothing is what a Read that does not wait returns when there is nothing to
// read yet. It is temporary, so that TLS goes on afterwards.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read yet" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }
