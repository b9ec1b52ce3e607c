package dialogue

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// backend returns the gate's end of a pipe, at the other end of which the steps
// happen one after the other:
//
//	> octets    it says them, with CRLF
//	>* octets   it says this line for as long as anybody listens
//	>. octets   it says them without an end, and closes
//	< line      it must hear this line
//
// After the last step it closes. The test fails if a step cannot be done.
func backend(t *testing.T, steps []string) *Conn {
	t.Helper()
	gate, far := net.Pipe()
	patience := time.Now().Add(10 * time.Second)
	gate.SetDeadline(patience)
	far.SetDeadline(patience)
	var done sync.WaitGroup
	done.Go(func() {
		defer far.Close()
		heard := bufio.NewReader(far)
		for _, step := range steps {
			act, octets, _ := strings.Cut(step, " ")
			var err error
			switch act {
			case ">":
				_, err = far.Write([]byte(octets + "\r\n"))
			case ">.":
				_, err = far.Write([]byte(octets))
			case ">*":
				for err == nil {
					_, err = far.Write([]byte(octets + "\r\n"))
				}
				err = nil
			case "<":
				var line string
				if line, err = heard.ReadString('\n'); err == nil && line != octets+"\r\n" {
					err = errors.New("heard " + line)
				}
			}
			if err != nil {
				t.Errorf("backend, step %q: %v", step, err)
				return
			}
		}
	})
	t.Cleanup(done.Wait)
	t.Cleanup(func() { gate.Close() }) // before it waits
	return NewConn(gate)
}

// upgrading stands for the handshake: it is one more line, which the backend
// must hear at the right moment.
func upgrading(up *Conn) func() error { return func() error { return up.writeLine("(TLS)") } }

var errHandshake = errors.New("handshake failed")

func failing() error { return errHandshake }

// backendTest is a backend, how it is met, and what comes of it.
type backendTest struct {
	name     string
	protocol Protocol
	steps    []string
	upgrade  bool
	want     Capabilities // of a probe
	err      string       // part of the error; empty is none
}

