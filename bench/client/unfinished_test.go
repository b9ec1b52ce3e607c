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

// The server gets a valid ClientHello, sends its part, and loses the connection,
// every time.
func TestUnfinishedHandshake(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	u := UnfinishedHandshake{TLS: cert.Client(), Timeout: time.Minute, Connect: func(context.Context) (net.Conn, error) {
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
	}}
	for range 2 {
		if err := u.Start(t.Context(), netip.Addr{}); err != nil {
			t.Error(err)
		}
		<-ended
	}
}

// A server that closes the connection, or sends an alert, has not sent its part.
func TestUnfinishedHandshakeIsRefused(t *testing.T) {
	for _, answer := range []string{"", "\x15\x03\x03\x00\x02\x02\x50", "* BYE later\r\n"} {
		u := UnfinishedHandshake{TLS: &tls.Config{ServerName: "localhost"}, Timeout: time.Minute, Connect: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if answer != "" {
					_, _ = theirs.Read(make([]byte, 4096))
					_, _ = io.WriteString(theirs, answer)
				}
			}()
			return ours, nil
		}}
		if err := u.Start(t.Context(), netip.Addr{}); err == nil || Reason(err) != "TLS failed" && Reason(err) != "unexpected answer" {
			t.Errorf("%q: reason %q of %v", answer, Reason(err), err)
		}
	}
}
