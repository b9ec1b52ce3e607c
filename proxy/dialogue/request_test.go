package dialogue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// summary is a request in one line, for comparison.
func summary(r Request) string {
	s := fmt.Sprintf("%s %s as %s", r.Method, r.Mechanism, r.Account)
	if r.HasResponse {
		s += fmt.Sprintf(": %q", []byte(r.Response))
	}
	if r.Unfit {
		s += " unfit"
	}
	return s
}

// TestRequests reads each way to write a request. In the input "|" ends a line.
func TestRequests(t *testing.T) {
	plain := func(method string) string { return method + ` PLAIN as user: "\x00user\x00pass"` }
	tests := []struct {
		protocol Protocol
		in, want string
	}{
		{IMAP{}, "a LOGIN user pass|", plain("LOGIN")},
		{IMAP{}, `a login "user" "pass"|`, plain("LOGIN")},
		{IMAP{}, `a LOGIN us\er pass|a LOGIN user "pass"|`, plain("LOGIN")},
		{IMAP{}, `a LOGIN "us\\er" ]pa+ss|`, `LOGIN PLAIN as us\er: "\x00us\\er\x00]pa+ss"`},
		{IMAP{}, "a LOGIN {4}|user {4}|pass|", plain("LOGIN")},
		{IMAP{}, "a LOGIN {4+}|user {4+}|pass|", plain("LOGIN")},
		{IMAP{}, "a LOGIN {4+}|user {0004}|pass|", plain("LOGIN")},
		{IMAP{}, `a LOGIN {4}|user "pass"|`, plain("LOGIN")},
		{IMAP{}, `a LOGIN "user" {4+}|pass|`, plain("LOGIN")},
		{IMAP{}, `a LOGIN "" ""|`, `LOGIN PLAIN as : "\x00\x00"`},
		{IMAP{}, "a LOGIN {0} {0}|a LOGIN {0}| {0+}||", `LOGIN PLAIN as : "\x00\x00"`},
		{IMAP{}, "a LOGIN {6+}|us|er pass|", `LOGIN PLAIN as us` + "\r\n" + `er: "\x00us\r\ner\x00pass" unfit`},
		{IMAP{}, "a LOGIN user {6+}|pa|ss|", `LOGIN PLAIN as user: "\x00user\x00pa\r\nss" unfit`},
		{IMAP{}, "a AUTHENTICATE PLAIN AHVzZXIAcGFzcw==|", plain("PLAIN")},
		{IMAP{}, "a AUTHENTICATE PLAIN|AHVzZXIAcGFzcw==|", plain("PLAIN")},
		{IMAP{}, "a AUTHENTICATE PLAIN |AHVzZXIAcGFzcw==|", plain("PLAIN")}, // as Dovecot takes it
		{IMAP{}, "a AUTHENTICATE PLAIN YgB1c2VyAHBhc3M=|", `PLAIN PLAIN as user: "b\x00user\x00pass"`},
		{IMAP{}, "a AUTHENTICATE LOGIN =|cGFzcw==|", `LOGIN PLAIN as : "\x00\x00pass"`},
		{IMAP{}, "a AUTHENTICATE LOGIN|dQBz|cGFzcw==|", `LOGIN PLAIN as u` + "\x00" + `s: "\x00u\x00s\x00pass" unfit`},
		{IMAP{}, "a AUTHENTICATE EXTERNAL =|", `EXTERNAL EXTERNAL as : ""`},
		{IMAP{}, "a AUTHENTICATE EXTERNAL||", `EXTERNAL EXTERNAL as : ""`},
		{IMAP{}, "a AUTHENTICATE EXTERNAL dXNlcg==|", `EXTERNAL EXTERNAL as user: "user"`},
		{IMAP{}, "a AUTHENTICATE cram-md5|", "CRAM-MD5 CRAM-MD5 as "},
		{IMAP{}, "a AUTHENTICATE CRAM-MD5 =|", `CRAM-MD5 CRAM-MD5 as : ""`},
		{IMAP{}, "a AUTHENTICATE OAUTHBEARER bixhPXUsAQ==|", `OAUTHBEARER OAUTHBEARER as u: "n,a=u,\x01"`},
		{IMAP{}, "a AUTHENTICATE XOAUTH2|dXNlcj11AWE9YgEB|", `XOAUTH2 XOAUTH2 as u: "user=u\x01a=b\x01\x01"`},
		{IMAP{}, "a AUTHENTICATE SCRAM-SHA-256 bixhPWIsbj11LHI9eA==|", `SCRAM-SHA-256 SCRAM-SHA-256 as u: "n,a=b,n=u,r=x"`},
		{IMAP{}, "a AUTHENTICATE SCRAM-SHA-256 biwsbj11ASxyPXg=|", "SCRAM-SHA-256 SCRAM-SHA-256 as u\x01" + `: "n,,n=u\x01,r=x" unfit`},
		{POP3{}, "USER user|PASS pass|", plain("USER")},
		{POP3{}, "user user|pass pass|", plain("USER")},
		{POP3{}, "USER  us  er |PASS  |", `USER PLAIN as  us  er : "\x00 us  er \x00 "`},
		{POP3{}, "USER user|PASS |", `USER PLAIN as user: "\x00user\x00"`},
		{POP3{}, "USER user|PASS p\r\r|", `USER PLAIN as user: "\x00user\x00p\r\r" unfit`},
		{POP3{}, "USER one|STLS|APOP x y|USER user|PASS pass|", plain("USER")},
		{POP3{}, "AUTH PLAIN AHVzZXIAcGFzcw==|", plain("PLAIN")},
		{POP3{}, "AUTH plain|AHVzZXIAcGFzcw==|", plain("PLAIN")},
		{POP3{}, "AUTH LOGIN dXNlcg==|cGFzcw==|", plain("LOGIN")},
		{POP3{}, "AUTH CRAM-MD5|", "CRAM-MD5 CRAM-MD5 as "},
		{Sieve{}, `AUTHENTICATE "PLAIN" "AHVzZXIAcGFzcw=="|`, plain("PLAIN")},
		{Sieve{}, `authenticate "pla\\in"|Authenticate "plain"|"AHVzZXIAcGFzcw=="|`, plain("PLAIN")},
		{Sieve{}, `AUTHENTICATE "PLAIN" {16+}|AHVzZXIAcGFzcw==|`, plain("PLAIN")},
		{Sieve{}, `AUTHENTICATE {5+}|PLAIN {16}|AHVzZXIAcGFzcw==|`, plain("PLAIN")},
		{Sieve{}, `AUTHENTICATE "PLAIN"|{0016+}|AHVzZXIAcGFzcw==|`, plain("PLAIN")},
		{Sieve{}, `AUTHENTICATE "LOGIN" "dXNlcg=="|"cGFzcw=="|`, plain("LOGIN")},
		{Sieve{}, `AUTHENTICATE "EXTERNAL" ""|`, `EXTERNAL EXTERNAL as : ""`},
		{Sieve{}, `AUTHENTICATE "EXTERNAL" {0+}||`, `EXTERNAL EXTERNAL as : ""`},
		{Sieve{}, `AUTHENTICATE "EXTERNAL"|""|`, `EXTERNAL EXTERNAL as : ""`},
		{Sieve{}, `AUTHENTICATE "CRAM-MD5"|`, "CRAM-MD5 CRAM-MD5 as "},
		{Sieve{}, `AUTHENTICATE "SCRAM-SHA-256" "biwsbj11ASxyPXg="|`, "SCRAM-SHA-256 SCRAM-SHA-256 as u\x01" + `: "n,,n=u\x01,r=x" unfit`},
		{Sieve{}, `AUTHENTICATE "PLAIN" " AHVzZXIAcGFzcw=="|AUTHENTICATE "PLAIN" "AHVzZXIAcGFzcw=="|`, plain("PLAIN")},
	}
	for _, tt := range tests {
		in := strings.ReplaceAll(tt.in, "|", "\r\n")
		for _, w := range []*wire{peerSends(in + "rest"), peerSendsBytes(in + "rest")} {
			c := NewConn(w)
			r, err := tt.protocol.ReadRequest(c, fullOffer[tt.protocol.Name()])
			if got := summary(r); got != tt.want || err != nil || r.Kind != Login {
				t.Errorf("%q: got %q, %v, want %q", tt.in, got, err, tt.want)
			}
			if rest, _ := io.ReadAll(c); string(rest) != "rest" {
				t.Errorf("%q: the rest is %q", tt.in, rest)
			}
		}
	}
}

