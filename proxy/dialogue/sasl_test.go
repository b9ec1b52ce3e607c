package dialogue

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
)

// TestUsers tests the functions that find the user name; ok false is errResponse.
func TestUsers(t *testing.T) {
	type row struct {
		message, user string
		ok            bool
	}
	tests := map[string][]row{
		"PLAIN": {
			{"\x00user\x00pass", "user", true},
			{"boss\x00user\x00pass", "user", true},
			{"user\x00user\x00pass", "user", true},
			{"\x00User@Example.ORG\x00p w", "User@Example.ORG", true},
			{"\x00user\x00", "user", true},
			{"\x00\x00pass", "", true},
			{"\x00\x00", "", true},
			{"\x00us\r\ner\x00pass", "us\r\ner", true}, // unfitName rejects it
			{"", "", false},
			{"user", "", false},
			{"\x00user", "", false},
			{"user\x00pass", "", false},
			{"\x00user\x00pass\x00", "", false},
			{"\x00user\x00pa\x00ss", "", false},
			{"\x00\x00\x00", "", false},
		},
		"XOAUTH2": {
			{"user=u@x\x01auth=Bearer t\x01\x01", "u@x", true},
			{"user=\x01auth=Bearer t\x01\x01", "", true},
			{"user=u=v\x01auth=Bearer t==\x01\x01", "u=v", true},
			{"user=u,v\x01\x01\x01", "u,v", true},
			{"", "", false},
			{"user=u", "", false},
			{"user=u\x01", "", false},
			{"user=u\x01\x01", "", false},
			{"user=u\x01auth=Bearer t", "", false},
			{"user=u\x01auth=Bearer t\x01", "", false},
			{"User=u\x01auth=Bearer t\x01\x01", "", false},
			{"auth=Bearer t\x01user=u\x01\x01", "", false},
			{"n,a=u,\x01auth=Bearer t\x01\x01", "", false},
		},
		"OAUTHBEARER": {
			{"n,a=u@x,\x01auth=Bearer t\x01\x01", "u@x", true},
			{"y,a=u,\x01", "u", true},
			{"n,,\x01auth=Bearer t\x01\x01", "", true},
			{"n,a=,", "", true},
			{"n,a=a=2Cb=3Dc,", "a,b=c", true},
			{"n,a=u,x,y,z", "u", true},
			{"p=tls-exporter,a=u,", "", false}, // no channel binding through a proxy
			{"", "", false},
			{"n", "", false},
			{"n,a=u", "", false},
			{"N,a=u,", "", false},
			{"x,a=u,", "", false},
			{"F,n,a=u,", "", false},
			{"n,u,", "", false},
			{"n,n=u,", "", false},
			{"n,A=u,", "", false},
			{"n,a=a=2cb,", "", false},
			{"n,a==,", "", false},
		},
		"SCRAM-SHA-256": {
			{"n,,n=user,r=nonce", "user", true},
			{"y,,n=user,r=nonce", "user", true},
			{"n,a=boss,n=user,r=nonce", "user", true},
			{"n,,n=us=2Cer=3D,r=nonce", "us,er=", true},
			{"n,,n=,r=nonce", "", true},
			{"n,,n=user,r=nonce,x=more", "user", true},
			{"p=tls-exporter,,n=user,r=nonce", "", false},
			{"n,boss,n=user,r=nonce", "", false},
			{"n,a=bo=ss,n=user,r=nonce", "", false},
			{"n,,m=ext,n=user,r=nonce", "", false}, // must not be ignored (RFC 5802 section 5.1)
			{"n,,r=nonce,n=user", "", false},
			{"n,,N=user,r=nonce", "", false},
			{"n,,n=us=er,r=nonce", "", false},
			{"n,,n=user", "", false},
			{"n,,n=user=", "", false},
			{"n,,", "", false},
			{"", "", false},
		},
		"EXTERNAL": {
			{"", "", true},
			{"user", "user", true},
		},
		"CRAM-MD5": { // sent only after the challenge
			{"user 0123456789abcdef0123456789abcdef", "user", true},
			{"us er 0123", "us er", true},
			{" 0123", "", true},
			{"user ", "user", true},
			{"user", "", false},
			{"", "", false},
		},
	}
	find := maps.Clone(clientFirst)
	find["CRAM-MD5"] = cramUser
	for mechanism, rows := range tests {
		for _, tt := range rows {
			user, err := find[mechanism]([]byte(tt.message))
			if user != tt.user || (err == nil) != tt.ok || err != nil && !errors.Is(err, errResponse) {
				t.Errorf("%s %q: got %q, %v", mechanism, tt.message, user, err)
			}
		}
	}
}

