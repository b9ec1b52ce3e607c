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

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// child is postern as a process of its own, in front of Dovecot.
type child struct {
	*exec.Cmd
	log       *testbed.Log
	listeners map[string]string // addresses
	cert      *standin.Certificate
	crt, key  string        // files of cert
	file      string        // POSTERN_ENV_FILE
	exited    chan struct{} // closed at its end
}

// startChild runs postern with cert and with the given dotenv file until the
// test ends.
func startChild(t *testing.T, cert *standin.Certificate, settings string) *child {
	t.Helper()
	p := &child{Cmd: exec.Command(os.Args[0]), log: testbed.NewLog(), listeners: map[string]string{}, cert: cert, file: testbed.WriteFile(t, settings), exited: make(chan struct{})}
	dir := t.TempDir()
	p.crt, p.key = filepath.Join(dir, "postern.crt"), filepath.Join(dir, "postern.key")
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
	for _, m := range regexp.MustCompile(`(imaps?|pop3s?) (127\.0\.0\.1:\d+)`).FindAllStringSubmatch(p.log.Await(t, "event=start"), -1) {
		p.listeners[m[1]] = m[2]
	}
	awaitCapabilities(t, p.listeners["imap"], p.listeners["pop3"])
	return p
}

// install replaces the certificate files.
func (p *child) install(t *testing.T, cert *standin.Certificate) {
	t.Helper()
	p.cert = cert
	for file, text := range map[string][]byte{p.crt: cert.CertPEM, p.key: cert.KeyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// dial connects to a TLS listener and reads the greeting.
func (p *child) dial(t *testing.T, listener string) *testbed.Client {
	t.Helper()
	return testbed.DialTLS(t, p.listeners[listener], p.cert.Client())
}

// awaitCert waits until new clients are shown the certificate that was installed
// last.
func (p *child) awaitCert(t *testing.T) {
	t.Helper()
	timeout := time.After(testbed.Patience)
	for {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: testbed.Patience}, "tcp", p.listeners["imaps"], p.cert.Client())
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
// certificate each time, while mail programs use every listener and other sessions
// are idle. No session fails.
func TestReloadUnderLoad(t *testing.T) {
	curl.need(t)
	certs, bundle := newCertificates(t, 4)
	const settings = "POSTERN_LIMIT_CONNECT=off\nPOSTERN_LIMIT_SOURCE=1%d/10m\n"
	p := startChild(t, certs[0], fmt.Sprintf(settings, 0))
	idle := make([]*testbed.Client, 10)
	for i := range idle {
		idle[i] = p.dial(t, "imaps")
		idle[i].Say("a LOGIN idler pass", "a OK")
		idle[i].Say("b SELECT INBOX", "b OK")
		idle[i].Say("c IDLE", "+ ")
	}
	var load sync.WaitGroup
	stop := make(chan struct{})
	for _, listener := range listenerNames {
		v := newRun(t, listener, p.listeners[listener], bundle)
		load.Go(func() { readRepeatedly(t, v, stop) })
	}
	for i, cert := range certs[1:] {
		if err := os.WriteFile(p.file, fmt.Appendf(nil, settings, i+1), 0o600); err != nil {
			t.Fatal(err)
		}
		p.install(t, cert)
		_ = p.Process.Signal(syscall.SIGHUP)
		p.awaitCert(t)
	}
	p.log.Await(t, "settings reloaded", "changed=[POSTERN_LIMIT_SOURCE]")
	close(stop)
	load.Wait()

	v := newRun(t, "imaps", p.listeners["imaps"], bundle)
	v.User = "idler"
	v.deliver(t, []byte("Subject: news\r\n\r\nnews\r\n"))
	for _, c := range idle {
		c.Until(" EXISTS")
		c.Say("DONE", "c OK")
		c.Say("d LOGOUT", "d OK")
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
	return certs, testbed.WriteFile(t, string(all))
}

// readRepeatedly reads mail again and again until stop is closed.
func readRepeatedly(t *testing.T, v programRun, stop <-chan struct{}) {
	for {
		args := curlCommand(v)
		text, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil || !bytes.Contains(text, []byte("Message-ID: <key@postern.example.org>")) {
			t.Errorf("%s: %v\n%s", v.listener, err, text)
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// TestShutdown sends SIGTERM. Clients before login are disconnected with an
// answer, sessions may finish, and then the process ends.
func TestShutdown(t *testing.T) {
	certs, bundle := newCertificates(t, 1)
	p := startChild(t, certs[0], "")
	v := newRun(t, "imaps", p.listeners["imaps"], bundle)
	v.User = "reader"
	message := bigMessage(8 << 20) // more than fits into socket buffers
	v.deliver(t, message)

	prelogin := map[string]*testbed.Client{}
	for listener, addr := range p.listeners {
		if strings.HasSuffix(listener, "s") {
			prelogin[listener] = p.dial(t, listener)
			continue
		}
		prelogin[listener] = testbed.Dial(t, addr)
		prelogin[listener].Until("OK")
	}
	imap, pop3 := p.dial(t, "imaps"), p.dial(t, "pop3s")
	imap.Say("a LOGIN reader pass", "a OK")
	imap.Say("b SELECT INBOX", "b OK")
	imap.Say("c FETCH 1 BODY.PEEK[]", "* 1 FETCH") // and nothing more is read yet
	pop3.Say("USER user", "+OK")
	pop3.Say("PASS pass", "+OK")

	_ = p.Process.Signal(syscall.SIGTERM)
	for listener, c := range prelogin {
		c.Until(map[bool]string{true: "* BYE", false: "-ERR [SYS/TEMP]"}[strings.HasPrefix(listener, "imap")])
		if line, err := c.ReadLine(); err == nil {
			t.Errorf("%s: got %q after the last answer", listener, line)
		}
		if c, err := net.Dial("tcp", p.listeners[listener]); err == nil {
			c.Close()
			t.Errorf("%s: still open", listener)
		}
	}
	got := make([]byte, len(message))
	if err := readFull(imap, got); err != nil || !bytes.Equal(got, message) {
		t.Errorf("the message is cut or changed: %v", err)
	}
	imap.Until("c OK")
	imap.Say("d LOGOUT", "d OK")
	imap.Close()
	select {
	case <-p.exited:
		t.Error("ended before the POP3 session did")
	default:
	}
	pop3.Say("RETR 1", ".")
	pop3.Say("QUIT", "+OK")
	pop3.Close()
	select {
	case <-p.exited:
	case <-time.After(testbed.Patience):
		t.Fatalf("still runs\n%s", p.log)
	}
	if code := p.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.log)
	}
}
