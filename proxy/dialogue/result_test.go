package dialogue

import "testing"

// TestIMAPResult has replies as real servers send them.
func TestIMAPResult(t *testing.T) {
	tests := []struct {
		status string
		want   Result
	}{
		// Dovecot 2.3 and 2.4
		{"OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE] Logged in", Accepted},
		{"OK Logged in", Accepted},
		{"NO [AUTHENTICATIONFAILED] Authentication failed.", Denied},
		{"NO [AUTHORIZATIONFAILED] Authentication failed.", Denied},
		{"NO [EXPIRED] Password expired.", Denied},
		{"NO [UNAVAILABLE] Temporary authentication failure. [mail:2026-11-23 16:00:00]", Unavailable},
		{"NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", Unavailable},
		{"NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", Unavailable},
		{"NO [INUSE] Mailbox is locked.", Unavailable},
		{"NO [SERVERBUG] Internal error occurred. Refer to server log for more information.", Unavailable},
		{"NO [CONTACTADMIN] Logins are disabled.", Unavailable},
		{"NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", Unavailable},
		{"BAD Authentication aborted by client.", Unavailable},
		{"BAD Invalid base64 data in initial response", Unavailable},
		{"BAD Error in IMAP command received by server.", Unavailable},
		// Cyrus
		{"OK [CAPABILITY IMAP4rev1 LITERAL+ ID] User logged in SESSIONID=<mail-1-2-1-3>", Accepted},
		{"OK Success (tls protection) SESSIONID=<mail-1-2-1-3>", Accepted},
		{"NO authentication failure", Denied},
		{"NO Login failed: authentication failure", Denied},
		{"NO [AUTHENTICATIONFAILED] authentication failure", Denied},
		{"NO [UNAVAILABLE] temporary failure", Unavailable},
		// Courier
		{"OK LOGIN Ok.", Accepted},
		{"NO Login failed.", Denied},
		{"BAD Invalid command", Unavailable},
		// Gmail, iCloud, Outlook
		{"OK user@example.org authenticated (Success)", Accepted},
		{"NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", Denied},
		{"NO [ALERT] Invalid credentials (Failure)", Denied},
		{"NO [UNAVAILABLE] Temporary System Error", Unavailable},
		{"BAD [UNAVAILABLE] Service temporarily unavailable", Unavailable},
		{"OK LOGIN completed.", Accepted},
		{"NO LOGIN failed.", Denied},
		{"NO AUTHENTICATE failed.", Denied},
		{"BAD User is authenticated but not connected.", Unavailable},
		// in upper or lower case, and only in their place
		{"ok", Accepted},
		{"no [unavailable] later", Unavailable},
		{"No", Denied},
		{"NO text [UNAVAILABLE]", Denied},
		{"NO [UNAVAILABLE", Denied},
		{"NO [UNAVAILABLES] x", Denied},
		{"OKAY", Unavailable},
		{"NOPE", Unavailable},
		{"PREAUTH hello", Unavailable},
		{"BYE OK", Unavailable},
		{" OK", Unavailable},
		{"", Unavailable},
	}
	for _, tt := range tests {
		if got := imapResult([]byte(tt.status)); got != tt.want {
			t.Errorf("%q: got %d, want %d", tt.status, got, tt.want)
		}
	}
}

