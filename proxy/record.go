package proxy

import (
	"net/netip"
	"time"

	"postern/limiter"
)

// Attempt is one login that a client asked for. It is reported when it is settled and not
// with the Record, for a session may last for days.
type Attempt struct {
	Session          string // the ID of the connection's Record
	Listener         string
	Protocol         string
	Client           netip.AddrPort // as in the Record, like Proxied, Forwarder and ForwarderSession
	Proxied          bool
	Forwarder        netip.AddrPort
	ForwarderSession string

	Account  string // as the client sent it: not escaped, up to a line long
	Method   string // how the client logged in: LOGIN, USER or a SASL mechanism
	JA4      string // of the client's TLS; empty in clear text and from forwarders
	Backend  string // address of the backend that was asked, empty if none was
	Verdict  limiter.Verdict
	Traits   limiter.Traits // not to be logged: they tell whether a password is right
	Observed bool           // Verdict was not enforced
	Outcome  limiter.Outcome
	Waited   time.Duration // in the tarpit
	Gone     bool          // the client closed while it waited
	// Abandoned says that the client left a challenge of the backend unanswered, which
	// had a login slot wait for it.
	Abandoned bool
	Took      time.Duration // from the request to its answer, including the wait
	Greeting  time.Duration // from accept to the greeting; of a connection's first attempt only, else zero
	Err       error         // why no backend settled it, nil if a backend did
}

// ByUser reports whether an attempt counts as one of a known user. One from the network
// of a user may be their neighbour's who guesses, and an account that logs in far more
// than its share may be in the hands of an attacker: how they are served says nothing
// about how users are.
func (a *Attempt) ByUser() bool {
	return a.Verdict.Known && !a.Traits.NetworkOnly && !a.Traits.Overused
}

// ByToken reports whether the client logged in with a token and not with a password.
func (a *Attempt) ByToken() bool { return isToken(a.Method) }

// Record is everything about one connection, made once, at its end.
type Record struct {
	ID       string // unique, also over restarts
	Listener string
	Protocol string
	Start    time.Time
	Duration time.Duration
	Client   netip.AddrPort // from the PROXY header, or as a forwarder named it, where that is accepted
	Local    netip.AddrPort // the address the client or its forwarder connected to, from the PROXY header likewise
	Proxied  bool           // the packets come from a load balancer, which has sent a PROXY header

	// Forwarder is the webmail or proxy that has named Client as its client, and
	// ForwarderSession how it named the session: not escaped, at most 64
	// octets. Both are zero if Client itself connected.
	Forwarder        netip.AddrPort
	ForwarderSession string
	Forwarded        ForwardedCounts // how often a client was named

	Handshake Handshake
	TLS       string // "TLS 1.3", empty in clear text
	Cipher    string
	Resumed   bool
	JA4       string // see [tlsconf.JA4]; empty in clear text and from forwarders

	// Verdict is the strictest that the connection met: at connect, at an attempt or
	// where a queue was full.
	Verdict  limiter.Verdict
	Observed bool   // verdicts were not enforced
	Attempts int    // that were settled
	Account  string // of the accepted attempt, empty without one
	Backend  string // where the session was relayed to

	Greeting time.Duration // from accept to the greeting, zero if it was not reached
	Login    time.Duration // from accept to the accepted login, zero without one

	Step       Step // where the connection ended
	End        End  // why
	Err        error
	FromClient int64 // bytes relayed after login
	ToClient   int64
}

// Handshake is the result of the TLS handshake.
type Handshake uint8

// The results of the handshake.
const (
	HandshakeNone   Handshake = iota // none was begun
	HandshakeDone                    // the connection is in TLS
	HandshakeFailed                  // it failed
)

// Step is a stage of a connection's life.
type Step uint8

// The steps, in their order.
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

// String is the step's name in logs.
func (r Step) String() string {
	return [...]string{
		"accept", "proxy_header", "connect", "tls", "dialogue", "verdict", "tarpit", "dial", "replay", "relay",
	}[r]
}

// End is why a connection ended.
type End uint8

// The ends.
const (
	EndClient      End = iota // the client closed or was lost
	EndBackend                // the backend closed a session, as after LOGOUT, or failed a login
	EndRefused                // by a verdict
	EndTries                  // too many denied attempts
	EndTimeout                // took too long before login, or was idle for too long after it
	EndProtocol               // the client violated the protocol, or spoke another
	EndTLS                    // the handshake failed
	EndProxyHeader            // a PROXY header was missing or malformed
	EndProbe                  // a health check by a load balancer
	EndEvicted                // for another connection
	EndBlocked                // an operator has blocked the client's network
	EndShutdown               // the server closed
	EndPanic                  // a fault in postern
	numEnds
)

// String is the end's name in logs and metrics.
func (e End) String() string {
	return [...]string{
		"client", "backend", "refused", "tries", "timeout", "protocol", "tls", "proxy_header", "probe", "evicted",
		"blocked", "shutdown", "panic",
	}[e]
}

// Ends returns every End, for metrics that start at zero.
func Ends() []End {
	ends := make([]End, numEnds)
	for i := range ends {
		ends[i] = End(i)
	}
	return ends
}
