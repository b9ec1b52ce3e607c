//go:build linux

package mailtest

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/proxy/standin"
)

var dovecot SharedDovecot

func TestMain(m *testing.M) {
	code := m.Run()
	dovecot.Close()
	os.Exit(code)
}

// dialProxied connects to a PROXY port as a proxy would for a client in TLS.
func dialProxied(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	writeHeader(t, c)
	return c
}

func TestDovecotSays(t *testing.T) {
	d := dovecot.Get(t)
	for file, addr := range map[string]string{"dovecot_imap.dlg": d.IMAPProxy, "dovecot_pop3.dlg": d.POP3Proxy} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := ParseScripts(file, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, script := range scripts {
			t.Run(script.Name, func(t *testing.T) {
				t.Parallel()
				script.Play(t, Endpoints{Client: dialProxied(t, addr)})
			})
		}
	}
}

// mailer is a mail program of a few lines.
type mailer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func newMailer(t *testing.T, c net.Conn) mailer {
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	m := mailer{t, c, bufio.NewReader(c)}
	m.hear()
	return m
}

func (m mailer) hear() string {
	m.t.Helper()
	line, err := m.r.ReadString('\n')
	if err != nil {
		m.t.Fatalf("got %q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// ask says a line and returns the answer.
func (m mailer) ask(line string) string {
	m.t.Helper()
	fmt.Fprintf(m.Conn, "%s\r\n", line)
	return m.hear()
}

// challenge returns what stands in a "+ base64" line.
func challenge(line string) string {
	text, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "+ "))
	return string(text)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestDovecotAccountsLogIn(t *testing.T) {
	d := dovecot.Get(t)
	for _, a := range d.Accounts {
		t.Run(a.Name, func(t *testing.T) {
			plain := b64("\x00" + a.Name + "\x00" + a.Secret)
			if got := newMailer(t, dialProxied(t, d.IMAPProxy)).ask("a AUTHENTICATE PLAIN " + plain); !strings.HasPrefix(got, "a OK") {
				t.Errorf("PLAIN: %q", got)
			}
			if got := newMailer(t, dialProxied(t, d.POP3Proxy)).ask("AUTH PLAIN " + plain); !strings.HasPrefix(got, "+OK") {
				t.Errorf("PLAIN: %q", got)
			}
			if got := cramMD5(newMailer(t, dialProxied(t, d.IMAPProxy)), a); !strings.HasPrefix(got, "a OK") {
				t.Errorf("CRAM-MD5: %q", got)
			}
			if got := scramSHA256(newMailer(t, dialProxied(t, d.IMAPProxy)), a); !strings.HasPrefix(got, "a OK") {
				t.Errorf("SCRAM-SHA-256: %q", got)
			}
			bearer := b64("n,a=" + a.Name + ",\x01auth=Bearer " + DovecotToken(a.Name) + "\x01\x01")
			if got := newMailer(t, dialProxied(t, d.IMAPProxy)).ask("a AUTHENTICATE OAUTHBEARER " + bearer); !strings.HasPrefix(got, "a OK") {
				t.Errorf("OAUTHBEARER: %q", got)
			}
		})
	}
}

// cramMD5 logs in as RFC 2195 says and returns the last answer.
func cramMD5(m mailer, a standin.Account) string {
	mac := hmac.New(md5.New, []byte(a.Secret))
	mac.Write([]byte(challenge(m.ask("a AUTHENTICATE CRAM-MD5"))))
	return m.ask(b64(a.Name + " " + hex.EncodeToString(mac.Sum(nil))))
}

// scramSHA256 logs in as RFC 7677 says and returns the last answer.
func scramSHA256(m mailer, a standin.Account) string {
	m.t.Helper()
	first := "n=" + a.Name + ",r=client"
	server := challenge(m.ask("a AUTHENTICATE SCRAM-SHA-256 " + b64("n,,"+first)))
	fields := strings.SplitN(server, ",", 3) // r=nonce, s=salt, i=rounds
	if len(fields) != 3 {
		m.t.Fatalf("challenge %q", server)
	}
	salt, _ := base64.StdEncoding.DecodeString(fields[1][2:])
	rounds, _ := strconv.Atoi(fields[2][2:])
	salted, err := pbkdf2.Key(sha256.New, a.Secret, salt, rounds, sha256.Size)
	if err != nil {
		m.t.Fatal(err)
	}
	mac := func(key []byte, s string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(s))
		return h.Sum(nil)
	}
	last := "c=biws," + fields[0]
	proof := mac(salted, "Client Key")
	stored := sha256.Sum256(proof)
	for i, b := range mac(stored[:], first+","+server+","+last) {
		proof[i] ^= b
	}
	if got := m.ask(b64(last + ",p=" + b64(string(proof)))); !strings.HasPrefix(challenge(got), "v=") {
		return got
	}
	return m.ask("")
}

func TestDovecotLogsTheClient(t *testing.T) {
	d := dovecot.Get(t)
	m := newMailer(t, dialProxied(t, d.IMAPProxy))
	m.ask("a AUTHENTICATE PLAIN " + b64("\x00other\x00secret"))
	line := d.WaitLog(t, "Login: user=<other>", "rip=203.0.113.7", "lip=192.0.2.1")
	if !strings.Contains(line, ", secured,") {
		t.Errorf("not secured: %s", line)
	}
}

func TestDovecotInTLS(t *testing.T) {
	d := dovecot.Get(t)
	for addr, login := range map[string]string{d.IMAPS: "a LOGIN user pass", d.POP3S: "AUTH PLAIN " + b64("\x00user\x00pass")} {
		c, err := tls.Dial("tcp", addr, d.Certificate.Client())
		if err != nil {
			t.Fatal(err)
		}
		if got := newMailer(t, c).ask(login); !strings.Contains(got, "OK") {
			t.Errorf("%s: %q", login, got)
		}
	}
}

// Several run side by side, and leave nothing behind.
func TestDovecotTwice(t *testing.T) {
	first := dovecot.Get(t)
	second, err := NewDovecot(DovecotConfig{
		Accounts: []standin.Account{{Name: "only", Secret: "here"}}, Settings: "login_greeting = second",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if first.IMAP == second.IMAP || first.dir == second.dir {
		t.Error("both are the same")
	}
	c, err := net.Dial("tcp", second.POP3)
	if err != nil {
		t.Fatal(err)
	}
	m := mailer{t, c, bufio.NewReader(c)}
	if got := m.hear(); got != "+OK second" {
		t.Errorf("greeting %q", got)
	}
	second.Close()
	if _, err := os.Stat(second.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder is left: %v", err)
	}
	if _, err := net.Dial("tcp", second.IMAP); err == nil {
		t.Error("still listens")
	}
}

func TestDovecotRefusesBadSettings(t *testing.T) {
	dovecot.Get(t) // where there is none there is nothing to refuse
	d, err := NewDovecot(DovecotConfig{Settings: "no_such_setting = yes"})
	if err == nil {
		d.Close()
		t.Fatal("started")
	}
	if !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("the error does not tell why: %v", err)
	}
}

func TestSharedDovecotClosedUnused(t *testing.T) {
	var s SharedDovecot
	s.Close()
	if s.d != nil || !errors.Is(s.err, errNoDovecot) {
		t.Errorf("%+v", s.err)
	}
}