func TestGS2Name(t *testing.T) {
	tests := []struct {
		in, name string
		ok       bool
	}{
		{"", "", true},
		{"user", "user", true},
		{"=2C", ",", true},
		{"=3D", "=", true},
		{"=3D2C", "=2C", true}, // decoded once, not twice
		{"=2C=3D=2C", ",=,", true},
		{"a=3D=3Db", "a==b", true},
		{"=", "", false},
		{"=2", "", false},
		{"=2c", "", false},
		{"=3d", "", false},
		{"=41", "", false},
		{"==2C", "", false},
		{"a=b", "", false},
	}
	for _, tt := range tests {
		name, err := gs2Name(tt.in)
		if name != tt.name || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %v", tt.in, name, err)
		}
	}
}

func TestUnfit(t *testing.T) {
	tests := []struct {
		text           string
		name, password bool // whether it is unfit as one
	}{
		{"user@example.org", false, false},
		{"", false, false},
		{" us er ", false, false},
		{`"'\%{}*;|`, false, false},
		{"j\u00f6rg", false, false},
		{"\U0001f512", false, false},
		{"~", false, false},
		{"victim\x00junk", true, true},
		{"\x00", true, true},
		{"us\rer", true, true},
		{"us\ner", true, true},
		{"us\ter", true, false},
		{"us\x1ber", true, false},
		{"us\x01er", true, false},
		{"us\x1fer", true, false},
		{"us\x7fer", true, false},
		{"us\xffer", true, false},
		{"j\xf6rg", true, false},
		{"\xed\xa0\x80", true, false}, // half a surrogate pair
		{"\xc0\x80", true, false},     // a NUL in two octets
	}
	for _, tt := range tests {
		if got := unfitName(tt.text); got != tt.name {
			t.Errorf("name %q: %v", tt.text, got)
		}
		if got := unfitPassword([]byte(tt.text)); got != tt.password {
			t.Errorf("password %q: %v", tt.text, got)
		}
	}
}

func TestDecodeBase64(t *testing.T) {
	tests := []struct {
		in, want string
		ok       bool
	}{
		{"", "", true},
		{"AA==", "\x00", true},
		{"AAE=", "\x00\x01", true},
		{"AAEC", "\x00\x01\x02", true},
		{"+/+/", "\xfb\xff\xbf", true},
		{"AHVzZXIAcGFzcw==", "\x00user\x00pass", true},
		{"AA", "", false},       // no padding
		{"AA=", "", false},      // not enough
		{"AAE", "", false},      //
		{"AAEC=", "", false},    // too much
		{"AA===", "", false},    //
		{"=", "", false},        // only padding
		{"====", "", false},     //
		{"AA==AA==", "", false}, // more behind the padding
		{"AA==A", "", false},    //
		{"AB==", "", false},     // trailing bits that are not zero
		{"AAF=", "", false},     //
		{"-_-_", "", false},     // the alphabet of URLs
		{"AA E", "", false},
		{" AAEC", "", false},
		{"AAEC ", "", false},
		{"A\tAE", "", false},
		{"AA\x00E", "", false},
		{"AAE\xff", "", false},
		{"\rAAEC", "", false}, // encoding/base64 ignores these
		{"AA\rEC", "", false},
		{"AAEC\r", "", false},
		{"AA\nEC", "", false},
		{"AA=\n=", "", false},
		{"*", "", false},
	}
	for _, tt := range tests {
		got, err := decodeBase64([]byte(tt.in))
		if string(got) != tt.want || (err == nil) != tt.ok || err != nil && !errors.Is(err, errBase64) {
			t.Errorf("%q: got %q, %v", tt.in, []byte(got), err)
		}
		if tt.ok && got == nil {
			t.Errorf("%q: an empty message is nil, which means no message", tt.in)
		}
	}
}