var welcomeTests = []backendTest{
	{name: "greeting", protocol: IMAP{}, steps: []string{"> * OK [CAPABILITY IMAP4rev1] ready"}},
	{name: "no text", protocol: IMAP{}, steps: []string{"> * OK"}},
	{name: "not now", protocol: IMAP{}, steps: []string{"> * BYE [UNAVAILABLE] full"}, err: `"* BYE [UNAVAILABLE] full"`},
	{name: "logged in already", protocol: IMAP{}, steps: []string{"> * PREAUTH welcome"}, err: "PREAUTH"},
	{name: "garbage", protocol: IMAP{}, steps: []string{"> 220 mail ESMTP"}, err: "220 mail ESMTP"},
	{name: "empty line", protocol: IMAP{}, steps: []string{"> "}, err: `""`},
	{name: "another protocol", protocol: IMAP{}, steps: []string{"> +OK ready"}, err: "+OK ready"},
	{name: "nothing", protocol: IMAP{}, err: "EOF"},
	{name: "half a greeting", protocol: IMAP{}, steps: []string{">. * OK rea"}, err: "unexpected EOF"},
	{name: "endless", protocol: IMAP{}, steps: []string{">. " + strings.Repeat("x", maxReply)}, err: "line or literal too long"},
	{name: "longest", protocol: IMAP{}, steps: []string{"> * OK " + strings.Repeat("x", maxReply-7)}},
	{
		name: "STARTTLS", protocol: IMAP{}, upgrade: true,
		steps: []string{"> * OK ready", "< 1 STARTTLS", "> 1 OK begin", "< (TLS)"},
	},
	{
		name: "STARTTLS with data before", protocol: IMAP{}, upgrade: true,
		steps: []string{"> * OK ready", "< 1 STARTTLS", "> * CAPABILITY IMAP4rev1", "> 1 OK begin", "< (TLS)"},
	},
	{
		name: "STARTTLS refused", protocol: IMAP{}, upgrade: true,
		steps: []string{"> * OK ready", "< 1 STARTTLS", "> 1 BAD no"}, err: `STARTTLS: unexpected reply "1 BAD no"`,
	},
	{
		name: "STARTTLS not answered", protocol: IMAP{}, upgrade: true,
		steps: []string{"> * OK ready", "< 1 STARTTLS"}, err: "EOF",
	},
	{
		name: "STARTTLS answered without end", protocol: IMAP{}, upgrade: true,
		steps: []string{"> * OK ready", "< 1 STARTTLS", ">* * OK wait"}, err: "STARTTLS",
	},
	{
		name: "STARTTLS after no greeting", protocol: IMAP{}, upgrade: true,
		steps: []string{"> * BYE"}, err: "BYE",
	},

	{name: "greeting", protocol: POP3{}, steps: []string{"> +OK Dovecot ready."}},
	{name: "no text", protocol: POP3{}, steps: []string{"> +OK"}},
	{name: "not now", protocol: POP3{}, steps: []string{"> -ERR [SYS/TEMP] full"}, err: `"-ERR [SYS/TEMP] full"`},
	{name: "garbage", protocol: POP3{}, steps: []string{"> \xff\x00\x01"}, err: `"\xff\x00\x01"`},
	{name: "another protocol", protocol: POP3{}, steps: []string{"> * OK ready"}, err: "* OK ready"},
	{name: "nothing", protocol: POP3{}, err: "EOF"},
	{name: "endless", protocol: POP3{}, steps: []string{">. " + strings.Repeat("x", maxReply)}, err: "line or literal too long"},
	{
		name: "STLS", protocol: POP3{}, upgrade: true,
		steps: []string{"> +OK ready", "< STLS", "> +OK begin", "< (TLS)"},
	},
	{
		name: "STLS refused", protocol: POP3{}, upgrade: true,
		steps: []string{"> +OK ready", "< STLS", "> -ERR no"}, err: `STLS: unexpected reply "-ERR no"`,
	},
	{
		name: "STLS not answered", protocol: POP3{}, upgrade: true,
		steps: []string{"> +OK ready", "< STLS"}, err: "EOF",
	},
	{
		name: "STLS after no greeting", protocol: POP3{}, upgrade: true,
		steps: []string{"> -ERR no"}, err: "-ERR no",
	},
}

func TestWelcome(t *testing.T) {
	for _, tt := range welcomeTests {
		t.Run(tt.protocol.Name()+"/"+tt.name, func(t *testing.T) {
			up := backend(t, tt.steps)
			var upgrade func() error
			if tt.upgrade {
				upgrade = upgrading(up)
			}
			tt.check(t, tt.protocol.ReadGreeting(up, upgrade))
		})
	}
}

func (tt backendTest) check(t *testing.T, err error) {
	t.Helper()
	if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
		t.Errorf("got error %v, want %q", err, tt.err)
	}
}

