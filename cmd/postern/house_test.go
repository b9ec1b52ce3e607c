package main

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/proxy/standin"
)

// patience bounds every wait of a test for something that happens at once
// unless it is broken.
const patience = 20 * time.Second

// logbook is a log that a test can wait on.
type logbook struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed and replaced at every write
}

func newLogbook() *logbook { return &logbook{written: make(chan struct{})} }

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.written)
	l.written = make(chan struct{})
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns the first line that holds every one of parts, once it is
// written.
func (l *logbook) await(t *testing.T, parts ...string) string {
	t.Helper()
	return l.awaitFor(t, patience, parts...)
}

// awaitFor is await for what takes its time.
func (l *logbook) awaitFor(t *testing.T, patience time.Duration, parts ...string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		text, written := l.text.String(), l.written
		l.mu.Unlock()
		for line := range strings.Lines(text) {
			if holdsAll(line, parts) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
		select {
		case <-written:
		case <-timeout:
			t.Fatalf("no line with %q in\n%s", parts, text)
		}
	}
}

func holdsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// testHouse is a gate under test with what stands around it.
type testHouse struct {
	*gate
	log     *logbook
	cert    *standin.Certificate
	dir     string // holds the certificate
	environ []string
}

// read reads the house's settings anew, as SIGHUP does.
func (h *testHouse) read() (Config, error) { return load(h.environ, testFDs) }

// houseSettings starts stand-in mail servers and returns the settings of a gate
// before them, with every door on loopback.
func houseSettings(t *testing.T) (dir string, cert *standin.Certificate, environ []string) {
	t.Helper()
	dir = t.TempDir()
	own, stop, err := demoSettings(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	for _, name := range []string{"IMAP", "IMAPS", "POP3", "POP3S", "ADMIN"} {
		own = append(own, prefix+name+"_LISTEN=127.0.0.1:0")
	}
	own = append(own, prefix+"LOG_FORMAT=text")
	if cert, err = standin.NewCertificate("localhost", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cert.Write(dir, "demo"); err != nil {
		t.Fatal(err)
	}
	return dir, cert, own
}

// newHouse opens a gate and lets clients in. Settings in more come on top.
func newHouse(t *testing.T, more ...string) *testHouse {
	t.Helper()
	dir, cert, environ := houseSettings(t)
	h := &testHouse{log: newLogbook(), cert: cert, dir: dir, environ: append(environ, more...)}
	c, err := h.read()
	if err != nil {
		t.Fatal(err)
	}
	if h.gate, err = open(c, newJournal(h.log, c.Log), build{Version: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	h.serve()
	return h
}

// client speaks lines.
type client struct {
	*textproto.Conn
	t *testing.T
}

// dial connects to a TLS door and reads the greeting.
func (h *testHouse) dial(t *testing.T, door string) *client {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", h.at(door), h.cert.Client())
	if err != nil {
		t.Fatal(err)
	}
	cl := newClient(t, c)
	cl.until("OK")
	return cl
}

// knock connects to a door and says nothing.
func (h *testHouse) knock(t *testing.T, door string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", h.at(door), patience)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newClient speaks lines on c, which is closed with the test.
func newClient(t *testing.T, c net.Conn) *client {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{textproto.NewConn(c), t}
}

// until reads lines up to one that holds word, and returns it.
func (c *client) until(word string) string {
	c.t.Helper()
	for {
		line, err := c.ReadLine()
		if err != nil {
			c.t.Fatalf("waiting for %q: %v", word, err)
		}
		if strings.Contains(line, word) {
			return line
		}
	}
}

// say sends a line and reads up to an answer that holds word.
func (c *client) say(line, word string) string {
	c.t.Helper()
	if err := c.PrintfLine("%s", line); err != nil {
		c.t.Fatal(err)
	}
	return c.until(word)
}

// login logs in at an IMAP door.
func (c *client) login() {
	c.t.Helper()
	c.say("a LOGIN "+demoAccount.Name+" "+demoAccount.Secret, "a OK")
}

// absent skips the test for want of a program, or fails it where nothing may be
// missing.
func absent(t *testing.T, program string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed", program)
}
