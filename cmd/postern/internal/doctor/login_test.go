package doctor

import (
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// TestWrongPassword is found by every listener, with the ID to ask for.
func TestWrongPassword(t *testing.T) {
	g := start(t)
	o := g.options()
	o.User, o.PasswordFile = testbed.Account.Name, testbed.WriteFile(t, "not-the-password")
	r := examine(t, o)
	for _, name := range []string{"imap", "imaps", "pop3", "pop3s"} {
		r.expect(t, Failure, "login "+name+" ", "postern answers AUTH", "correct -user or the first line of "+o.PasswordFile)
	}
	if strings.Contains(r.text(t), "not-the-password") {
		t.Errorf("shows the password:\n%s", r.text(t))
	}
}

// TestRefusedLoginNamesSession: the ID in the answer is part of the remedy.
func TestRefusedLoginNamesSession(t *testing.T) {
	const closed = "127.77.0.1:1"
	g := start(t, prefix+"IMAP_BACKENDS="+closed)
	r := examine(t, withUser(t, g.options()))
	for _, name := range []string{"imap", "imaps"} {
		r.expect(t, Failure, "login "+name+" ", "[UNAVAILABLE]", "see the lines about backends here; `postern explain ", "` says why")
	}
	r.expect(t, Failure, "backend imap "+closed, "refused")
	r.expect(t, Failure, "admin API", "not ready")
	r.expect(t, OK, "login pop3s ")
}

// TestLoginBehindProxyHeader: where this machine is in PROXY_FROM, the listeners demand a
// header, and the login sends one. A gateway that demands none is told apart.
func TestLoginBehindProxyHeader(t *testing.T) {
	g := start(t, prefix+"PROXY_FROM=127.0.0.0/8", prefix+"HANDSHAKE_TIMEOUT=1s")
	r := examine(t, withUser(t, g.options()))
	for _, name := range []string{"imap", "imaps", "pop3", "pop3s"} {
		r.expect(t, OK, "login "+name+" ", "behind a PROXY header, which POSTERN_PROXY_FROM demands here")
	}
	r = examine(t, withUser(t, healthy(append(g.environ, prefix+"PROXY_FROM="), g.Certificate)))
	r.expect(t, Failure, "login imap ", "POSTERN_PROXY_FROM", "`postern explain 127.0.0.1`")
	r.expect(t, Failure, "login imaps ", "POSTERN_PROXY_FROM", "`postern explain 127.0.0.1`")
	without := start(t)
	r = examine(t, withUser(t, healthy(append(without.environ, prefix+"PROXY_FROM=127.0.0.0/8"), without.Certificate)))
	r.expect(t, Failure, "login imaps ", "POSTERN_PROXY_FROM", "restart it")
}

// TestLoginInClearText where passwords are allowed without TLS.
func TestLoginInClearText(t *testing.T) {
	g := start(t, prefix+"IMAPS_LISTEN=off", prefix+"POP3S_LISTEN=off", prefix+"CLEARTEXT_LOGIN=true", prefix+"TLS_CERT=", prefix+"TLS_KEY=")
	r := examine(t, withUser(t, g.options()))
	r.expect(t, OK, "login imap ", "in clear text")
	r.expect(t, OK, "login pop3 ", "in clear text")
}

// TestOtherCertificateThanInFile: the gateway has not read the file that is there now, and a
// client does not trust what it shows.
func TestOtherCertificateThanInFile(t *testing.T) {
	g := start(t)
	other, err := standin.NewCertificate("mail.example")
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := testbed.WriteCertificate(t, other)
	o := withUser(t, healthy(append(g.environ, prefix+"TLS_CERT="+certFile, prefix+"TLS_KEY="+keyFile), other))
	r := examine(t, o)
	r.expect(t, Failure, "login imaps ", "shows another certificate", "localhost", "event=certificates")
	r.expect(t, Warning, "login imaps ", "a client does not accept its certificate")
	r.expect(t, OK, "login imaps ", "in TLS")
}

// TestSelfSignedCertificateIsReportedOnce, and not by each login again.
func TestSelfSignedCertificateIsReportedOnce(t *testing.T) {
	g := start(t)
	o := withUser(t, g.options())
	o.roots = x509.NewCertPool()
	r := examine(t, o)
	r.expect(t, Warning, "certificate "+g.CertFile, "is self-signed")
	r.expect(t, OK, "login imaps ")
	if n := strings.Count(r.text(t), "authority") + strings.Count(r.text(t), "self-signed"); n != 1 {
		t.Errorf("got it %d times in\n%s", n, r.text(t))
	}
}

// TestLoginNeedsRunningGateway.
func TestLoginNeedsRunningGateway(t *testing.T) {
	e := loaded(t)
	e.User, e.password = "anna", "secret"
	Report(e.checkLogins(t.Context())).expect(t, Failure, "login: not tried", "start it")
}

// TestHostileServerInPlaceOfGateway: whatever listens there cannot show the password or steer
// the terminal.
func TestHostileServerInPlaceOfGateway(t *testing.T) {
	addr := serve(t, func(c net.Conn) {
		buffer := make([]byte, 4096)
		c.Write([]byte("* OK \x1b[2J\r\n"))
		n, _ := c.Read(buffer)
		line := strings.TrimRight(string(buffer[:n]), "\r\n")
		c.Write([]byte("d1 NO \x1b]0;pwned\a " + line + " hunter2\r\n"))
	})
	e := loaded(t, prefix+"IMAP_LISTEN="+addr, prefix+"IMAPS_LISTEN=off", prefix+"POP3_LISTEN=off", prefix+"POP3S_LISTEN=off",
		prefix+"CLEARTEXT_LOGIN=true", prefix+"TLS_CERT=", prefix+"TLS_KEY=")
	e.User, e.password, e.running = "anna", "hunter2", &monitor.State{}
	r := Report(e.checkLogins(t.Context()))
	r.expect(t, Failure, "login imap "+addr, "[password]", "see the log of postern")
	if text := r.text(t); strings.ContainsAny(text, "\x1b\a") || strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") || strings.Contains(text, "AGFubmEA") {
		t.Errorf("got %q", text)
	}
}