// TestLongResponse: a response that is too long for backends is unfit.
func TestLongResponse(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	const empty, oauth = len("\x00user\x00"), len("user=user\x01\x01\x01")
	tests := []struct{ name, in string }{ // in pairs: the longest that is fit, and one octet more
		{"LOGIN", "a LOGIN user {5994+}\r\n" + x(maxResponse-empty) + "\r\n"},
		{"LOGIN", "a LOGIN user {5995+}\r\n" + x(maxResponse-empty+1) + "\r\n"},
		{"PLAIN", "a AUTHENTICATE PLAIN\r\n" + b64("\x00user\x00"+x(maxResponse-empty)) + "\r\n"},
		{"PLAIN", "a AUTHENTICATE PLAIN\r\n" + b64("\x00user\x00"+x(maxResponse-empty+1)) + "\r\n"},
		{"XOAUTH2", "a AUTHENTICATE XOAUTH2\r\n" + b64("user=user\x01"+x(maxResponse-oauth)+"\x01\x01") + "\r\n"},
		{"XOAUTH2", "a AUTHENTICATE XOAUTH2\r\n" + b64("user=user\x01"+x(maxResponse-oauth+1)+"\x01\x01") + "\r\n"},
	}
	for i, tt := range tests {
		r, err := IMAP{}.ReadRequest(NewConn(peerSends(tt.in)), fullOffer["imap"])
		if err != nil || r.Method != tt.name || len(r.Response) != maxResponse+i%2 || r.Unfit != (i%2 == 1) {
			t.Errorf("%s: %d octets, unfit is %v, %v", tt.name, len(r.Response), r.Unfit, err)
		}
	}
}

