package proxy

import (
	"errors"
	"net"
	"time"
)

// wire is the TCP connection under one side of a session, as TLS sees it. While
// there is a spot for it, Read does not wait.
type wire struct {
	net.Conn
	spot spot // nil but in a relay and in the tarpit, and where there is none for such a connection
}

// sleeper is one who reads a connection and does not wait in Read.
type sleeper interface {
	// wake says that there may be something to read. It must not block.
	wake()
}

// spot is where a connection is left while nobody waits in Read. All its methods
// are for the sleeper.
type spot interface {
	// read returns what there is to read, or errNothing.
	read(p []byte) (int, error)
	// arm has the sleeper woken when there is something to read, also if there is
	// already.
	arm() error
	// leave gives the spot back. The connection is open still.
	leave()
}

// errNothing is what a read that does not wait returns when there is nothing to
// read yet. It is temporary, so that TLS goes on afterwards.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read yet" }
func (nothing) Timeout() bool   { return false }
func (nothing) Temporary() bool { return true }

// Read waits for something to read, or returns errNothing if there is a spot to
// wait in.
func (w *wire) Read(p []byte) (int, error) {
	if w.spot != nil {
		return w.spot.read(p)
	}
	return w.Conn.Read(p)
}

// keepAlive has the kernel notice that a silent peer is gone, in about a quarter
// of an hour. Only sessions that are logged in are worth the calls, and telephones
// are not to be woken often.
func (w *wire) keepAlive() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Minute, Interval: -1, Count: -1})
	}
}

// CloseWrite tells the peer that no more will come.
func (w *wire) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// leaveSpot has Read wait again.
func (w *wire) leaveSpot() {
	if w.spot != nil {
		w.spot.leave()
		w.spot = nil
	}
}

// Close gives up the spot and closes the connection.
func (w *wire) Close() error {
	w.leaveSpot()
	return w.Conn.Close()
}
