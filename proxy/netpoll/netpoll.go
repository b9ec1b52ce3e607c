// Package netpoll provides TCP connections that can wait for input without a
// goroutine.
//
// A Conn is a net.Conn with one more feature: it can be parked. A parked connection
// has no goroutine and no buffer. Its Waker is called when there is something to
// read or the read deadline has passed; the owner then continues in a goroutine of
// its choice.
//
// Mail sessions are idle most of the time. With package net each idle session keeps
// two goroutines, one for each direction, with their stacks; for 100,000 sessions
// that is most of the memory of the process. Here an idle session keeps its
// descriptor and one small struct. All deadlines share one timer, and moving a
// deadline to a later time costs no timer operation.
//
// On Linux one epoll descriptor watches all connections. Each connection is
// registered once, edge-triggered, for as long as it is open. A read or write that
// would only return EAGAIN is not made. On other systems, and for connections that
// are not TCP, Wrap provides the same interface with a goroutine for each parked
// connection.
//
// The package stops at the byte stream: TLS, buffers and protocols belong to its
// users. It calls a Waker but starts no goroutine for it.
//
// A Conn is read by one goroutine at a time and written by one at a time. The caller
// of Accept, Dial or Wrap closes the Conn and does not use it afterwards. Close
// interrupts Read and Write, and wakes a parked connection.
package netpoll

import "net"

// Conn is a connection that can be parked.
type Conn interface {
	net.Conn
	// CloseWrite shuts down the writing side of the connection.
	CloseWrite() error
	// SetNonblock makes Read return ErrWouldBlock where it would have to wait.
	SetNonblock(on bool)
	// Park arranges one call of w.Wake when there is something to read (data, end
	// of stream or an error), the read deadline has passed, or the connection is
	// closed. It returns false, without any call of Wake, if that is the case
	// already. No Read is allowed until then.
	Park(w Waker) bool
	// ParkUntilDeadline is Park without the wake-up for something to read.
	ParkUntilDeadline(w Waker) bool
}

// Waker is notified when a parked connection needs attention.
type Waker interface {
	// Wake is called once for each time a connection was parked. It must not block.
	Wake()
}

// ErrWouldBlock is what Read returns in non-blocking mode when there is nothing to
// read yet. It is temporary, which lets a tls.Conn read again afterwards.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "operation would block" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }
