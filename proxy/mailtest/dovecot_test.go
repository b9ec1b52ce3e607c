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

// dialProxied connects to a port with PROXY headers, like a proxy for a client in TLS.
func dialProxied(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	writeHeader(t, c)
	return c
}

func TestDovecotDialogues(t *testing.T) {
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

// mailClient is a minimal client.
type mailClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func newMailClient(t *testing.T, c net.Conn) mailClient {
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(dovecotTimeout))
	m := mailClient{t, c, bufio.NewReader(c)}
	m.receive()
	return m
}

func (m mailClient) receive() string {
	m.t.Helper()
	line, err := m.r.ReadString('\n')
	if err != nil {
		m.t.Fatalf("got %q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// command sends a line and returns the next one received.
func (m mailClient) command(line string) string {
	m.t.Helper()
	fmt.Fprintf(m.Conn, "%s\r\n", line)
	return m.receive()
}

// challenge decodes a line "+ base64".
func challenge(line string) string {
	text, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "+ "))
	return string(text)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestDovecotAccountsLogIn(t *testing.T) {
	d := dovecot.Get(t)
	for _, a := range d.Accounts {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			plain := b64("\x00" + a.Name + "\x00" + a.Secret)
			if got := newMailClient(t, dialProxied(t, d.IMAPProxy)).command("a AUTHENTICATE PLAIN " + plain); !strings.HasPrefix(got, "a OK") {
				t.Errorf("PLAIN: got %q", got)
			}
			if got := newMailClient(t, dialProxied(t, d.POP3Proxy)).command("AUTH PLAIN " + plain); !strings.HasPrefix(got, "+OK") {
				t.Errorf("PLAIN: got %q", got)
			}
			if got := cramMD5(newMailClient(t, dialProxied(t, d.IMAPProxy)), a); !strings.HasPrefix(got, "a OK") {
				t.Errorf("CRAM-MD5: got %q", got)
			}
			if got := scramSHA256(newMailClient(t, dialProxied(t, d.IMAPProxy)), a); !strings.HasPrefix(got, "a OK") {
				t.Errorf("SCRAM-SHA-256: got %q", got)
			}
			bearer := b64("n,a=" + a.Name + ",\x01auth=Bearer " + DovecotToken(a.Name) + "\x01\x01")
			if got := newMailClient(t, dialProxied(t, d.IMAPProxy)).command("a AUTHENTICATE OAUTHBEARER " + bearer); !strings.HasPrefix(got, "a OK") {
				t.Errorf("OAUTHBEARER: got %q", got)
			}
		})
	}
}

// cramMD5 logs in with CRAM-MD5 (RFC 2195) and returns the last answer.
func cramMD5(m mailClient, a standin.Account) string {
	mac := hmac.New(md5.New, []byte(a.Secret))
	mac.Write([]byte(challenge(m.command("a AUTHENTICATE CRAM-MD5"))))
	return m.command(b64(a.Name + " " + hex.EncodeToString(mac.Sum(nil))))
}

// scramSHA256 logs in with SCRAM-SHA-256 (RFC 7677) and returns the last answer.
func scramSHA256(m mailClient, a standin.Account) string {
	m.t.Helper()
	first := "n=" + a.Name + ",r=client"
	server := challenge(m.command("a AUTHENTICATE SCRAM-SHA-256 " + b64("n,,"+first)))
	fields := strings.SplitN(server, ",", 3) // r=nonce, s=salt, i=iterations
	if len(fields) != 3 {
		m.t.Fatalf("got challenge %q, want 3 attributes", server)
	}
	salt, _ := base64.StdEncoding.DecodeString(fields[1][2:])
	iterations, _ := strconv.Atoi(fields[2][2:])
	salted, err := pbkdf2.Key(sha256.New, a.Secret, salt, iterations, sha256.Size)
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
	if got := m.command(b64(last + ",p=" + b64(string(proof)))); !strings.HasPrefix(challenge(got), "v=") {
		return got
	}
	return m.command("")
}

func TestDovecotLogsClientOfHeader(t *testing.T) {
	d := dovecot.Get(t)
	m := newMailClient(t, dialProxied(t, d.IMAPProxy))
	m.command("a AUTHENTICATE PLAIN " + b64("\x00other\x00secret"))
	line := d.WaitLog(t, "Login: user=<other>", "rip=203.0.113.7", "lip=192.0.2.1")
	if !strings.Contains(line, ", secured,") {
		t.Errorf("got log line %q, want secured", line)
	}
}

func TestDovecotImplicitTLS(t *testing.T) {
	d := dovecot.Get(t)
	for addr, login := range map[string]string{d.IMAPS: "a LOGIN user pass", d.POP3S: "AUTH PLAIN " + b64("\x00user\x00pass")} {
		c, err := tls.Dial("tcp", addr, d.Certificate.Client())
		if err != nil {
			t.Fatal(err)
		}
		if got := newMailClient(t, c).command(login); !strings.Contains(got, "OK") {
			t.Errorf("%s: got %q", login, got)
		}
	}
}

// Several Dovecots can run at the same time, and Close removes everything.
func TestTwoDovecots(t *testing.T) {
	t.Parallel()
	first := dovecot.Get(t)
	second, err := NewDovecot(DovecotConfig{
		Accounts: []standin.Account{{Name: "only", Secret: "here"}}, Settings: "login_greeting = second",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if first.IMAP == second.IMAP || first.dir == second.dir {
		t.Error("both have the same address or directory")
	}
	c, err := net.Dial("tcp", second.POP3)
	if err != nil {
		t.Fatal(err)
	}
	m := mailClient{t, c, bufio.NewReader(c)}
	if got := m.receive(); got != "+OK second" {
		t.Errorf("got greeting %q, want %q", got, "+OK second")
	}
	second.Close()
	if _, err := os.Stat(second.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory after Close: got %v, want %v", err, os.ErrNotExist)
	}
	if _, err := net.Dial("tcp", second.IMAP); err == nil {
		t.Error("listens after Close")
	}
}

func TestInvalidSettingIsInError(t *testing.T) {
	t.Parallel()
	dovecot.Get(t) // skips the test without Dovecot
	d, err := NewDovecot(DovecotConfig{Settings: "no_such_setting = yes"})
	if err == nil {
		d.Close()
		t.Fatal("started with an invalid setting")
	}
	if !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("got error %v, want the name of the setting in it", err)
	}
}

func TestSharedDovecotCloseUnused(t *testing.T) {
	var s SharedDovecot
	s.Close()
	if s.d != nil || !errors.Is(s.err, errUnavailable) {
		t.Errorf("got %v, want %v", s.err, errUnavailable)
	}
}