func TestPOP3Result(t *testing.T) {
	tests := []struct {
		line string
		want Result
	}{
		// Dovecot
		{"+OK Logged in.", Accepted},
		{"-ERR [AUTH] Authentication failed.", Denied},
		{"-ERR Authentication failed.", Denied},
		{"-ERR [SYS/TEMP] Temporary authentication failure. [mail:2026-11-23 16:00:00]", Unavailable},
		{"-ERR [SYS/PERM] Logins are disabled.", Unavailable},
		{"-ERR [IN-USE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", Unavailable},
		{"-ERR [IN-USE] Couldn't open INBOX: Mailbox is locked.", Unavailable},
		{"-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", Unavailable},
		{"-ERR [AUTH] Plaintext authentication disabled.", Unavailable},
		{"-ERR [AUTH] Cleartext authentication disallowed on non-secure (SSL/TLS) connections.", Unavailable}, // 2.4
		// Cyrus
		{"+OK Mailbox locked and ready SESSIONID=<mail-1-2-1-3>", Accepted},
		{"-ERR [AUTH] Invalid login", Denied},
		{"-ERR [AUTH] authenticating: authentication failure", Denied},
		{"-ERR [SYS/TEMP] Unable to open maildrop", Unavailable},
		{"-ERR [LOGIN-DELAY] Logins must be at least 5 minutes apart", Unavailable},
		// Courier
		{"+OK logged in.", Accepted},
		{"-ERR Login failed.", Denied},
		// Gmail and Outlook
		{"+OK Welcome.", Accepted},
		{"-ERR [AUTH] Username and password not accepted.", Denied},
		{"-ERR [SYS/PERM] Your account is not enabled for POP access.", Unavailable},
		{"+OK User successfully logged on.", Accepted},
		{"-ERR Logon failure: unknown user name or bad password.", Denied},
		// in upper or lower case, and only in their place
		{"+OK", Accepted},
		{"-ERR", Denied},
		{"-ERR ", Denied},
		{"-ERR [sys/temp] later", Unavailable},
		{"-ERR [in-use]", Unavailable},
		{"-ERR text [IN-USE]", Denied},
		{"-ERR [IN-USE", Denied},
		{"-ERR [SYSTEM] x", Denied},
	}
	for _, tt := range tests {
		if got := pop3Result([]byte(tt.line)); got != tt.want {
			t.Errorf("%q: got %d, want %d", tt.line, got, tt.want)
		}
	}
}

func TestSieveResult(t *testing.T) {
	tests := []struct {
		line string
		want Result
	}{
		// Dovecot
		{`OK "Logged in."`, Accepted},
		{`OK (SASL "dj1h") "Logged in."`, Accepted},
		{`NO "Authentication failed."`, Denied},
		{`NO (TRYLATER) "Temporary authentication failure."`, Unavailable},
		{`NO (TRYLATER/NORETRY) "Failed to reload configuration"`, Unavailable},
		{`NO (LIMIT/CONNECTIONS) "Maximum number of connections exceeded."`, Unavailable},
		{`NO (ENCRYPT-NEEDED) "Plaintext authentication disallowed on non-secure (SSL/TLS) connections."`, Unavailable},
		{`NO "Plaintext authentication disallowed on non-secure (SSL/TLS) connections."`, Unavailable},
		{`NO "Unsupported authentication mechanism."`, Unavailable},
		// Cyrus
		{`NO "Authentication Error"`, Denied},
		{`NO (AUTH-TOO-WEAK) "mechanism too weak"`, Unavailable},
		{`NO (TRANSITION-NEEDED) "log in by another mechanism once"`, Unavailable},
		// in upper or lower case, and only in their place
		{"ok", Accepted},
		{"no (trylater)", Unavailable},
		{"NO", Denied},
		{`NO "(TRYLATER)"`, Denied},
		{`NO (TRYLATERS) "x"`, Denied},
	}
	for _, tt := range tests {
		if got := sieveResult([]byte(tt.line)); got != tt.want {
			t.Errorf("%q: got %d, want %d", tt.line, got, tt.want)
		}
	}
}

func TestIMAPCode(t *testing.T) {
	tests := []struct{ line, want string }{
		{"* OK [CAPABILITY IMAP4rev1 IDLE] Dovecot (Debian) ready.", "IMAP4rev1 IDLE"},
		{"OK [CAPABILITY IMAP4rev1] Logged in", "IMAP4rev1"},
		{"* OK [CAPABILITY IMAP4rev1]", "IMAP4rev1"},
		{"* OK [CAPABILITY ]", ""},
		{"* OK [CAPABILITY]", ""},
		{"* OK [CAPABILITY IMAP4rev1", ""},
		{"* OK [CAPABILITYS IMAP4rev1]", ""},
		{"* OK [ALERT] ready", ""},
		{"* OK ready", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := imapCode([]byte(tt.line), "CAPABILITY"); got != tt.want {
			t.Errorf("%q: got %q", tt.line, got)
		}
	}
}

// TestUnknownMechanismIsVoid: Dovecot's answer to an unsupported mechanism is not
// about the credentials.
func TestUnknownMechanismIsVoid(t *testing.T) {
	if got := imapResult([]byte("NO [ALERT] Unsupported authentication mechanism.")); got != Unavailable {
		t.Errorf("got %d", got)
	}
}
