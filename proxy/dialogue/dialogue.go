// Package dialogue implements what IMAP (RFC 3501, RFC 9051), POP3 (RFC 1939, RFC
// 2449) and ManageSieve (RFC 5804) exchange before login: towards the client, and
// towards the backend that checks the credentials. The proxy must know the account
// before it dials a backend, so it parses the client's commands itself and replays
// the login.
//
// The package parses, answers and replays. It does not decide who may try to log
// in, how long an attempt waits or which backend is used: package proxy does. It
// sets no deadlines and closes no connection: package proxy does that as well.
//
// A Protocol is a stateless value. The state of a dialogue is in its Conn or on
// the stack of ReadRequest, and ends with it. Of each protocol one file faces the
// client (imap_client.go) and one the backend (imap_server.go); exchange.go relays
// between both.
//
// All text that the proxy itself sends to clients is in this package. None of it
// repeats input, apart from a well-formed IMAP tag.
package dialogue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"

	"github.com/emersion/go-sasl"
)

// Protocol is one mail protocol before login. Its values are IMAP, POP3 and Sieve.
// None of its methods closes a connection.
type Protocol interface {
	// Name is the protocol's name in settings, metrics and logs: "imap", "pop3" or
	// "sieve".
	Name() string
	// Title is the protocol's name for people: "IMAP", "POP3" or "ManageSieve".
	Title() string
	// ALPN is the protocol's ID in the TLS extension (RFC 7301).
	ALPN() string

	// Greet writes the greeting.
	Greet(c *Conn, o Offer) error
	// GreetTLS writes what the server sends first after the handshake that AnswerTLS
	// began.
	GreetTLS(c *Conn, o Offer) error
	// ReadRequest answers the client's commands until one needs a decision of
	// the proxy. After an error the dialogue is over, and the client has had its
	// last reply, if it gets one. ErrHostile, ErrTooLong and ErrBadCommands are
	// the client's fault, any other error is the connection's.
	ReadRequest(c *Conn, o Offer) (Request, error)
	// Answer writes the reply to r that a means in this protocol. For the zero
	// Request it writes the untagged form.
	Answer(c *Conn, r Request, a Answer) error

	// ReadGreeting reads the backend's greeting. If upgrade is not nil it then
	// asks for TLS, and calls upgrade when the backend expects the handshake.
	ReadGreeting(up *Conn, upgrade func() error) error
	// Probe reads the greeting like ReadGreeting and returns the backend's
	// capabilities.
	Probe(up *Conn, upgrade func() error) (Capabilities, error)
	// Login replays r to a backend whose greeting has been read. A password goes
	// as one SASL PLAIN line; the challenges and responses of other mechanisms
	// are relayed between up and c. Login does not write the Reply to the client.
	// An error means that the backend closed or violated the protocol.
	Login(up, c *Conn, r Request) (Reply, error)
}

// Protocols lists all protocols.
func Protocols() []Protocol { return []Protocol{IMAP{}, POP3{}, Sieve{}} }

// Offer is what one client may use now.
type Offer struct {
	TLS       bool         // the connection is in TLS
	StartTLS  bool         // the client may start TLS
	Cleartext bool         // passwords are allowed without TLS
	Backend   Capabilities // what the backend offers; nil if not known yet

	// Admits, if set, reports whether POP3's USER may name this account. AUTH and
	// the commands of IMAP do not call it: there the password comes with the name.
	Admits func(account string) bool

	// Forwarder says that the client may name another one that it connects for. In POP3
	// only such a client is offered XCLIENT.
	Forwarder bool
	// Forwarded, if set, is called when a client names another one that it connects for.
	// If it returns false, ReadRequest returns NotAdmitted.
	Forwarded func(Forwarded) bool
}

// Forwarded is what a client sends about another one that it connects for, as webmail
// and proxies do: by the fields x-originating-ip, x-originating-port and x-session-id of
// IMAP's ID, or by POP3's XCLIENT, both in the form that Dovecot understands.
type Forwarded struct {
	Client  netip.AddrPort // without a port, the port is 0; invalid if the text was no address
	Session string         // how the client's own log names the session; at most maxSessionID octets, of any value
	Late    bool           // this is not the first ID of the connection, and Dovecot takes only that
}

// secure reports whether the client may send a password.
func (o Offer) secure() bool { return o.TLS || o.Cleartext }

