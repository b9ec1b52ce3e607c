package proxy

import (
	"net/netip"
	"time"

	"postern/limiter"
)

// Attempt is one login a client asked for, told when it is settled: a session
// may go on for days, and nobody should learn of its login only then.
type Attempt struct {
	Session  string // the ID of the connection's Record
	Listener string
	Protocol string
	Client   netip.AddrPort
	Account  string // as the client sent it: unescaped and of any length up to a line
	Method   string // how the client logged in: LOGIN, USER or a SASL mechanism
	Backend  string // address of the backend that was asked, empty if none was
	Verdict  limiter.Verdict
	Observed bool // Verdict was told of and not acted on
	Outcome  limiter.Outcome
	Waited   time.Duration // in the tarpit
	Gone     bool          // the client left while it waited
	Took     time.Duration // from the request to its answer, the wait included
	Greeting time.Duration // from accept to the greeting; of a connection's first attempt only, else zero
	Err      error         // why no backend settled it, nil if one did
}

// Record is the whole story of one connection, made once, at its end.
type Record struct {
	ID       string // tells this connection from all others, those before a restart included
	Listener string
	Protocol string
	Start    time.Time
	Duration time.Duration
	Client   netip.AddrPort // from the PROXY header, where one is believed
	Local    netip.AddrPort // the address the client connected to, likewise

	Handshake Handshake
	TLS       string // "TLS 1.3", empty in clear text
	Cipher    string
	Resumed   bool

	// Verdict is the strictest the connection met: at connect, at an attempt or
	// from a room that was full.
	Verdict  limiter.Verdict
	Observed bool   // verdicts were told of and not acted on
	Attempts int    // that were settled
	Account  string // of the accepted attempt, empty without one
	Backend  string // where the session was relayed to

	Greeting time.Duration // from accept to the greeting, zero if it was not reached
	Login    time.Duration // from accept to the accepted login, zero without one

	Step       Step // where the connection ended
	End        End  // why
	Err        error
	FromClient int64 // octets relayed after login
	ToClient   int64
}

// Handshake is what became of the TLS handshake.
type Handshake uint8

// The handshakes.
const (
	HandshakeNone   Handshake = iota // none was begun
	HandshakeDone                    // the connection is in TLS
	HandshakeFailed                  // it broke off
)

// Room is a step in the walk of a connection.
type Step uint8

// The rooms, in the order of the walk.
const (
	StepAccept Step = iota
	StepProxyHeader
	StepConnect
	StepTLS
	StepDialogue
	StepVerdict
	StepTarpit
	StepDial
	StepReplay
	StepRelay
)

// String is the room's name in logs.
func (r Step) String() string {
	return [...]string{
		"accept", "proxy_header", "connect", "tls", "dialogue", "verdict", "tarpit", "dial", "replay", "relay",
	}[r]
}

// End is why a connection ended.
type End uint8

// The ends.
const (
	EndClient      End = iota // the client left or was lost
	EndBackend                // the backend closed a session, as after LOGOUT, or failed a login
	EndRefused                // by a verdict
	EndTries                  // too many denied attempts
	EndTimeout                // took too long before login, or was silent for too long after
	EndProtocol               // the client broke the protocol, or spoke another
	EndTLS                    // the handshake failed
	EndProxyHeader            // a PROXY header was missing or malformed
	EndProbe                  // a health check by a load balancer
	EndEvicted                // made room for another connection
	EndShutdown               // the gate went down
	EndPanic                  // a fault of the gate
	numEnds
)

// String is the end's name in logs and metrics.
func (e End) String() string {
	return [...]string{
		"client", "backend", "refused", "tries", "timeout", "protocol", "tls", "proxy_header", "probe", "evicted",
		"shutdown", "panic",
	}[e]
}

// Ends returns every End there is, for metrics that start at zero.
func Ends() []End {
	ends := make([]End, numEnds)
	for i := range ends {
		ends[i] = End(i)
	}
	return ends
}
