package dialogue

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing/iotest"
)

// errClosed is the error of a wire whose peer has closed.
var errClosed = errors.New("peer has closed")

// wire is one end of a connection whose input is fixed. It keeps the output. Any
// other use of it is a mistake of the code under test, and panics.
type wire struct {
	net.Conn
	in     io.Reader
	out    bytes.Buffer
	writes int // so far
	failAt int // the first write that fails, from 1; 0 is none
}

// peerSends returns a wire whose peer sends this, and then closes.
func peerSends(octets string) *wire { return &wire{in: strings.NewReader(octets)} }

// peerSendsBytes returns a wire whose peer sends this one octet at a time.
func peerSendsBytes(octets string) *wire {
	return &wire{in: iotest.OneByteReader(strings.NewReader(octets))}
}

// peerSendsParts returns a wire on which a part arrives when the one before has been
// read.
func peerSendsParts(octets ...string) *wire {
	var readers []io.Reader
	for _, part := range octets {
		readers = append(readers, strings.NewReader(part))
	}
	return &wire{in: io.MultiReader(readers...)}
}

func (w *wire) Read(p []byte) (int, error) { return w.in.Read(p) }

func (w *wire) Write(p []byte) (int, error) {
	if w.writes++; w.failAt > 0 && w.writes >= w.failAt {
		return 0, errClosed
	}
	return w.out.Write(p)
}

// fullOffer is an offer in TLS with all mechanisms that are relayed.
var fullOffer = map[string]Offer{
	"imap": {TLS: true, Backend: Capabilities{
		"IMAP4rev1", "SASL-IR", "LITERAL+", "ID", "AUTH=PLAIN", "AUTH=LOGIN", "AUTH=CRAM-MD5",
		"AUTH=SCRAM-SHA-256", "AUTH=XOAUTH2", "AUTH=OAUTHBEARER", "AUTH=EXTERNAL",
	}},
	"pop3": {TLS: true, Backend: Capabilities{
		"TOP", "SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL",
	}},
	"sieve": {TLS: true, Backend: Capabilities{
		"IMPLEMENTATION Dovecot Pigeonhole", "SIEVE fileinto vacation", "VERSION 1.0",
		"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL",
	}},
}

// protocols are all protocols.
var protocols = Protocols()
