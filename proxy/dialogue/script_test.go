package dialogue_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"postern/proxy/dialogue"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// listenerOffers are the capabilities of the scripts' backends.
var listenerOffers = map[string]dialogue.Capabilities{
	"imap": {
		"IMAP4rev1", "SASL-IR", "LOGIN-REFERRALS", "LITERAL+", "ID", "ENABLE", "STARTTLS", "AUTH=PLAIN", "AUTH=LOGIN",
		"AUTH=CRAM-MD5", "AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-256-PLUS", "AUTH=XOAUTH2", "AUTH=OAUTHBEARER",
	},
	"pop3": {
		"TOP", "UIDL", "RESP-CODES", "PIPELINING", "STLS", "USER",
		"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER",
	},
	"sieve": {
		"IMPLEMENTATION Dovecot Pigeonhole", "SIEVE fileinto vacation", "NOTIFY mailto", "STARTTLS", "VERSION 1.0", "XCLIENT", "UNAUTHENTICATE",
		"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER",
	},
}

// testProxy connects a client and its backend by the dialogue alone, without a
// limiter.
type testProxy struct {
	protocol dialogue.Protocol
	offer    dialogue.Offer
	tls      *tls.Config
	dial     func() (net.Conn, error)
}

// serve runs the dialogue with a client until it is logged in or has closed, and
// returns the error that ended it. It closes client.
func (p testProxy) serve(client net.Conn) error {
	defer client.Close()
	c := dialogue.NewConn(client)
	defer func() { c.Close() }() // sends TLS's close_notify
	if p.offer.TLS {
		c.Restart(tls.Server(client, p.tls))
	}
	if err := p.protocol.Greet(c, p.offer); err != nil {
		return err
	}
	for {
		r, err := p.protocol.ReadRequest(c, p.offer)
		switch {
		case err != nil || r.Kind == dialogue.Logout:
			return err
		case r.Kind == dialogue.StartTLS:
			if err := p.protocol.Answer(c, r, dialogue.AnswerTLS); err != nil {
				return err
			}
			c.Restart(tls.Server(client, p.tls))
			p.offer.TLS, p.offer.StartTLS = true, false
			if err := p.protocol.GreetTLS(c, p.offer); err != nil {
				return err
			}
			continue
		}
		if again, err := p.login(c, r); !again {
			return err
		}
	}
}

// login replays one request, and reports whether the client may try again.
func (p testProxy) login(c *dialogue.Conn, r dialogue.Request) (again bool, err error) {
	if r.Unfit {
		return true, p.protocol.Answer(c, r, dialogue.AnswerDenied)
	}
	conn, err := p.dial()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	up := dialogue.NewConn(conn)
	if err := p.protocol.ReadGreeting(up, nil); err != nil {
		return false, err
	}
	reply, err := p.protocol.Login(up, c, r)
	if err != nil {
		return false, p.protocol.Answer(c, r, dialogue.AnswerBusy)
	}
	if _, err := c.Write(reply.Raw); err != nil {
		return false, err
	}
	if reply.Result == dialogue.Accepted {
		relay(c, up)
	}
	return reply.Result == dialogue.Denied || reply.Result == dialogue.Cancelled, nil
}

// relay copies both ways until either side closes. Then nothing is written to the client
// any more, or TLS could not send its close_notify.
func relay(c, up *dialogue.Conn) {
	fromClient, toClient := make(chan struct{}), make(chan struct{})
	copyAll := func(dst, src *dialogue.Conn, done chan<- struct{}) {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			n, err := src.Read(buffer)
			if n > 0 {
				_, _ = dst.Write(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}
	go copyAll(up, c, fromClient)
	go copyAll(c, up, toClient)
	select {
	case <-fromClient:
		up.Close()
		<-toClient
	case <-toClient:
	}
}

// TestScripts plays every scripted dialogue through the parser and the replay
// alone. Package proxy plays the same ones through the whole proxy.
func TestScripts(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	protocols := map[string]dialogue.Protocol{"imap": dialogue.IMAP{}, "pop3": dialogue.POP3{}, "sieve": dialogue.Sieve{}}
	files, err := filepath.Glob("testdata/dlg/*.dlg")
	if err != nil || len(files) < 130 {
		t.Fatalf("found %d scripts: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := mailtest.ParseScripts(filepath.Base(file), data)
		if err != nil {
			t.Fatal(err)
		}
		for _, script := range scripts {
			t.Run(script.Name, func(t *testing.T) {
				t.Parallel()
				listener := script.Listener
				backend := listen(t)
				p := testProxy{
					protocol: protocols[listener.Protocol],
					offer: dialogue.Offer{
						TLS: listener.TLS, StartTLS: !listener.TLS, Cleartext: listener.Cleartext, Backend: listenerOffers[listener.Protocol],
					},
					tls:  cert.Server(),
					dial: func() (net.Conn, error) { return net.Dial("tcp", backend.Addr().String()) },
				}
				front := listen(t)
				ended := make(chan error, 1)
				go func() {
					conn, err := front.Accept()
					if err == nil {
						err = p.serve(conn)
					}
					ended <- err
				}()
				client, err := net.Dial("tcp", front.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				script.Play(t, mailtest.Endpoints{
					Client:   client,
					Backends: mailtest.AcceptBackend(t, backend, standin.Options{}),
				})
				if err := <-ended; errors.Is(err, dialogue.ErrFull) {
					t.Error(err)
				}
			})
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}
