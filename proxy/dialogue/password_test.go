package dialogue

import (
	"bytes"
	"strings"
	"testing"
)

// TestPassword: Password is the same however it was sent, and nil where the
// mechanism shows none.
func TestPassword(t *testing.T) {
	for _, tt := range []struct {
		protocol Protocol
		in, want string // want is empty where the mechanism shows none
	}{
		{IMAP{}, "a LOGIN user pass|", "pass"},
		{IMAP{}, `a LOGIN "user" "pass"|`, "pass"},
		{IMAP{}, "a LOGIN {4}|user {4}|pass|", "pass"},
		{IMAP{}, "a LOGIN {4+}|user {4+}|pass|", "pass"},
		{IMAP{}, "a AUTHENTICATE PLAIN " + b64("\x00user\x00pass") + "|", "pass"},
		{IMAP{}, "a AUTHENTICATE PLAIN|" + b64("\x00user\x00pass") + "|", "pass"},
		{IMAP{}, "a AUTHENTICATE PLAIN " + b64("user\x00user\x00pass") + "|", "pass"},
		{IMAP{}, "a AUTHENTICATE PLAIN " + b64("other\x00user\x00pass") + "|", ""},
		{IMAP{}, "a AUTHENTICATE LOGIN|" + b64("user") + "|" + b64("pass") + "|", "pass"},
		{IMAP{}, "a AUTHENTICATE LOGIN " + b64("user") + "|" + b64("pass") + "|", "pass"},
		{IMAP{}, "a AUTHENTICATE CRAM-MD5|", ""},
		{IMAP{}, "a AUTHENTICATE SCRAM-SHA-256 " + b64("n,,n=user,r=x") + "|", ""},
		{IMAP{}, "a AUTHENTICATE XOAUTH2 " + b64("user=user\x01auth=Bearer x\x01\x01") + "|", ""},
		{IMAP{}, "a AUTHENTICATE OAUTHBEARER " + b64("n,a=user,\x01auth=Bearer x\x01\x01") + "|", ""},
		{IMAP{}, "a AUTHENTICATE EXTERNAL " + b64("\x00user\x00pass") + "|", ""},
		{POP3{}, "USER user|PASS pass|", "pass"},
		{POP3{}, "AUTH PLAIN " + b64("\x00user\x00pass") + "|", "pass"},
		{POP3{}, "AUTH PLAIN|" + b64("\x00user\x00pass") + "|", "pass"},
		{POP3{}, "AUTH LOGIN|" + b64("user") + "|" + b64("pass") + "|", "pass"},
		{POP3{}, "AUTH LOGIN " + b64("user") + "|" + b64("pass") + "|", "pass"},
		{POP3{}, "AUTH CRAM-MD5|", ""},
		{Sieve{}, `AUTHENTICATE "PLAIN" "` + b64("\x00user\x00pass") + `"|`, "pass"},
		{Sieve{}, `AUTHENTICATE "PLAIN"|{16+}|` + b64("\x00user\x00pass") + "|", "pass"},
		{Sieve{}, `AUTHENTICATE "LOGIN"|"` + b64("user") + `"|"` + b64("pass") + `"|`, "pass"},
		{Sieve{}, `AUTHENTICATE "CRAM-MD5"|`, ""},
	} {
		r, err := tt.protocol.ReadRequest(NewConn(peerSends(strings.ReplaceAll(tt.in, "|", "\r\n"))), fullOffer[tt.protocol.Name()])
		if got := r.Password(); err != nil || string(got) != tt.want || (got != nil) != (tt.want != "") {
			t.Errorf("%q: got %q, %v", tt.in, []byte(got), err)
		}
		password := r.Password()
		r.Response.Wipe()
		if len(bytes.Trim(password, "\x00")) > 0 {
			t.Errorf("%q: %q is not wiped", tt.in, []byte(password))
		}
	}
	if (Request{}).Password() != nil {
		t.Error("the zero request has a password")
	}
}

// TestAdmits: only USER refuses an account that is not admitted. PASS, AUTH and the
// commands of IMAP make a request with the password.
func TestAdmits(t *testing.T) {
	for _, tt := range []struct {
		protocol Protocol
		in       string
		want     Kind
		output   string
	}{
		{POP3{}, "USER good|PASS pass|", Login, "+OK|"},
		{POP3{}, "USER bad|PASS pass|", NotAdmitted, ""},
		{POP3{}, "CAPA|STLS|USER good|USER bad|PASS pass|", NotAdmitted, "+OK|"},
		{POP3{}, "AUTH PLAIN " + b64("\x00bad\x00pass") + "|", Login, ""},
		{IMAP{}, "a LOGIN bad pass|", Login, ""},
		{Sieve{}, `AUTHENTICATE "PLAIN" "` + b64("\x00bad\x00pass") + `"|`, Login, ""},
	} {
		w := peerSends(strings.ReplaceAll(tt.in, "|", "\r\n"))
		o := fullOffer[tt.protocol.Name()]
		o.Admits = func(account string) bool { return account != "bad" }
		r, err := tt.protocol.ReadRequest(NewConn(w), o)
		if err != nil || r.Kind != tt.want || !strings.HasSuffix(w.out.String(), strings.ReplaceAll(tt.output, "|", "\r\n")) {
			t.Errorf("%q: got %+v, %v, wrote %q", tt.in, r, err, w.out.String())
		}
		if r.Kind == NotAdmitted && (r.Account != "bad" || r.Method != "USER" || r.HasResponse) {
			t.Errorf("%q: got %+v", tt.in, r)
		}
	}
}