// Kind is the kind of a Request.
type Kind uint8

// The requests that need a decision of the proxy.
const (
	Logout      Kind = iota // the client logs out; it has been answered
	StartTLS                // the client starts TLS and waits for AnswerTLS
	Login                   // the client logs in and waits for an answer
	NotAdmitted             // Admits or Forwarded returned false, and the client waits for an answer
)

// Request is a client's request as ReadRequest returns it.
type Request struct {
	Kind Kind
	Tag  string // IMAP: the command's tag

	// Account is the user name as the client wrote it, empty where the
	// mechanism does not show it yet.
	Account string
	// Method is how the client logs in, for logs: LOGIN, USER or a mechanism.
	Method string
	// Mechanism is the SASL mechanism to use with the backend.
	Mechanism string
	// Response is the initial response, decoded; for PLAIN the whole message.
	// HasResponse distinguishes an empty response from none (RFC 4959 section 3).
	Response    Secret
	HasResponse bool
	// Unfit reports credentials that no account has, by their octets or their
	// length, and that some backends mishandle. They must be denied without a
	// backend.
	Unfit bool
	// Admits, if set, reports whether an account may go on that the client names
	// only during the exchange. It is called before the backend gets the name.
	Admits func(account string) bool `json:"-"`
}

// Password returns the password in r, which shares its memory: Wipe of Response
// overwrites both. It is nil where the mechanism does not show a password, and
// where the client wants to act for another account than the one it belongs to.
func (r Request) Password() Secret {
	if r.Mechanism != sasl.Plain {
		return nil
	}
	authzid, name, password, _ := plainParts(r.Response)
	if len(authzid) > 0 && !bytes.Equal(authzid, name) {
		return nil
	}
	return password
}

// WaitsForClient reports whether a login with r asks the client for an answer before
// the backend can check its credentials: those of CRAM-MD5 and SCRAM answer a
// challenge. Those of the other mechanisms that start with the client's message are
// complete in it.
func (r Request) WaitsForClient() bool {
	switch r.Mechanism {
	case sasl.Plain, sasl.External, sasl.OAuthBearer, "XOAUTH2":
		return !r.HasResponse
	}
	return true
}

// Secret is a password, a token or what contains one. It prints, logs and
// marshals as [secret], also inside other values.
type Secret []byte

const hidden = "[secret]"

// Format hides the secret from every verb of package fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText hides the secret from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the secret from log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Wipe overwrites the secret.
func (s Secret) Wipe() { clear(s) }

// Answer is a reply that the proxy makes itself.
type Answer uint8

// The answers of the proxy. Only AnswerDenied means a wrong password: clients
// must not ask their users for a new one because the service is busy.
const (
	AnswerTLS      Answer = iota // start the handshake now
	AnswerBusy                   // try later, any account: refused or no backend
	AnswerDelay                  // try later, this account: refused by a rule about it
	AnswerDenied                 // wrong credentials
	AnswerTries                  // too many wrong credentials on this connection
	AnswerTimeout                // the client took too long to log in
	AnswerShutdown               // the proxy shuts down
)

// Result is what a backend's reply means for the attempt.
type Result uint8

// The results of a Login.
const (
	// Unavailable is any reply that is not about the credentials.
	Unavailable Result = iota
	// Accepted means that the client is logged in; what follows is relayed.
	Accepted
	// Denied means that the credentials are wrong.
	Denied
	// Cancelled means that the client cancelled the exchange before its
	// credentials were checked.
	Cancelled
	// Refused means that Admits refused the account. The backend still waits for
	// the client's response.
	Refused
)

// Reply is the outcome of a Login.
type Reply struct {
	Result Result
	// Account is the user name, when the exchange has shown it.
	Account string
	// Raw is the reply to the client: complete lines under its own tag. It is
	// empty when the client has closed the connection.
	Raw []byte
}

// Errors by which a client ends the dialogue.
var (
	ErrHostile     = errors.New("client sent another protocol, or data behind STARTTLS")
	ErrTooLong     = errors.New("line or literal too long")
	ErrBadCommands = errors.New("client sent too many bad commands")
)

// Mistakes of a client in an exchange, which are answered: "*" cancels it (RFC
// 3501 section 6.2.2).
var (
	errCancelled = errors.New("client cancelled the exchange")
	errBase64    = errors.New("response is not valid base64")
)
