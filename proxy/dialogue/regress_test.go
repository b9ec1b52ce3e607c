package dialogue

// What once went wrong, each with the input that showed it.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"testing"
)

// A Secret is hidden from every verb, and inside what is encoded.
func TestSecretInsideOthers(t *testing.T) {
	secret := Secret("hunter2")
	for format, octet := range map[string]string{"%d": "104 117", "%b": "1101000", "%o": "150", "%c": "h u n", "%U": "U+0068"} {
		for _, v := range []any{secret, Request{Response: secret}} {
			if s := fmt.Sprintf(format, v); bytes.Contains([]byte(s), []byte(octet)) {
				t.Errorf("%s: %s", format, s)
			}
		}
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "r", Request{Response: secret}, "s", []Secret{secret})
	j, _ := json.Marshal(Request{Response: secret})
	if spelledIn(out.String()) != "" || spelledIn(string(j)) != "" {
		t.Errorf("%s %s", out.String(), j)
	}
}

// Once the backend has told that a token is wrong, its leaving does not make the attempt void.
func TestTokenFoundWrong(t *testing.T) {
	for _, p := range protocols {
		for _, backend := range []string{why, why + "* BYE idle|"} {
			for _, client := range []string{"|", "*|"} {
				reply, err := p.Login(NewConn(peerSends(lines(p, backend))), NewConn(peerSends(lines(p, client))), loginRequest("XOAUTH2"))
				if err != nil || reply.Result != Denied {
					t.Errorf("%s %q: %+v, %v", p.Name(), backend, reply, err)
				}
			}
		}
	}
}

// The identity to act as is held to the same in SCRAM as in PLAIN.
func TestSCRAMActingAs(t *testing.T) {
	c := NewConn(peerSends("a AUTHENTICATE SCRAM-SHA-256 " + b64("n,a=bo\r\nss,n=user,r=nonce") + "\r\n"))
	if r, err := (IMAP{}).ReadRequest(c, fullOffer["imap"]); err == nil && !r.Unfit {
		t.Errorf("heard %s", summary(r))
	}
}

// A server may refuse a SCRAM proof by e= in a challenge (RFC 5802 section 7): cancelling then is no free guess.
func TestSCRAMError(t *testing.T) {
	backend := scramFirst + "+ " + b64("e=invalid-proof") + "|ABORT.|"
	for _, p := range protocols {
		for _, client := range []string{scramProof + "*|", scramProof} {
			reply, err := p.Login(NewConn(peerSends(lines(p, backend))), NewConn(peerSends(lines(p, client))), loginRequest("SCRAM-SHA-256"))
			if err != nil || reply.Result != Denied {
				t.Errorf("%s: %+v, %v", p.Name(), reply, err)
			}
		}
	}
}

// Two POP3 backends with different SASL lines have the mechanisms in common that are in both.
func TestCommonMechanisms(t *testing.T) {
	o := Offer{TLS: true, Backend: Capabilities{"TOP", "SASL PLAIN LOGIN CRAM-MD5"}.Common(Capabilities{"TOP", "SASL CRAM-MD5 PLAIN"})}
	if !slices.Contains(o.pop3Mechanisms(), "PLAIN") {
		t.Errorf("in common: %q", o.Backend)
	}
}

// A number may have leading zeros: what it announces must not run as a command.
func TestLiteralWithZeros(t *testing.T) {
	requests, _ := readRequests(IMAP{}, peerSends("a LOGIN {000000000000000000014+}\r\nx LOGIN aa bbb\r\n\r\n"), fullOffer["imap"])
	if len(requests) > 0 {
		t.Errorf("heard %q", requests)
	}
}

// Dovecot's answer to a mechanism it does not know has judged no credentials.
func TestUnknownMechanismIsVoid(t *testing.T) {
	if got := imapResult([]byte("NO [ALERT] Unsupported authentication mechanism.")); got != Unavailable {
		t.Errorf("got %d", got)
	}
}

// A status without a word is no answer.
func TestBareStatus(t *testing.T) {
	reply, err := IMAP{}.Login(NewConn(peerSends("1\r\n")), NewConn(peerSends("")), loginRequest("PLAIN"))
	if err == nil {
		t.Errorf("to tell %q", reply.Raw)
	}
}
