package dialogue

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing/iotest"
)

// errGone is what a wire gives whose peer has gone.
var errClosed = errors.New("peer is gone")

// wire is one end of a connection whose peer said everything beforehand. It
// keeps what the peer is told. Whatever else is done to it is a mistake of the
// code under test.
type wire struct {
	net.Conn
	in     io.Reader
	out    bytes.Buffer
	writes int // how often it was written to
	failAt int // the write from which on the peer is gone, from 1; 0 is never
}

// said returns a wire whose peer says this, and then no more.
func peerSends(octets string) *wire { return &wire{in: strings.NewReader(octets)} }

// dripped returns a wire whose peer says this one octet at a time.
func peerSendsBytes(octets string) *wire {
	return &wire{in: iotest.OneByteReader(strings.NewReader(octets))}
}

// pieces returns a wire whose peer says these one after the other, each only
// when the one before has been read.
func peerSendsParts(octets ...string) *wire {
	var readers []io.Reader
	for _, piece := range octets {
		readers = append(readers, strings.NewReader(piece))
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

// whole is an offer in TLS, of a backend that can do all that is relayed.
var fullOffer = map[string]Offer{
	"imap": {TLS: true, Backend: Capabilities{
		"IMAP4rev1", "SASL-IR", "LITERAL+", "ID", "AUTH=PLAIN", "AUTH=LOGIN", "AUTH=CRAM-MD5",
		"AUTH=SCRAM-SHA-256", "AUTH=XOAUTH2", "AUTH=OAUTHBEARER", "AUTH=EXTERNAL",
	}},
	"pop3": {TLS: true, Backend: Capabilities{
		"TOP", "SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL",
	}},
}

// protocols are both, for what must hold in each of them.
var protocols = []Protocol{IMAP{}, POP3{}}