func TestStart(t *testing.T) {
	long := strings.Repeat("x", 768) // whose base64 is the longest that may be quoted
	for _, tt := range []struct {
		framing
		in, want string
	}{
		{lineFraming{}, "", "PLAIN ="},
		{lineFraming{}, "\x00", "PLAIN AA=="},
		{lineFraming{}, "\x00user\x00pass", "PLAIN AHVzZXIAcGFzcw=="},
		{stringFraming{}, "", `"PLAIN" ""`},
		{stringFraming{}, "\x00user\x00pass", `"PLAIN" "AHVzZXIAcGFzcw=="`},
		{stringFraming{}, long, `"PLAIN" "` + b64(long) + `"`},
		{stringFraming{}, long + "x", `"PLAIN" {1028+}` + "\r\n" + b64(long+"x")},
	} {
		backend := peerSends("")
		e := exchange{up: NewConn(backend), framing: tt.framing, r: Request{Mechanism: sasl.Plain, Response: Secret(tt.in), HasResponse: true}}
		if err := e.start("AUTH"); err != nil || backend.out.String() != "AUTH "+tt.want+"\r\n" {
			t.Errorf("%.99q: wrote %q, %v", tt.in, backend.out.String(), err)
		}
	}
}

// TestPlainMessage compares the message with that of go-sasl's client.
func TestPlainMessage(t *testing.T) {
	for _, password := range []string{"pass", "", "p\x00w", "\xff"} {
		want, err := plainOf("user", password)
		if message := plainMessage("user", []byte(password)); string(message) != want || err != nil {
			t.Errorf("got %q, want %q, error %v", []byte(message), want, err)
		}
	}
}

// TestMechanisms lists how each mechanism is treated. One that shows the secret and
// is not in showsSecret would be allowed in clear text.
func TestMechanisms(t *testing.T) {
	shows := []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}
	hides := []string{"CRAM-MD5", "DIGEST-MD5", "NTLM", "GSSAPI", "SCRAM-SHA-1", "SCRAM-SHA-256", sasl.External}
	for _, m := range slices.Concat(shows, hides) {
		if got := showsSecret(m); got != slices.Contains(shows, m) {
			t.Errorf("%s shows the secret: %v", m, got)
		}
		if got := failsByChallenge(m); got != strings.Contains(m, "OAUTH") {
			t.Errorf("%s fails by challenge: %v", m, got)
		}
	}
}

// TestSCRAMAuthorizationID: the identity to act for must be fit in SCRAM as in PLAIN.
func TestSCRAMAuthorizationID(t *testing.T) {
	c := NewConn(peerSends("a AUTHENTICATE SCRAM-SHA-256 " + b64("n,a=bo\r\nss,n=user,r=nonce") + "\r\n"))
	if r, err := (IMAP{}).ReadRequest(c, fullOffer["imap"]); err == nil && !r.Unfit {
		t.Errorf("read %s", summary(r))
	}
}

// textFraming has a text that was read.
type textFraming struct {
	lineFraming
	text []byte
}

func (f textFraming) read(*Conn) ([]byte, error) { return f.text, nil }

// TestResponseIsWiped: nothing keeps the encoded text of a response.
func TestResponseIsWiped(t *testing.T) {
	text := []byte("c2VjcmV0")
	got, err := NewConn(nil).readResponse(textFraming{text: text})
	if err != nil || string(got) != "secret" {
		t.Fatalf("got %q, %v", got, err)
	}
	if want := make([]byte, len(text)); !bytes.Equal(text, want) {
		t.Errorf("got %q, want zeros", text)
	}
}
