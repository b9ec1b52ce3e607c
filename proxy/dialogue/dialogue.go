package dialogue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/emersion/go-sasl"
)

// Protocol is what IMAP and POP3 each know about the conversation before login.
// IMAP and POP3 are its two values. None of its methods closes a connection.
type Protocol interface {
	// Name is the protocol's name in settings, metrics and logs, and its ALPN
	// protocol ID: "imap" or "pop3".
	Name() string

	// Greet writes the greeting.
	Greet(c *Conn, o Offer) error
	// Hear talks with the client until it asks for something the gate must
	// decide. An error means the conversation is over; the client has already
	// been told what it is to be told. ErrHostile, ErrTooLong and ErrStrikes
	// name the client's fault, anything else is the connection's.
	ReadRequest(c *Conn, o Offer) (Request, error)
	// Answer tells the client, in this protocol's words, what became of r. The
	// zero Request gives the form that answers no command.
	Answer(c *Conn, r Request, a Answer) error

	// Welcome reads the backend's greeting, and starts TLS when upgrade is not
	// nil: it is called once the backend is ready for the handshake.
	ReadGreeting(up *Conn, upgrade func() error) error
	// Probe is Welcome, then the question for the capabilities the backend offers.
	Probe(up *Conn, upgrade func() error) (Capabilities, error)
	// Login replays r to a backend that has been welcomed. A password goes as
	// one SASL PLAIN line; the rounds of any other mechanism are relayed
	// between up and c. The Reply says what the client is to be told; it has not
	// been told yet. An error means the backend broke off or spoke nonsense.
	Login(up, c *Conn, r Request) (Reply, error)
}

// Offer is what the gate can offer one client at this moment.
type Offer struct {
	TLS       bool         // the client is in TLS
	StartTLS  bool         // the client may begin TLS here
	Cleartext bool         // passwords are allowed without TLS
	Backend   Capabilities // what the backend says it can do; nil if that is not known

	// Admits, if set, is asked in POP3 whether the account that USER names may
	// go on to its password. In AUTH, as in IMAP, the name comes too late.
	Admits func(account string) bool
}

// secure says whether a password may travel.
func (o Offer) secure() bool { return o.TLS || o.Cleartext }

// Kind is what a client asks for.
type Kind uint8

// The requests the gate must act on.
const (
	Logout    Kind = iota // the client said goodbye and has been answered
	StartTLS             // the client wants TLS and waits for AnswerTLS
	Login                // the client wants in and waits for an answer
	NotAdmitted                // the client named an account that is not admitted, and waits for an answer
)

// Request is what Hear heard.
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
	// HasResponse tells an empty one from none (RFC 4959 section 3).
	Response    Secret
	HasResponse bool
	// Unfit says that the credentials hold octets that no account has, or more
	// of them, and that backends have tripped over. They must be denied without
	// asking one.
	Unfit bool
	// Admits, if set, is asked for the account that a client names in the middle
	// of an exchange, before the backend hears of it.
	Admits func(account string) bool `json:"-"`
}

// Password returns the password in r, which Wipe overwrites with it. It is nil
// where the mechanism does not show one, and where the client wants to act for
// another account than the one whose password it is.
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

// Secret is something that must not be seen: it prints, logs and marshals as
// [secret], inside other values too.
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

// Answer is the gate's own word to a client.
type Answer uint8

// What the gate can answer. Clients must not ask their users for a new password
// because the gate is busy, so only Denied says that the password was wrong.
const (
	AnswerTLS      Answer = iota // begin the handshake now
	AnswerBusy                   // not now, whoever you are: refused or no backend
	AnswerDelay                  // not now, into this account: refused by a rule about it
	AnswerDenied                 // wrong credentials
	AnswerTries                  // too many wrong credentials on this connection
	AnswerTimeout                // took too long to log in
	AnswerShutdown               // the gate is going down
)

// Result is what a backend's reply means for the attempt.
type Result uint8

// The results of a Login.
const (
	// Unavailable is any reply that says nothing about the credentials.
	Unavailable Result = iota
	// Accepted means the client is in; bytes that follow are the session's.
	Accepted
	// Denied means the credentials are wrong.
	Denied
	// Cancelled means the client broke off an exchange before it had made a guess.
	Cancelled
	// Refused means that the account is not admitted. The backend waits for a
	// response that will not come.
	Refused
)

// Reply is the backend's word on a Login.
type Reply struct {
	Result Result
	// Account is the user name, when the exchange has shown it.
	Account string
	// Raw is what the client is to be told, as complete lines under its own
	// tag. It is empty when the client has left.
	Raw []byte
}

// What a client can do that ends the conversation.
var (
	ErrHostile = errors.New("client does not speak this protocol")
	ErrTooLong = errors.New("client sent more than the protocol allows")
	ErrBadCommands = errors.New("client sent too many bad commands")
)

// errCancelled is a client's "*" in the middle of an exchange (RFC 3501 section
// 6.2.2), errBase64 a response that is not base64.
var (
	errCancelled = errors.New("client cancelled the exchange")
	errBase64    = errors.New("client sent a response that is not base64")
)
