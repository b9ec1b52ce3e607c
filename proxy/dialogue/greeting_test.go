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

// backend returns the proxy's end of a pipe. The other end performs the steps in
// order:
//
//	> octets    send them, with CRLF
//	>* octets   send this line again until the pipe is closed
//	>. octets   send them without a line end
//	< line      receive this line
//
// After the last step it closes. The test fails if a step fails.
func backend(t *testing.T, steps []string) *Conn {
	t.Helper()
	near, far := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	near.SetDeadline(deadline)
	far.SetDeadline(deadline)
	var done sync.WaitGroup
	done.Go(func() {
		defer far.Close()
		received := bufio.NewReader(far)
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
				if line, err = received.ReadString('\n'); err == nil && line != octets+"\r\n" {
					err = errors.New("received " + line)
				}
			}
			if err != nil {
				t.Errorf("backend, step %q: %v", step, err)
				return
			}
		}
	})
	t.Cleanup(done.Wait)
	t.Cleanup(func() { near.Close() }) // before the wait
	return NewConn(near)
}

// upgrading takes the place of the handshake: it sends one line, which the backend
// must receive in its order.
func upgrading(up *Conn) func() error { return func() error { return up.writeLine("(TLS)") } }

var errHandshake = errors.New("handshake failed")

func failing() error { return errHandshake }

// backendTest is a backend's script and the expected outcome.
type backendTest struct {
	name     string
	protocol Protocol
	steps    []string
	upgrade  bool
	want     Capabilities // of a probe
	err      string       // part of the error; empty is none
}

var greetingTests = []backendTest{
	{name: "greeting", protocol: IMAP{}, steps: []string{"> * OK [CAPABILITY IMAP4rev1] ready"}},
	{name: "no text", protocol: IMAP{}, steps: []string{"> * OK"}},
	{name: "temporarily unavailable", protocol: IMAP{}, steps: []string{"> * BYE [UNAVAILABLE] full"}, err: `"* BYE [UNAVAILABLE] full"`},
	{name: "logged in already", protocol: IMAP{}, steps: []string{"> * PREAUTH welcome"}, err: "PREAUTH"},
	{name: "garbage", protocol: IMAP{}, steps: []string{"> 220 mail ESMTP"}, err: "220 mail ESMTP"},
	{name: "empty line", protocol: IMAP{}, steps: []string{"> "}, err: `""`},
	{name: "another protocol", protocol: IMAP{}, steps: []string{"> +OK ready"}, err: "+OK ready"},
	{name: "nothing", protocol: IMAP{}, err: "EOF"},
	{name: "part of a greeting", protocol: IMAP{}, steps: []string{">. * OK rea"}, err: "unexpected EOF"},
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
	{name: "temporarily unavailable", protocol: POP3{}, steps: []string{"> -ERR [SYS/TEMP] full"}, err: `"-ERR [SYS/TEMP] full"`},
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

	{name: "greeting", protocol: Sieve{}, steps: []string{`> "IMPLEMENTATION" "Dovecot Pigeonhole"`, `> "SASL" "PLAIN"`, `> OK "Dovecot ready."`}},
	{name: "no text", protocol: Sieve{}, steps: []string{"> ok"}},
	{name: "temporarily unavailable", protocol: Sieve{}, steps: []string{`> BYE (TRYLATER) "full"`}, err: `"BYE (TRYLATER) \"full\""`},
	{name: "garbage", protocol: Sieve{}, steps: []string{"> \xff\x00\x01"}, err: `"\xff\x00\x01"`},
	{name: "another protocol", protocol: Sieve{}, steps: []string{"> * OK ready"}, err: "* OK ready"},
	{name: "nothing", protocol: Sieve{}, err: "EOF"},
	{name: "part of a literal", protocol: Sieve{}, steps: []string{"> OK {5}", ">. rea"}, err: "EOF"},
	{name: "endless line", protocol: Sieve{}, steps: []string{">. " + strings.Repeat("x", maxReply)}, err: "line or literal too long"},
	{name: "literal too large", protocol: Sieve{}, steps: []string{"> OK {16384}"}, err: "line or literal too long"},
	{
		name: "STARTTLS", protocol: Sieve{}, upgrade: true,
		steps: []string{"> OK", "< STARTTLS", `> OK "begin"`, "< (TLS)", `> "SASL" "PLAIN"`, `> OK "ready"`},
	},
	{
		name: "STARTTLS refused", protocol: Sieve{}, upgrade: true,
		steps: []string{"> OK", "< STARTTLS", `> NO "no"`}, err: `STARTTLS: unexpected reply "NO \"no\""`,
	},
	{
		name: "STARTTLS not answered", protocol: Sieve{}, upgrade: true,
		steps: []string{"> OK", "< STARTTLS"}, err: "EOF",
	},
	{
		name: "no capabilities in TLS", protocol: Sieve{}, upgrade: true,
		steps: []string{"> OK", "< STARTTLS", "> OK", "< (TLS)"}, err: "EOF",
	},
}

