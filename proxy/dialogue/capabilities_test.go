package dialogue

import (
	"slices"
	"strings"
	"testing"
)

func TestCommon(t *testing.T) {
	tests := []struct{ a, b, want string }{
		{"A B C", "C A", "A C"},
		{"A B", "A B", "A B"},
		{"A", "B", ""},
		{"", "A", ""},
		{"A", "", ""},
		{"A A", "A", "A A"},
	}
	for _, tt := range tests {
		a, b := strings.Fields(tt.a), strings.Fields(tt.b)
		if got := Capabilities(a).Common(b); strings.Join(got, " ") != tt.want {
			t.Errorf("%q and %q: got %q", tt.a, tt.b, got)
		}
		if strings.Join(a, " ") != tt.a || strings.Join(b, " ") != tt.b {
			t.Errorf("%q and %q were changed to %q and %q", tt.a, tt.b, a, b)
		}
	}
}

// allOffers are all combinations of what the proxy decides about a client.
var allOffers = []Offer{
	{},
	{StartTLS: true},
	{Cleartext: true},
	{StartTLS: true, Cleartext: true},
	{TLS: true},
	{TLS: true, StartTLS: true},
	{TLS: true, Cleartext: true},
	{TLS: true, StartTLS: true, Cleartext: true},
}

// The lists of Dovecot 2.3 after a PROXY header, unchanged.
var (
	dovecotIMAP = strings.Fields("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED " +
		"AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256 AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=EXTERNAL")
	dovecotPOP3 = Capabilities{
		"CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "STLS", "USER",
		"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL",
	}
)

func TestIMAPCapabilities(t *testing.T) {
	tests := []struct {
		backend                  Capabilities
		always, insecure, secure string // and what is added without and with protection of passwords
	}{
		{
			nil, "IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+",
			"", " AUTH=PLAIN AUTH=LOGIN",
		},
		{
			dovecotIMAP, "IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+",
			" AUTH=CRAM-MD5 AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256 AUTH=EXTERNAL",
			" AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256 AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=EXTERNAL",
		},
		{
			strings.Fields("imap4rev1 starttls LoginDisabled login-referrals MAILBOX-REFERRALS UNAUTHENTICATE auth=plain Auth=Scram-SHA-256-plus"),
			"imap4rev1", "", " AUTH=PLAIN",
		},
		{Capabilities{"IMAP4rev1", "AUTH=", "AUTHX"}, "IMAP4rev1 AUTHX", " AUTH=", " AUTH="},
	}
	for _, tt := range tests {
		for _, o := range allOffers {
			want := tt.always
			if o.StartTLS {
				want += " STARTTLS"
			}
			if o.TLS || o.Cleartext {
				want += tt.secure
			} else {
				want += " LOGINDISABLED" + tt.insecure
			}
			o.Backend = slices.Clone(tt.backend)
			if got := o.imapCapabilities(); got != want {
				t.Errorf("%+v:\ngot  %q\nwant %q", o, got, want)
			}
			if !slices.Equal(o.Backend, tt.backend) {
				t.Errorf("the backend's list was changed to %q", o.Backend)
			}
		}
	}
}

func TestPOP3Capabilities(t *testing.T) {
	tests := []struct {
		backend                 Capabilities
		lines, insecure, secure string // the last two are SASL lines
	}{
		{nil, "TOP,UIDL,PIPELINING", "", ""},
		{
			dovecotPOP3, "CAPA,TOP,UIDL,PIPELINING",
			",SASL CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 EXTERNAL",
			",SASL CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL",
		},
		{
			Capabilities{"top", "stls", "user", "sasl plain cram-md5 scram-sha-1-plus", "utf8", "Lang", "resp-codes", "", "EXPIRE 60 USER"},
			"top,,EXPIRE 60 USER", ",SASL CRAM-MD5", ",SASL CRAM-MD5",
		},
		{Capabilities{"TOP", "SASL"}, "TOP", "", ""},
		{Capabilities{"TOP"}, "TOP", "", ""},
	}
	for _, tt := range tests {
		for _, o := range allOffers {
			want := tt.lines + ",RESP-CODES,AUTH-RESP-CODE"
			if o.StartTLS {
				want += ",STLS"
			}
			if o.TLS || o.Cleartext {
				want += ",USER" + tt.secure
			} else {
				want += tt.insecure
			}
			o.Backend = slices.Clone(tt.backend)
			if got := strings.Join(o.pop3Capabilities(), ","); got != want {
				t.Errorf("%+v:\ngot  %q\nwant %q", o, got, want)
			}
			if !slices.Equal(o.Backend, tt.backend) {
				t.Errorf("the backend's list was changed to %q", o.Backend)
			}
		}
	}
}

