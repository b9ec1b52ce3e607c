package proxy

import (
	"encoding/base64"
	"strings"
	"sync"
	"time"
)

// fakeBackend is a backend that knows every mechanism, accepts the password "right" and
// denies others after a delay, as Dovecot does. After login it echoes every line.
type fakeBackend struct {
	delay     time.Duration // of a denial
	onGreeted func()        // called when a connection has been greeted

	mu        sync.Mutex
	passwords []string // that were checked, in order
}

// The greetings of a fakeBackend.
const (
	imapHello = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready"
	pop3Hello = "+OK ready"
)

func (fake *fakeBackend) checked() []string {
	fake.mu.Lock()
	defer fake.mu.Unlock()
	return append([]string(nil), fake.passwords...)
}

func (fake *fakeBackend) check(password string) bool {
	fake.mu.Lock()
	defer fake.mu.Unlock()
	fake.passwords = append(fake.passwords, password)
	return password == "right"
}

// imap serves a connection to an IMAP backend.
func (fake *fakeBackend) imap(b *peer) {
	b.readHeader()
	b.send(imapHello)
	fake.serveLogin(b, "imap")
}

// pop3 serves a connection to a POP3 backend.
func (fake *fakeBackend) pop3(b *peer) {
	b.readHeader()
	b.send(pop3Hello)
	fake.serveLogin(b, "pop3")
}

// serveLogin serves what follows the greeting.
func (fake *fakeBackend) serveLogin(b *peer, protocol string) {
	if protocol == "imap" {
		fake.login(b, "1 AUTHENTICATE ", loginReplies{
			"1 OK [CAPABILITY IMAP4rev1] Logged in", "1 NO [AUTHENTICATIONFAILED] Authentication failed.",
			"1 BAD Authentication aborted by client.",
		})
		return
	}
	fake.login(b, "AUTH ", loginReplies{"+OK Logged in.", "-ERR [AUTH] Authentication failed.", "-ERR Authentication aborted by client."})
}

// protocolFunc serves a connection to a backend of the protocol of that name.
func (fake *fakeBackend) protocolFunc(protocol string) func(*peer) {
	if protocol == "imap" {
		return fake.imap
	}
	return fake.pop3
}

// loginReplies are the last replies to a login.
type loginReplies struct{ yes, no, aborted string }

func (fake *fakeBackend) login(b *peer, command string, replies loginReplies) {
	if fake.onGreeted != nil {
		fake.onGreeted()
	}
	line, err := b.readLine()
	switch {
	case err != nil:
		return // a probe
	case line == "CAPA": // a probe
		b.send("+OK", "SASL PLAIN", ".")
		return
	case line == "1 CAPABILITY": // likewise
		b.send("* CAPABILITY IMAP4rev1 AUTH=PLAIN", "1 OK done")
		return
	}
	args, ok := strings.CutPrefix(line, command)
	if !ok {
		b.fail("backend got %q, want %q", line, command)
	}
	mechanism, ir, _ := strings.Cut(args, " ")
	accepted, answered := fake.exchange(b, mechanism, ir, replies.aborted)
	switch {
	case !answered:
	case accepted:
		b.send(replies.yes)
		b.echo()
	default:
		wait(fake.delay)
		b.send(replies.no)
		b.expectClosed()
	}
}

// exchange plays the rounds of a mechanism. It returns answered false if the client
// cancelled.
func (fake *fakeBackend) exchange(b *peer, mechanism, ir, aborted string) (accepted, answered bool) {
	password, response := decode(ir), ""
	switch mechanism {
	case "PLAIN":
		password = password[strings.LastIndexByte(password, 0)+1:]
	case "CRAM-MD5":
		if response, answered = b.challenge("<1@backend>"); !answered {
			b.send(aborted)
			return false, false
		}
		password = response[strings.LastIndexByte(response, ' ')+1:]
	case "SCRAM-SHA-256":
		if response, answered = b.challenge("r=nonce,s=c2FsdA==,i=4096"); !answered {
			b.send(aborted)
			return false, false
		}
		_, password, _ = strings.Cut(response, ",p=")
	case "XOAUTH2":
		_, password, _ = strings.Cut(strings.TrimRight(password, "\x01"), "Bearer ")
	default:
		b.fail("got mechanism %q, want one that the test knows", mechanism)
	}
	if accepted = fake.check(password); !accepted && mechanism == "XOAUTH2" {
		if _, answered = b.challenge(`{"status":"401"}`); !answered {
			b.send(aborted)
			return false, false
		}
	}
	return accepted, true
}

func decode(s string) string {
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}

// wait waits for d. It makes no timer that is over at once: those of several goroutines of a
// bubble end the process under the race detector of Go 1.26 (golang/go#78156).
func wait(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