func TestReadGreeting(t *testing.T) {
	for _, tt := range greetingTests {
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
		name: "list by CAPABILITY", protocol: IMAP{},
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
	{name: "another tag", protocol: IMAP{}, steps: []string{"> * OK ready", "< 1 CAPABILITY", "> 2 OK done"}, err: `"2 OK done"`},
	{name: "closes", protocol: IMAP{}, steps: []string{"> * OK ready", "< 1 CAPABILITY", "> * CAPABILITY IMAP4rev1"}, err: "EOF"},
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
	{name: "closes", protocol: POP3{}, steps: []string{"> +OK ready", "< CAPA", "> +OK", "> TOP"}, err: "EOF"},
	{name: "endless", protocol: POP3{}, steps: []string{"> +OK ready", "< CAPA", "> +OK", ">* TOP"}, err: "CAPA"},

	{
		name: "list", protocol: Sieve{},
		steps: []string{`> "IMPLEMENTATION" "a \"b\""`, `> "sieve" {8}`, `> fileinto`, `> "STARTTLS"`, `> {4}`, `> SASL "PLAIN"`, "> OK"},
		want:  Capabilities{`IMPLEMENTATION a "b"`, "sieve fileinto", "STARTTLS", "SASL PLAIN"},
	},
	{
		name: "list from before TLS is obsolete", protocol: Sieve{}, upgrade: true,
		steps: []string{`> "SASL" ""`, `> "STARTTLS"`, "> OK", "< STARTTLS", "> OK begin", "< (TLS)", `> "SASL" "PLAIN"`, `> OK "ready"`},
		want:  Capabilities{"SASL PLAIN"},
	},
	{name: "no string", protocol: Sieve{}, steps: []string{`> SASL "PLAIN"`}, err: "greeting"},
	{name: "no value", protocol: Sieve{}, steps: []string{`> "SASL" PLAIN`}, err: "greeting"},
	{name: "a line end in a value", protocol: Sieve{}, steps: []string{`> "SASL" {8}`, ">. PLAIN\r\nX", "> "}, err: "greeting"},
	{name: "endless", protocol: Sieve{}, steps: []string{`>* "SIEVE" "x"`}, err: "greeting"},
	{name: "endless in TLS", protocol: Sieve{}, upgrade: true, steps: []string{"> OK", "< STARTTLS", "> OK", "< (TLS)", `>* "SIEVE" "x"`}, err: "capabilities in TLS"},
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

// TestHandshakeFails: after a failed handshake nothing is sent in clear text.
func TestHandshakeFails(t *testing.T) {
	for p, steps := range map[Protocol][]string{
		IMAP{}:  {"> * OK ready", "< 1 STARTTLS", "> 1 OK begin"},
		POP3{}:  {"> +OK ready", "< STLS", "> +OK begin"},
		Sieve{}: {"> OK", "< STARTTLS", "> OK"},
	} {
		if err := p.ReadGreeting(backend(t, steps), failing); !errors.Is(err, errHandshake) {
			t.Errorf("%s: Welcome: got %v", p.Name(), err)
		}
		if _, err := p.Probe(backend(t, steps), failing); !errors.Is(err, errHandshake) {
			t.Errorf("%s: Probe: got %v", p.Name(), err)
		}
	}
}

// TestBackendCloses: a failed write to the backend is an error.
func TestBackendCloses(t *testing.T) {
	for _, p := range protocols {
		for _, upgrade := range []func() error{nil, failing} {
			if p.Name() == "sieve" && upgrade == nil {
				continue // nothing is written
			}
			w := peerSends(map[string]string{"imap": "* OK ready\r\n", "pop3": "+OK ready\r\n", "sieve": "OK\r\n"}[p.Name()])
			w.failAt = 1
			if _, err := p.Probe(NewConn(w), upgrade); !errors.Is(err, errClosed) {
				t.Errorf("%s: got %v", p.Name(), err)
			}
		}
	}
}
