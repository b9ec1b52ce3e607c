package client

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"postern/proxy/standin"
)

// A server takes the ClientHello for one, does its part, and then finds the
// client gone, as often as it is called.
func TestUnfinished(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	u := Unfinished{Caller: Caller{TLS: cert.Client(), Patience: time.Minute, Dial: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			hellos := 0
			config := cert.Server()
			config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				hellos += len(h.CipherSuites)
				return nil, nil
			}
			err := tls.Server(theirs, config).Handshake()
			if hellos == 0 || err == nil {
				t.Errorf("%d cipher suites offered, then %v", hellos, err)
			}
			ended <- err
		}()
		return ours, nil
	}}}
	for range 2 {
		if err := u.Call(t.Context(), netip.Addr{}); err != nil {
			t.Error(err)
		}
		<-ended
	}
}

// A server that hangs up, or says an alert, has not done its part.
func TestUnfinishedIsTurnedAway(t *testing.T) {
	for _, said := range []string{"", "\x15\x03\x03\x00\x02\x02\x50", "* BYE later\r\n"} {
		u := Unfinished{Caller: Caller{TLS: &tls.Config{ServerName: "localhost"}, Patience: time.Minute, Dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if said != "" {
					_, _ = theirs.Read(make([]byte, 4096))
					_, _ = io.WriteString(theirs, said)
				}
			}()
			return ours, nil
		}}}
		if err := u.Call(t.Context(), netip.Addr{}); err == nil || Reason(err) != "TLS failed" && Reason(err) != "wrong answer" {
			t.Errorf("%q: reason %q of %v", said, Reason(err), err)
		}
	}
}