// TestReadOnlyToken is no operator's.
func TestReadOnlyToken(t *testing.T) {
	token := testbed.WriteFile(t, strings.Repeat("r", 32))
	g := start(t, prefix+"ADMIN_READ_TOKEN_FILE="+token)
	examine(t, g.options()).expect(t, OK, "admin token: accepted")
	o := g.options()
	o.Environ = append(o.Environ, prefix+"ADMIN_TOKEN_FILE="+token, prefix+"ADMIN_READ_TOKEN_FILE=")
	examine(t, o).expect(t, Warning, "admin token: this user can read only", "POSTERN_ADMIN_READ_TOKEN_FILE")
}

// TestTokenForAll warns of tokens that every user can read.
func TestTokenForAll(t *testing.T) {
	token := testbed.WriteFile(t, strings.Repeat("r", 32))
	for _, setting := range []string{"ADMIN_TOKEN_FILE", "ADMIN_READ_TOKEN_FILE", "POLICY_TOKEN_FILE"} {
		e := loaded(t, prefix+setting+"="+token, prefix+"POLICY_LISTEN=127.0.0.1:9144")
		for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o604: 1} {
			if err := os.Chmod(token, mode); err != nil {
				t.Fatal(err)
			}
			found := Report(e.checkTokenFiles(t.Context()))
			if len(found) != want {
				t.Errorf("%s, mode %v: got %v, want %d findings", setting, mode, found, want)
			}
			if want > 0 {
				found.expect(t, Warning, "token file "+token, prefix+setting+", has mode 0604", "chmod o= "+token)
			}
		}
	}
	if err := os.Chmod(token, 0o604); err != nil {
		t.Fatal(err)
	}
	examine(t, start(t, prefix+"ADMIN_READ_TOKEN_FILE="+token).options()).expect(t, Warning, "token file "+token)
}

// TestTokenOfAnotherGateway is refused by the running one.
func TestTokenOfAnotherGateway(t *testing.T) {
	g := start(t)
	o := g.options()
	o.Environ = append(o.Environ, prefix+"ADMIN_TOKEN_FILE="+testbed.WriteFile(t, strings.Repeat("x", 32)))
	examine(t, o).expect(t, Failure, "admin token: the running postern refuses it", "POSTERN_ADMIN_TOKEN_FILE")
	o.Environ = append(o.Environ, prefix+"ADMIN_TOKEN_FILE=/no/such/file")
	examine(t, o).expect(t, Failure, "admin token: ", "/no/such/file")
	o.Environ = append(o.Environ, prefix+"ADMIN_TOKEN_FILE=", prefix+"STATE_DIR=off")
	examine(t, o).expect(t, Warning, "admin token: there is none", "POSTERN_STATE_DIR")
	if _, err := os.Stat("/no/such/file"); err == nil {
		t.Error("created a token")
	}
}