// dialogues use all commands, and end between two of them.
var dialogues = map[string]string{
	"imap": "a CAPABILITY\r\nb ID (\"name\" {1}\r\nx {1+}\r\ny NIL)\r\nc ENABLE X\r\nd NOOP\r\n" +
		"e LOGIN {4}\r\nuser {4+}\r\npass\r\nf AUTHENTICATE PLAIN\r\nAHVzZXIAcGFzcw==\r\n" +
		"g AUTHENTICATE LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\nh AUTHENTICATE PLAIN\r\n*\r\ni AUTHENTICATE FOO\r\n" +
		"j AUTHENTICATE PLAIN =\r\nk FOO {3+}\r\nabc\r\nl LOGOUT\r\n",
	"pop3": "CAPA\r\nAUTH\r\nUSER user\r\nPASS pass\r\nAUTH PLAIN\r\nAHVzZXIAcGFzcw==\r\n" +
		"AUTH LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\nAUTH PLAIN\r\n*\r\nAUTH FOO\r\nAUTH PLAIN =\r\nFOO\r\nQUIT\r\n",
	"sieve": "CAPABILITY\r\nNOOP\r\nNOOP \"x\"\r\nAUTHENTICATE \"PLAIN\" {16+}\r\nAHVzZXIAcGFzcw==\r\n" +
		"AUTHENTICATE \"PLAIN\"\r\n\"AHVzZXIAcGFzcw==\"\r\nAUTHENTICATE \"LOGIN\"\r\n\"dXNlcg==\"\r\n{8+}\r\ncGFzcw==\r\n" +
		"AUTHENTICATE \"PLAIN\"\r\n\"*\"\r\nAUTHENTICATE \"FOO\"\r\nAUTHENTICATE \"PLAIN\" \"\"\r\nFOO {3+}\r\nabc\r\nLOGOUT\r\n",
}

// readRequests reads until the dialogue ends, and returns the requests and the
// error that ended it.
func readRequests(p Protocol, w *wire, o Offer) (requests []string, err error) {
	c := NewConn(w)
	for {
		r, err := p.ReadRequest(c, o)
		if err != nil || r.Kind == Logout {
			return requests, err
		}
		requests = append(requests, summary(r))
	}
}

// TestClientCloses cuts a dialogue at every octet: the output until then is the same,
// and part of a command makes no request.
func TestClientCloses(t *testing.T) {
	for _, p := range protocols {
		in, o := dialogues[p.Name()], fullOffer[p.Name()]
		full := peerSends(in)
		requests, err := readRequests(p, full, o)
		if err != nil || len(requests) != 3 {
			t.Fatalf("%s: got %q, %v", p.Name(), requests, err)
		}
		for n := range len(in) {
			w := peerSends(in[:n])
			got, err := readRequests(p, w, o)
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, after %q: got %v", p.Name(), in[:n], err)
			}
			if !bytes.HasPrefix(full.out.Bytes(), w.out.Bytes()) || strings.Count(in[:n], "\n") == 0 && w.writes > 0 {
				t.Errorf("%s, after %q: wrote %q", p.Name(), in[:n], w.out.String())
			}
			for i := range got {
				if got[i] != requests[i] {
					t.Errorf("%s, after %q: read %q", p.Name(), in[:n], got)
				}
			}
		}
	}
}

// TestWriteFails fails every write in turn: ReadRequest must stop, and return the
// error.
func TestWriteFails(t *testing.T) {
	for _, p := range protocols {
		for _, o := range []Offer{fullOffer[p.Name()], {StartTLS: true}} {
			in := dialogues[p.Name()]
			all := peerSends(in)
			if _, err := readRequests(p, all, o); err != nil && !errors.Is(err, ErrBadCommands) {
				t.Fatalf("%s: %v", p.Name(), err)
			}
			for n := 1; n <= all.writes; n++ {
				w := peerSends(in)
				w.failAt = n
				_, err := readRequests(p, w, o)
				if !errors.Is(err, errClosed) && !errors.Is(err, ErrBadCommands) || w.writes != n {
					t.Errorf("%s, write %d: got %v after %d writes", p.Name(), n, err, w.writes)
				}
			}
		}
	}
}