// TestPOP3Advertised: PLAIN and LOGIN are not listed, but work.
func TestPOP3Advertised(t *testing.T) {
	for _, o := range allOffers {
		o.Backend = Capabilities{"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256-PLUS XOAUTH2"}
		want := "CRAM-MD5"
		if o.secure() {
			want = "CRAM-MD5 XOAUTH2"
		}
		if got := strings.Join(o.pop3Advertised(), " "); got != want {
			t.Errorf("%+v: got %q", o, got)
		}
		if got := o.access("PLAIN", o.pop3Mechanisms()); (got == allowed) != o.secure() {
			t.Errorf("%+v: access to PLAIN is %d", o, got)
		}
	}
}

func TestAccess(t *testing.T) {
	all := []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}
	tests := []struct {
		mechanism     string
		clear, secure access
	}{
		{"PLAIN", needsTLS, allowed},
		{"LOGIN", needsTLS, allowed},
		{"XOAUTH2", needsTLS, allowed},
		{"OAUTHBEARER", needsTLS, allowed},
		{"CRAM-MD5", allowed, allowed},
		{"SCRAM-SHA-1", allowed, allowed},
		{"SCRAM-SHA-1-PLUS", notOffered, notOffered},
		{"SCRAM-SHA-256", notOffered, notOffered},
		{"", notOffered, notOffered},
	}
	for _, tt := range tests {
		for _, o := range allOffers {
			want := tt.clear
			if o.TLS || o.Cleartext {
				want = tt.secure
			}
			if got := o.access(tt.mechanism, all); got != want {
				t.Errorf("%s with %+v: got %d, want %d", tt.mechanism, o, got, want)
			}
		}
	}
}

// TestCommonMechanisms: the SASL lines of two POP3 backends are compared mechanism
// by mechanism.
func TestCommonMechanisms(t *testing.T) {
	o := Offer{TLS: true, Backend: Capabilities{"TOP", "SASL PLAIN LOGIN CRAM-MD5"}.Common(Capabilities{"TOP", "SASL CRAM-MD5 PLAIN"})}
	if !slices.Contains(o.pop3Mechanisms(), "PLAIN") {
		t.Errorf("in common: %q", o.Backend)
	}
}

func TestSieveCapabilities(t *testing.T) {
	dovecot := Capabilities{
		"IMPLEMENTATION Dovecot (Debian) Pigeonhole", "SIEVE fileinto reject", "NOTIFY mailto", "SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1-PLUS XOAUTH2",
		"STARTTLS", "VERSION 1.0",
	}
	tests := []struct {
		backend                  Capabilities
		always, insecure, secure string // and the mechanisms without and with protection of passwords
	}{
		{dovecot, `"IMPLEMENTATION" "Dovecot (Debian) Pigeonhole"|"SIEVE" "fileinto reject"|"NOTIFY" "mailto"|`, "CRAM-MD5", "PLAIN LOGIN CRAM-MD5 XOAUTH2"},
		{dovecot.Common(Capabilities{"SIEVE reject x", "SASL LOGIN", "VERSION 1.0"}), `"IMPLEMENTATION" "postern"|"SIEVE" "reject"|`, "", "LOGIN"},
		{Capabilities{}, `"IMPLEMENTATION" "postern"|"SIEVE" ""|`, "", ""},
		{
			Capabilities{"sieve", "XCLIENT", "Unauthenticate", "RENAME", `OWNER a"b\`, "sasl plain"},
			`"IMPLEMENTATION" "postern"|"SIEVE" ""|"RENAME"|"OWNER" "a\"b\\"|`, "", "PLAIN",
		},
	}
	for _, tt := range tests {
		for _, o := range allOffers {
			mechanisms, startTLS := tt.insecure, ""
			if o.secure() {
				mechanisms = tt.secure
			}
			if o.StartTLS {
				startTLS = `"STARTTLS"|`
			}
			o.Backend = slices.Clone(tt.backend)
			want := strings.ReplaceAll(tt.always+`"SASL" "`+mechanisms+`"|`+startTLS+`"VERSION" "1.0"|`, "|", "\r\n")
			if got := o.sieveCapabilities(); got != want {
				t.Errorf("%+v:\ngot  %q\nwant %q", o, got, want)
			}
			if !slices.Equal(o.Backend, tt.backend) {
				t.Errorf("the backend's list was changed to %q", o.Backend)
			}
		}
	}
}
