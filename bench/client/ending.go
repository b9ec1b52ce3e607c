package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

var (
	errTLS        = errors.New("TLS handshake")
	errTurnedAway = errors.New("turned away by the greeting")
	errNonsense   = errors.New("not an answer")
)

// nonsense says what was heard in place of an answer.
func nonsense(what string, l []byte) error {
	return fmt.Errorf("%w to %s: %.80q", errNonsense, what, l)
}

// Reason puts an error of this package into one of a few words, to count by.
func Reason(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, errTurnedAway):
		return "turned away"
	case errors.Is(err, errTLS):
		return "TLS failed"
	case errors.Is(err, errNonsense):
		return "wrong answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		return "bench out of sockets"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection lost"
	}
	return "other error"
}
