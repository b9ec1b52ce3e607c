package dialogue

import (
	"bytes"
	"strings"
	"testing"
)

// TestPassword: the same password is the same however it is spelled, and none is
// made out of what is not one.
func TestPassword(t *testing.T) {
	for _, tt := range []struct {
		protocol Protocol
		in, want string // want is empty where none is shown
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
	} {
		r, err := tt.protocol.ReadRequest(NewConn(peerSends(strings.ReplaceAll(tt.in, "|", "\r\n"))), fullOffer[tt.protocol.Name()])
		if got := r.Password(); err != nil || string(got) != tt.want || (got != nil) != (tt.want != "") {
			t.Errorf("%q: got %q, %v", tt.in, []byte(got), err)
		}
		password := r.Password()
		r.Response.Wipe()
		if len(bytes.Trim(password, "\x00")) > 0 {
			t.Errorf("%q: %q is left", tt.in, []byte(password))
		}
	}
	if (Request{}).Password() != nil {
		t.Error("no request has a password")
	}
}

// TestAdmits: USER is where an account is turned away. PASS and AUTH are for
// those who ask when a password has come, and so are all of IMAP's commands.
func TestAdmits(t *testing.T) {
	for _, tt := range []struct {
		protocol Protocol
		in       string
		want     Kind
		says     string
	}{
		{POP3{}, "USER good|PASS pass|", Login, "+OK|"},
		{POP3{}, "USER bad|PASS pass|", NotAdmitted, ""},
		{POP3{}, "CAPA|STLS|USER good|USER bad|PASS pass|", NotAdmitted, "+OK|"},
		{POP3{}, "AUTH PLAIN " + b64("\x00bad\x00pass") + "|", Login, ""},
		{IMAP{}, "a LOGIN bad pass|", Login, ""},
	} {
		w := peerSends(strings.ReplaceAll(tt.in, "|", "\r\n"))
		o := fullOffer[tt.protocol.Name()]
		o.Admits = func(account string) bool { return account != "bad" }
		r, err := tt.protocol.ReadRequest(NewConn(w), o)
		if err != nil || r.Kind != tt.want || !strings.HasSuffix(w.out.String(), strings.ReplaceAll(tt.says, "|", "\r\n")) {
			t.Errorf("%q: got %+v, %v, said %q", tt.in, r, err, w.out.String())
		}
		if r.Kind == NotAdmitted && (r.Account != "bad" || r.Method != "USER" || r.HasResponse) {
			t.Errorf("%q: got %+v", tt.in, r)
		}
	}
}
