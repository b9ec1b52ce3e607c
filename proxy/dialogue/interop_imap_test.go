package dialogue

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"testing"
	"testing/quick"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-sasl"
)

// imapSession records the login; nothing else of a session is called.
type imapSession struct {
	imapserver.Session
	backend *backendServer
}

func (imapSession) Close() error                               { return nil }
func (imapSession) AuthenticateMechanisms() []string           { return []string{sasl.Plain} }
func (s imapSession) Authenticate(string) (sasl.Server, error) { return s.backend.authenticate(), nil }
func (s imapSession) Login(string, string) error               { return errors.New("LOGIN instead of AUTHENTICATE") }

// newIMAPBackend is go-imap's server.
func newIMAPBackend(t testing.TB) *backendServer {
	t.Helper()
	b := newBackendServer(t)
	server := imapserver.New(&imapserver.Options{
		Caps: imap.CapSet{imap.CapIMAP4rev1: {}}, InsecureAuth: true, Logger: log.New(io.Discard, "", 0),
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return imapSession{backend: b}, &imapserver.GreetingData{}, nil
		},
	})
	go func() { _ = server.Serve(b) }()
	return b
}

// goIMAPOffers are the capabilities by which go-imap's client decides how to send
// a string: as a synchronising literal, at once, or in quotes with 8-bit octets,
// and whether the initial response has a line of its own.
var goIMAPOffers = []Capabilities{
	{"IMAP4rev1", "AUTH=PLAIN", "AUTH=LOGIN"},
	{"IMAP4rev1", "SASL-IR", "LITERAL+", "AUTH=PLAIN", "AUTH=LOGIN"},
	{"IMAP4rev1", "IMAP4rev2", "LITERAL-", "AUTH=PLAIN", "AUTH=LOGIN"},
}

// goIMAPMethods are the ways in which go-imap's client sends a password.
var goIMAPMethods = []struct {
	name string
	send func(c *imapclient.Client, name, password string) error
}{
	{"LOGIN", func(c *imapclient.Client, name, password string) error { return c.Login(name, password).Wait() }},
	{"AUTHENTICATE PLAIN", func(c *imapclient.Client, name, password string) error {
		return c.Authenticate(sasl.NewPlainClient("", name, password))
	}},
	{"AUTHENTICATE LOGIN", func(c *imapclient.Client, name, password string) error {
		client := sasl.NewLoginClient(name, password)
		if !c.Caps().Has(imap.CapSASLIR) {
			client = &promptedClient{Client: client}
		}
		return c.Authenticate(client)
	}},
}

// promptedClient sends the first response of a client only after the server's
// first challenge, which in LOGIN is not empty.
type promptedClient struct {
	sasl.Client
	first []byte
}

func (c *promptedClient) Start() (mechanism string, ir []byte, err error) {
	mechanism, c.first, err = c.Client.Start()
	return mechanism, nil, err
}

func (c *promptedClient) Next(challenge []byte) ([]byte, error) {
	if first := c.first; first != nil {
		c.first = nil
		return first, nil
	}
	return c.Client.Next(challenge)
}

// checkGoIMAP logs in by go-imap's client, and checks what reached go-imap's
// server and what the client got.
func checkGoIMAP(t testing.TB, b *backendServer, method, offer int, name, password string) {
	t.Helper()
	m, o := goIMAPMethods[method], Offer{TLS: true, Backend: goIMAPOffers[offer]}
	l := b.through(IMAP{}, o, func(conn net.Conn) error {
		c := imapclient.New(conn, nil)
		defer c.Close()
		if err := c.WaitGreeting(); err != nil {
			return err
		}
		return m.send(c, name, password)
	})
	var status *imap.Error
	_ = errors.As(l.client, &status)
	if l.readErr != nil && l.request.Kind != Login && mayRefuse(m.name, offer, name, password) {
		if l.client == nil || l.received != (credentials{}) {
			t.Errorf("%s was refused, and the client got %v, the backend %.300q", m.name, l.client, l.received)
		}
		return
	}
	l.check(t, name, password)
	switch {
	case l.request.Unfit || l.reply.Result == Denied:
		if status == nil || status.Type != imap.StatusResponseTypeNo || status.Code != imap.ResponseCodeAuthenticationFailed {
			t.Errorf("%s was denied, and the client got %v", m.name, l.client)
		}
	case l.client != nil:
		t.Errorf("%s was accepted, and the client got %v", m.name, l.client)
	}
}

// mayRefuse reports whether a login cannot be read as sent: it exceeds the limits,
// has a NUL in a PLAIN message, or an empty response that go-imap sends as "=",
// which is allowed as initial response only (RFC 4959 section 3).
func mayRefuse(method string, offer int, name, password string) bool {
	const safe = maxResponse - 100 // in base64 still shorter than maxLine
	both := name + password
	switch {
	case len(both)+strings.Count(both, `"`)+strings.Count(both, `\`) > safe:
		return true
	case method == "AUTHENTICATE PLAIN":
		return strings.Contains(both, "\x00")
	case method == "AUTHENTICATE LOGIN":
		return password == "" || name == "" && offer != 1
	}
	return false
}

// FuzzGoIMAP logs in through the package with arbitrary names and passwords.
func FuzzGoIMAP(f *testing.F) {
	for i, pair := range [][2]string{
		{"user", "pass"}, {"", ""}, {"user@example.org", "correct horse"}, {`us"er\`, `"\"\\`}, {"jörg", "пароль\U0001f512"},
		{"us\xffer", "pa\x80ss"}, {"user", "pa\x00ss"}, {"us\r\ner", "pass"}, {"user", "\r\na LOGOUT\r\n"}, {"user {4+}", "{4}"},
		{"user", strings.Repeat("x", 4096)}, {"user", strings.Repeat("x", 4097)}, {"user", strings.Repeat(`"`, 4096)},
		{strings.Repeat("n", 3000), strings.Repeat("\xe9", 2900)}, {"user", strings.Repeat("p", maxResponse-6)},
		{"user", strings.Repeat("p", maxResponse-5)}, {"user", "*"}, {"NIL", "=="},
	} {
		for method := range goIMAPMethods {
			f.Add(byte(method), byte(i), pair[0], pair[1])
		}
	}
	b := newIMAPBackend(f)
	f.Fuzz(func(t *testing.T, method, offer byte, name, password string) {
		checkGoIMAP(t, b, int(method)%len(goIMAPMethods), int(offer)%len(goIMAPOffers), name, password)
	})
}

// TestGoIMAPLogsIn sends generated names and passwords by every method of go-imap's
// client, for every set of capabilities.
func TestGoIMAPLogsIn(t *testing.T) {
	for method, m := range goIMAPMethods {
		for offer := range goIMAPOffers {
			t.Run(fmt.Sprintf("%s/%d", m.name, offer), func(t *testing.T) {
				b := newIMAPBackend(t)
				property := func(name, password octetString) bool {
					checkGoIMAP(t, b, method, offer, string(name), string(password))
					return !t.Failed()
				}
				if err := quick.Check(property, quickConfig(150)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
