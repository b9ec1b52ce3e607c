//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/proxy/standin"
)

// process is postern as a process of its own, in front of Dovecot.
type process struct {
	*exec.Cmd
	log      *logbook
	doors    map[string]string // addresses
	cert     *standin.Certificate
	crt, key string        // files of cert
	file     string        // POSTERN_ENV_FILE
	exited   chan struct{} // closed at its end
}

// startProcess runs postern with cert and with the given dotenv file until the
// test ends.
func startProcess(t *testing.T, cert *standin.Certificate, settings string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), log: newLogbook(), doors: map[string]string{}, cert: cert, file: writeFile(t, settings), exited: make(chan struct{})}
	dir := t.TempDir()
	p.crt, p.key = filepath.Join(dir, "gate.crt"), filepath.Join(dir, "gate.key")
	p.install(t, cert)
	p.Env = append(behind(dovecot.Get(t)), bePostern+"=yes", prefix+"ENV_FILE="+p.file, prefix+"TLS_CERT="+p.crt, prefix+"TLS_KEY="+p.key, prefix+"LOG_FORMAT=text")
	for _, name := range []string{"IMAP", "IMAPS", "POP3", "POP3S", "ADMIN"} {
		p.Env = append(p.Env, prefix+name+"_LISTEN=127.0.0.1:0")
	}
	p.Stderr = p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
	})
	for _, m := range regexp.MustCompile(`(imaps?|pop3s?) (127\.0\.0\.1:\d+)`).FindAllStringSubmatch(p.log.await(t, "event=start"), -1) {
		p.doors[m[1]] = m[2]
	}
	awaitOffer(t, p.doors["imap"], p.doors["pop3"])
	return p
}

// install puts cert into the place of the one before.
func (p *process) install(t *testing.T, cert *standin.Certificate) {
	t.Helper()
	p.cert = cert
	for file, text := range map[string][]byte{p.crt: cert.CertPEM, p.key: cert.KeyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// dial connects to a TLS door and reads the greeting.
func (p *process) dial(t *testing.T, door string) *client {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", p.doors[door], p.cert.Client())
	if err != nil {
		t.Fatal(err)
	}
	cl := newClient(t, c)
	cl.until("OK")
	return cl
}

// awaitCert waits until new clients are shown the certificate that was
// installed last.
func (p *process) awaitCert(t *testing.T) {
	t.Helper()
	timeout := time.After(patience)
	for {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", p.doors["imaps"], p.cert.Client())
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-timeout:
			t.Fatalf("still the old certificate: %v\n%s", err, p.log)
		}
	}
}

// TestReloadUnderLoad sends SIGHUP several times, with another limit and another
// certificate, while mail programs come and go at every door and others are
// idle. Nobody notices but those who look at the certificate.
func TestReloadUnderLoad(t *testing.T) {
	curl.need(t)
	certs, bundle := newCertificates(t, 4)
	const settings = "POSTERN_LIMIT_CONNECT=off\nPOSTERN_LIMIT_SOURCE=1%d/10m\n"
	p := startProcess(t, certs[0], fmt.Sprintf(settings, 0))
	idle := make([]*client, 10)
	for i := range idle {
		idle[i] = p.dial(t, "imaps")
		idle[i].say("a LOGIN idler pass", "a OK")
		idle[i].say("b SELECT INBOX", "b OK")
		idle[i].say("c IDLE", "+ ")
	}
	var load sync.WaitGroup
	stop := make(chan struct{})
	for _, door := range doorNames {
		v := visitTo(t, door, p.doors[door], bundle)
		load.Go(func() { comeAndGo(t, v, stop) })
	}
	for i, cert := range certs[1:] {
		if err := os.WriteFile(p.file, fmt.Appendf(nil, settings, i+1), 0o600); err != nil {
			t.Fatal(err)
		}
		p.install(t, cert)
		_ = p.Process.Signal(syscall.SIGHUP)
		p.awaitCert(t)
	}
	p.log.await(t, "settings reloaded", "changed=[POSTERN_LIMIT_SOURCE]")
	close(stop)
	load.Wait()

	v := visitTo(t, "imaps", p.doors["imaps"], bundle)
	v.User = "idler"
	v.deliver(t, []byte("Subject: news\r\n\r\nnews\r\n"))
	for _, c := range idle {
		c.until(" EXISTS")
		c.say("DONE", "c OK")
		c.say("d LOGOUT", "d OK")
	}
}

// newCertificates makes n certificates, and a file with all of them.
func newCertificates(t *testing.T, n int) (certs []*standin.Certificate, bundle string) {
	t.Helper()
	var all []byte
	for range n {
		cert, err := standin.NewCertificate("localhost")
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
		all = append(all, cert.CertPEM...)
	}
	return certs, writeFile(t, string(all))
}

// comeAndGo reads mail again and again until stop is closed.
func comeAndGo(t *testing.T, v visit, stop <-chan struct{}) {
	for {
		args := curlCommand(v)
		text, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil || !bytes.Contains(text, []byte("Message-ID: <key@postern.example.org>")) {
			t.Errorf("%s: %v\n%s", v.door, err, text)
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// TestShutdown sends SIGTERM. Whoever has not logged in is told goodbye; whoever
// has finishes and leaves; and then the process ends.
func TestShutdown(t *testing.T) {
	certs, bundle := newCertificates(t, 1)
	p := startProcess(t, certs[0], "")
	v := visitTo(t, "imaps", p.doors["imaps"], bundle)
	v.User = "stayer"
	message := bigMessage(8 << 20) // more than fits between gate and client
	v.deliver(t, message)

	outside := map[string]*client{}
	for door, addr := range p.doors {
		if strings.HasSuffix(door, "s") {
			outside[door] = p.dial(t, door)
			continue
		}
		c, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		outside[door] = newClient(t, c)
		outside[door].until("OK")
	}
	imap, pop3 := p.dial(t, "imaps"), p.dial(t, "pop3s")
	imap.say("a LOGIN stayer pass", "a OK")
	imap.say("b SELECT INBOX", "b OK")
	imap.say("c FETCH 1 BODY.PEEK[]", "* 1 FETCH") // and nothing more is read yet
	pop3.say("USER user", "+OK")
	pop3.say("PASS pass", "+OK")

	_ = p.Process.Signal(syscall.SIGTERM)
	for door, c := range outside {
		c.until(map[bool]string{true: "* BYE", false: "-ERR [SYS/TEMP]"}[strings.HasPrefix(door, "imap")])
		if line, err := c.ReadLine(); err == nil {
			t.Errorf("%s: said on %q", door, line)
		}
		if c, err := net.Dial("tcp", p.doors[door]); err == nil {
			c.Close()
			t.Errorf("%s: still open", door)
		}
	}
	got := make([]byte, len(message))
	if err := imap.read(got); err != nil || !bytes.Equal(got, message) {
		t.Errorf("the message is cut or changed: %v", err)
	}
	imap.until("c OK")
	imap.say("d LOGOUT", "d OK")
	imap.Close()
	select {
	case <-p.exited:
		t.Error("did not wait for POP3")
	default:
	}
	pop3.say("RETR 1", ".")
	pop3.say("QUIT", "+OK")
	pop3.Close()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("still runs\n%s", p.log)
	}
	if code := p.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.log)
	}
}