var probeTests = []backendTest{
	{
		name: "list in the greeting", protocol: IMAP{},
		steps: []string{"> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready"}, want: Capabilities{"IMAP4rev1", "AUTH=PLAIN"},
	},
	{
		name: "list asked for", protocol: IMAP{},
		steps: []string{"> * OK ready", "< 1 CAPABILITY", "> * OK wait", "> * capability IMAP4rev1  IDLE", "> 1 OK done"},
		want:  Capabilities{"IMAP4rev1", "IDLE"},
	},
	{
		name: "list from before TLS is obsolete", protocol: IMAP{}, upgrade: true,
		steps: []string{
			"> * OK welcome to the server [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED]", "< 1 STARTTLS", "> 1 OK begin", "< (TLS)",
			"< 1 CAPABILITY", "> * CAPABILITY IMAP4rev1 AUTH=PLAIN", "> 1 OK done",
		},
		want: Capabilities{"IMAP4rev1", "AUTH=PLAIN"},
	},
	{
		name: "list injected before TLS", protocol: IMAP{}, upgrade: true,
		steps: []string{
			"> * OK ready", "< 1 STARTTLS", "> * CAPABILITY IMAP4rev1 AUTH=EVIL", "> 1 OK begin", "< (TLS)",
			"< 1 CAPABILITY", "> * CAPABILITY IMAP4rev1", "> 1 OK done",
		},
		want: Capabilities{"IMAP4rev1"},
	},
	{name: "no list", protocol: IMAP{}, steps: []string{"> * OK ready", "< 1 CAPABILITY", "> 1 OK done"}, err: "CAPABILITY"},
	{name: "refused", protocol: IMAP{}, steps: []string{"> * OK ready", "< 1 CAPABILITY", "> 1 BAD no"}, err: `"1 BAD no"`},
	{name: "another's answer", protocol: IMAP{}, steps: []string{"> * OK ready", "< 1 CAPABILITY", "> 2 OK done"}, err: `"2 OK done"`},
	{name: "gone", protocol: IMAP{}, steps: []string{"> * OK ready", "< 1 CAPABILITY", "> * CAPABILITY IMAP4rev1"}, err: "EOF"},
	{name: "endless", protocol: IMAP{}, steps: []string{"> * OK ready", "< 1 CAPABILITY", ">* * OK wait"}, err: "CAPABILITY"},
	{name: "no greeting", protocol: IMAP{}, steps: []string{"> * BYE"}, err: "greeting"},

	{
		name: "list", protocol: POP3{},
		steps: []string{"> +OK ready", "< CAPA", "> +OK", "> TOP", "> SASL PLAIN LOGIN", "> ."},
		want:  Capabilities{"TOP", "SASL PLAIN LOGIN"},
	},
	{
		name: "list in TLS", protocol: POP3{}, upgrade: true,
		steps: []string{"> +OK ready", "< STLS", "> +OK begin", "< (TLS)", "< CAPA", "> +OK", "> USER", "> ."},
		want:  Capabilities{"USER"},
	},
	{name: "empty list", protocol: POP3{}, steps: []string{"> +OK ready", "< CAPA", "> +OK", "> ."}},
	{name: "refused", protocol: POP3{}, steps: []string{"> +OK ready", "< CAPA", "> -ERR what?"}, err: `"-ERR what?"`},
	{name: "gone", protocol: POP3{}, steps: []string{"> +OK ready", "< CAPA", "> +OK", "> TOP"}, err: "EOF"},
	{name: "endless", protocol: POP3{}, steps: []string{"> +OK ready", "< CAPA", "> +OK", ">* TOP"}, err: "CAPA"},
	{name: "no greeting", protocol: POP3{}, steps: []string{"> -ERR no"}, err: "greeting"},
}

func TestProbe(t *testing.T) {
	for _, tt := range probeTests {
		t.Run(tt.protocol.Name()+"/"+tt.name, func(t *testing.T) {
			up := backend(t, tt.steps)
			var upgrade func() error
			if tt.upgrade {
				upgrade = upgrading(up)
			}
			got, err := tt.protocol.Probe(up, upgrade)
			tt.check(t, err)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestHandshakeFails: nothing more is said in clear text.
func TestHandshakeFails(t *testing.T) {
	for _, steps := range [][]string{{"> * OK ready", "< 1 STARTTLS", "> 1 OK begin"}, {"> +OK ready", "< STLS", "> +OK begin"}} {
		var p Protocol = IMAP{}
		if strings.HasPrefix(steps[0], "> +") {
			p = POP3{}
		}
		if err := p.ReadGreeting(backend(t, steps), failing); !errors.Is(err, errHandshake) {
			t.Errorf("%s: Welcome: got %v", p.Name(), err)
		}
		if _, err := p.Probe(backend(t, steps), failing); !errors.Is(err, errHandshake) {
			t.Errorf("%s: Probe: got %v", p.Name(), err)
		}
	}
}

// TestBackendGone: a backend that hears nothing any more is an error.
func TestBackendGone(t *testing.T) {
	for _, p := range protocols {
		for _, upgrade := range []func() error{nil, failing} {
			w := peerSends("* OK ready\r\n")
			if p.Name() == "pop3" {
				w = peerSends("+OK ready\r\n")
			}
			w.failAt = 1
			if _, err := p.Probe(NewConn(w), upgrade); !errors.Is(err, errClosed) {
				t.Errorf("%s: got %v", p.Name(), err)
			}
		}
	}
}
