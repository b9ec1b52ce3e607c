package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// Step is a part of a session.
type Step string

// The steps, in their order.
const (
	StepConnect  Step = "connect"
	StepTLS      Step = "TLS"
	StepGreeting Step = "greeting"
	StepStartTLS Step = "STARTTLS"
	StepLogin    Step = "login"
	StepLogout   Step = "logout"
)

// Failure is the error of a session: the step that failed and what the server
// said about it.
type Failure struct {
	Step Step
	Line string // with which the server refused or announced the close, "" for none
	Err  error
}

// Error is the step and the cause.
func (f *Failure) Error() string {
	if f.Line != "" {
		return fmt.Sprintf("%s: %v: %q", f.Step, f.Err, f.Line)
	}
	return fmt.Sprintf("%s: %v", f.Step, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// failed returns err as a [Failure] at a step, nil if err is nil.
func (s *Session) failed(at Step, err error) error {
	if err == nil {
		return nil
	}
	return &Failure{Step: at, Line: s.lastLine, Err: err}
}

// shownMax is how much of a line of the server is kept to be shown.
const shownMax = 200

// shown returns a line of the server as it is shown to people.
func shown(line []byte) string { return string(line[:min(len(line), shownMax)]) }

var (
	errTLS        = errors.New("TLS handshake")
	errRefused    = errors.New("refused by the greeting")
	errUnexpected = errors.New("unexpected answer")
)

// unexpected is the error for an answer that makes no sense.
func unexpected(to string, l []byte) error {
	return fmt.Errorf("%w to %s: %.80q", errUnexpected, to, l)
}

// The reasons that [Reason] returns.
const (
	Interrupted  = "interrupted"
	NoAnswer     = "no answer in time"
	Refused      = "refused by the greeting"
	TLSFailed    = "TLS failed"
	Unexpected   = "unexpected answer"
	NoListener   = "connection refused"
	NoSocket     = "bench out of sockets"
	Lost         = "connection lost"
	OtherFailure = "other error"
)

// Reason sorts an error of this package into one of a few reasons, to count by.
func Reason(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.As(err, &timeout) && timeout.Timeout():
		return NoAnswer
	case errors.Is(err, errRefused):
		return Refused
	case errors.Is(err, errTLS):
		return TLSFailed
	case errors.Is(err, errUnexpected):
		return Unexpected
	case errors.Is(err, syscall.ECONNREFUSED):
		return NoListener
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		return NoSocket
	case isClosed(err):
		return Lost
	}
	return OtherFailure
}

// isClosed reports whether the server has closed or reset the connection.
func isClosed(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// TLSCause says why a handshake failed.
type TLSCause int

// The causes.
const (
	TLSOther       TLSCause = iota
	TLSClosed               // the server closed the connection
	TLSRefused              // the server sent the alert internal_error, as postern does before a handshake that it refuses
	TLSCertificate          // the server's certificate is not trusted
	TLSNone                 // the server does not speak TLS
	TLSVersion              // client and server have no version or cipher suite in common
)

// CauseOfTLS returns why a handshake failed.
func CauseOfTLS(err error) TLSCause {
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var alert *net.OpError
	switch {
	case errors.As(err, &record):
		return TLSNone
	case errors.As(err, &certificate):
		return TLSCertificate
	case errors.As(err, &alert) && alert.Op == "remote error":
		// Package tls does not export the type of an alert of the server, but its texts are those of AlertError.
		switch alert.Err.Error() {
		case tls.AlertError(alertInternalError).Error():
			return TLSRefused
		case tls.AlertError(alertProtocolVersion).Error(), tls.AlertError(alertHandshakeFailure).Error():
			return TLSVersion
		}
	case isClosed(err):
		return TLSClosed
	}
	return TLSOther
}

// Alerts of RFC 8446, section 6.
const (
	alertHandshakeFailure = 40
	alertProtocolVersion  = 70
	alertInternalError    = 80
)
