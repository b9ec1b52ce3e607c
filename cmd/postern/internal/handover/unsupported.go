//go:build !linux

package handover

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// errUnsupported is the error of every function here.
var errUnsupported = fmt.Errorf("hand over to another process: not supported on this system: %w", errors.ErrUnsupported)

// Link is one end of a connection between two processes.
type Link struct{}

// Pair is not supported on this system.
func Pair() (own *Link, theirs *os.File, err error) { return nil, nil, errUnsupported }

// FromFile is not supported on this system. It closes f.
func FromFile(f *os.File) (*Link, error) {
	closeFiles([]*os.File{f})
	return nil, errUnsupported
}

// Send is not supported on this system.
func (l *Link) Send(Kind, []byte, ...*os.File) error { return errUnsupported }

// Receive is not supported on this system.
func (l *Link) Receive() (Message, error) { return Message{}, errUnsupported }

// SetDeadline is not supported on this system.
func (l *Link) SetDeadline(time.Time) error { return errUnsupported }

// SetSendDeadline is not supported on this system.
func (l *Link) SetSendDeadline(time.Time) error { return errUnsupported }

// Close is not supported on this system.
func (l *Link) Close() error { return errUnsupported }

// File is not supported on this system.
func (l *Link) File() (*os.File, error) { return nil, errUnsupported }

// Start is not supported on this system.
func Start(string, []string, []string, *os.File) (*os.Process, error) { return nil, errUnsupported }

// FromEnviron returns no link: on this system, no process of a gateway starts another.
func FromEnviron(environ []string) (link *Link, rest []string, err error) { return nil, environ, nil }

// Socket is a descriptor that the service manager passed to this process.
type Socket struct {
	Name string
	File *os.File
}

// Sockets returns none: there is no systemd on this system.
func Sockets(environ []string) (sockets []Socket, rest []string, err error) { return nil, environ, nil }

// Notify does nothing: there is no systemd on this system.
func Notify([]string, string, ...*os.File) error { return nil }