// TestDialogueEnds tries what ends a dialogue, with the last line to the client.
func TestDialogueEnds(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct {
		protocol Protocol
		in       string
		want     error
		last     string // line to the client
	}{
		{IMAP{}, "a ]\r\nb ]\r\nc ]\r\n", ErrBadCommands, "* BYE Too many invalid commands.\r\n"},
		{IMAP{}, long, ErrTooLong, "* BYE Line or literal too long.\r\n"},
		{IMAP{}, "a LOGIN {8193+}\r\n", ErrTooLong, "* BYE Line or literal too long.\r\n"},
		{IMAP{}, "a LOGIN {4294967297+}\r\n", ErrTooLong, "* BYE Line or literal too long.\r\n"},
		{IMAP{}, "a FOO {5000+}\r\n" + long[:5000] + " {5000+}\r\n", ErrTooLong, "* BYE Line or literal too long.\r\n"},
		{IMAP{}, "a LOGIN {4+}\r\nuser" + long, ErrTooLong, "* BYE Line or literal too long.\r\n"},
		{IMAP{}, "a AUTHENTICATE PLAIN\r\n" + long + long, ErrTooLong, "+ \r\n* BYE Line or literal too long.\r\n"},
		{IMAP{}, "a STARTTLS\r\nb", ErrHostile, ""},
		{IMAP{}, "\x16", ErrHostile, ""},
		{POP3{}, "\r\n\r\n\r\n", ErrBadCommands, "-ERR Too many invalid commands.\r\n"},
		{POP3{}, long, ErrTooLong, "-ERR Line too long.\r\n"},
		{POP3{}, "STLS\r\nU", ErrHostile, ""},
		{POP3{}, "CAPA\r\n\x16", ErrHostile, ".\r\n"},
		{Sieve{}, "\r\n\r\n\r\n", ErrBadCommands, "BYE \"Too many invalid commands.\"\r\n"},
		{Sieve{}, long, ErrTooLong, "BYE \"Line or literal too long.\"\r\n"},
		{Sieve{}, "NOOP {16385+}\r\n", ErrTooLong, "BYE \"Line or literal too long.\"\r\n"},
		{Sieve{}, "NOOP {4294967297+}\r\n", ErrTooLong, "BYE \"Line or literal too long.\"\r\n"},
		{Sieve{}, "FOO {9000+}\r\n" + long + long[:808] + " {9000+}\r\n", ErrTooLong, "BYE \"Line or literal too long.\"\r\n"},
		{Sieve{}, "AUTHENTICATE {4+}\r\nuser" + long, ErrTooLong, "BYE \"Line or literal too long.\"\r\n"},
		{Sieve{}, "AUTHENTICATE \"PLAIN\"\r\n\"" + long + long, ErrTooLong, "\"\"\r\nBYE \"Line or literal too long.\"\r\n"},
		{Sieve{}, "STARTTLS\r\nN", ErrHostile, ""},
		{Sieve{}, "\x16", ErrHostile, ""},
	}
	for _, tt := range tests {
		o := fullOffer[tt.protocol.Name()]
		o.StartTLS = true
		w := peerSends(tt.in)
		_, err := readRequests(tt.protocol, w, o)
		if got := w.out.String(); !errors.Is(err, tt.want) || !strings.HasSuffix(got, tt.last) || tt.last == "" && got != "" {
			t.Errorf("%s %.40q: got %v, wrote %q", tt.protocol.Name(), tt.in, err, got)
		}
	}
}

func TestOtherProtocol(t *testing.T) {
	tests := []struct {
		line string
		want bool
	}{
		{"GET / HTTP/1.1", true},
		{"GET /", true},
		{"HEAD /x", true},
		{"POST http://mail/ HTTP/1.0", true},
		{"PUT /x HTTP/1.1", true},
		{"DELETE /x HTTP/1.1", true},
		{"PATCH /x HTTP/1.1", true},
		{"TRACE / HTTP/1.1", true},
		{"OPTIONS * HTTP/1.1", true},
		{"CONNECT mail:143 HTTP/1.1", true},
		{"PRI * HTTP/2.0", true},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1000 143", true},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 1000 143", true},
		{"PROXY UNKNOWN", true},
		{"GET NOOP", false},
		{"GET", false},
		{"PROXY NOOP", false},
		{"PROXY", false},
		{"get / HTTP/1.1", false}, // browsers use upper case
		{"GETS / HTTP/1.1", false},
		{"a LOGIN / HTTP/1.1", false},
		{" GET / HTTP/1.1", false},
		{"", false},
	}
	for _, tt := range tests {
		if got := isOtherProtocol([]byte(tt.line)); got != tt.want {
			t.Errorf("%q: %v", tt.line, got)
		}
	}
}
