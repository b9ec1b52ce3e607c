package proxy

import (
	"encoding/base64"
	"strings"
	"sync"
	"time"
)

// judge plays a backend that speaks every mechanism, lets the password "right"
// in, and denies others after a while, as Dovecot does. Whom it let in hears an
// echo.
type judge struct {
	delay   time.Duration // of a denial
	opening func()        // called when a connection has been greeted

	mu      sync.Mutex
	guesses []string // the passwords judged, in order
}

// The greetings of a judge.
const (
	imapHello = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready"
	pop3Hello = "+OK ready"
)

func (j *judge) judged() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.guesses...)
}

func (j *judge) judges(password string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.guesses = append(j.guesses, password)
	return password == "right"
}

// imap is a connection to an IMAP backend.
func (j *judge) imap(b *peer) {
	b.readHeader()
	b.say(imapHello)
	j.converse(b, "imap")
}

// pop3 is a connection to a POP3 backend.
func (j *judge) pop3(b *peer) {
	b.readHeader()
	b.say(pop3Hello)
	j.converse(b, "pop3")
}

// converse goes on behind the greeting.
func (j *judge) converse(b *peer, protocol string) {
	if protocol == "imap" {
		j.login(b, "1 AUTHENTICATE ", replies{
			"1 OK [CAPABILITY IMAP4rev1] Logged in", "1 NO [AUTHENTICATIONFAILED] Authentication failed.",
			"1 BAD Authentication aborted by client.",
		})
		return
	}
	j.login(b, "AUTH ", replies{"+OK Logged in.", "-ERR [AUTH] Authentication failed.", "-ERR Authentication aborted by client."})
}

// play is the connection to a backend of the protocol of that name.
func (j *judge) play(protocol string) func(*peer) {
	if protocol == "imap" {
		return j.imap
	}
	return j.pop3
}

// replies are what a judge may say in the end.
type replies struct{ yes, no, aborted string }

func (j *judge) login(b *peer, command string, say replies) {
	if j.opening != nil {
		j.opening()
	}
	line, err := b.line()
	switch {
	case err != nil:
		return // a probe
	case line == "CAPA": // a probe
		b.say("+OK", "SASL PLAIN", ".")
		return
	case line == "1 CAPABILITY": // likewise
		b.say("* CAPABILITY IMAP4rev1 AUTH=PLAIN", "1 OK done")
		return
	}
	rest, ok := strings.CutPrefix(line, command)
	if !ok {
		b.fail("backend heard %q, want %q", line, command)
	}
	mechanism, ir, _ := strings.Cut(rest, " ")
	accepted, heard := j.exchange(b, mechanism, ir, say.aborted)
	switch {
	case !heard:
	case accepted:
		b.say(say.yes)
		b.echo()
	default:
		<-time.After(j.delay)
		b.say(say.no)
		b.seeBreak()
	}
}

// exchange holds the rounds of a mechanism, and reports heard unless the gate
// broke them off.
func (j *judge) exchange(b *peer, mechanism, ir, aborted string) (accepted, heard bool) {
	password, response := decode(ir), ""
	switch mechanism {
	case "PLAIN":
		password = password[strings.LastIndexByte(password, 0)+1:]
	case "CRAM-MD5":
		if response, heard = b.challenge("<1@backend>"); !heard {
			b.say(aborted)
			return false, false
		}
		password = response[strings.LastIndexByte(response, ' ')+1:]
	case "SCRAM-SHA-256":
		if response, heard = b.challenge("r=nonce,s=c2FsdA==,i=4096"); !heard {
			b.say(aborted)
			return false, false
		}
		_, password, _ = strings.Cut(response, ",p=")
	case "XOAUTH2":
		_, password, _ = strings.Cut(strings.TrimRight(password, "\x01"), "Bearer ")
	default:
		b.fail("backend heard of mechanism %q", mechanism)
	}
	if accepted = j.judges(password); !accepted && mechanism == "XOAUTH2" {
		if _, heard = b.challenge(`{"status":"401"}`); !heard {
			b.say(aborted)
			return false, false
		}
	}
	return accepted, true
}

// challenge asks and returns the response, or false if there is none.
func (p *peer) challenge(text string) (response string, ok bool) {
	p.say("+ " + b64(text))
	line, err := p.line()
	return decode(line), err == nil && line != "*"
}

// echo answers every line until there are no more.
func (p *peer) echo() {
	for {
		p.SetReadDeadline(time.Time{})
		line, err := p.r.ReadString('\n')
		if err != nil {
			return
		}
		p.say("echo " + strings.TrimSpace(line))
	}
}

func decode(s string) string {
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}
