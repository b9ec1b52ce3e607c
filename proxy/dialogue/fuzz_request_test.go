package dialogue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzIMAPReadRequest(f *testing.F) { fuzzReadRequest(f, IMAP{}) }
func FuzzPOP3ReadRequest(f *testing.F) { fuzzReadRequest(f, POP3{}) }

// fuzzReadRequest sends arbitrary octets from a client, in every state of a
// listener. The segments in which they arrive must make no difference.
func fuzzReadRequest(f *testing.F, p Protocol) {
	for _, s := range seeds(f, p.Name()) {
		f.Add(byte(s.offer), []byte(s.client))
		if bytes.Contains([]byte(s.client), []byte("198.51.100.9")) {
			f.Add(byte(4), []byte(s.client)) // from a forwarder
		}
	}
	f.Fuzz(func(t *testing.T, state byte, in []byte) {
		o := listenerOffers[int(state)%len(listenerOffers)]
		o.Backend = fullOffer[p.Name()].Backend
		atOnce, drip := peerSends(string(in)), peerSendsBytes(string(in))
		a, b := readFuzzed(t, p, o, atOnce, in), readFuzzed(t, p, o, drip, in)
		if o.StartTLS { // depends on the segments
			return
		}
		if !slices.Equal(a, b) || !bytes.Equal(atOnce.out.Bytes(), drip.out.Bytes()) {
			t.Errorf("at once:\n%q\n%q\noctet by octet:\n%q\n%q", a, atOnce.out.Bytes(), b, drip.out.Bytes())
		}
	})
}

// readFuzzed reads requests until the client's octets in are used up, and returns
// their summaries. Every login is denied.
func readFuzzed(t *testing.T, p Protocol, o Offer, w *wire, in []byte) (requests []string) {
	c := NewConn(w)
	o.Forwarded = func(f Forwarded) bool {
		checkForwarded(t, f)
		requests = append(requests, fmt.Sprintf("%+v", f))
		return true
	}
	p.Greet(c, o)
	capabilities := allCapabilities(o)
	for range len(in) + 1 { // it reads at least one octet each time
		r, err := p.ReadRequest(c, o)
		if err == nil && r.Kind == Login {
			checkRequest(t, p, o, r)
			requests = append(requests, summary(r))
			p.Answer(c, r, AnswerDenied)
			continue
		}
		if err == nil && r.Kind == StartTLS {
			if o.TLS || !o.StartTLS || c.Buffered() > 0 {
				t.Fatalf("TLS in TLS, or with %d octets buffered", c.Buffered())
			}
			p.Answer(c, r, AnswerTLS)
			c.Restart(w)
			o.TLS, o.StartTLS = true, false
			p.GreetTLS(c, o)
			capabilities = append(capabilities, allCapabilities(o)...)
			continue
		}
		checkEnd(t, err)
		checkOutput(t, p, w.out.String(), string(in), capabilities)
		return requests
	}
	t.Fatal("the dialogue continues after the last octet")
	return nil
}

// checkForwarded verifies what the limiter and the log rely on.
func checkForwarded(t *testing.T, f Forwarded) {
	t.Helper()
	if a := f.Client.Addr(); a.Is4In6() || len(f.Session) > 64 {
		t.Fatalf("client %v, session of %d octets", a, len(f.Session))
	}
}

// allCapabilities are the capabilities in the form of each protocol.
func allCapabilities(o Offer) []string {
	return []string{o.imapCapabilities(), strings.Join(append(o.pop3Capabilities(), o.pop3Advertised()...), "\r\n"), o.sieveCapabilities()}
}

// checkEnd verifies that the dialogue ended with an error that ReadRequest documents.
func checkEnd(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{nil, ErrHostile, ErrTooLong, ErrBadCommands, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Fatalf("ended with %v", err)
}

// checkRequest verifies what the limiter and the backend rely on in a login.
func checkRequest(t *testing.T, p Protocol, o Offer, r Request) {
	t.Helper()
	offered := slices.Concat(o.imapMechanisms(), []string{"PLAIN"})
	if !slices.Contains(offered, r.Mechanism) && p.Name() == "imap" || strings.HasSuffix(r.Mechanism, "-PLUS") {
		t.Fatalf("mechanism %q", r.Mechanism)
	}
	for _, m := range []string{"PLAIN", "LOGIN", "USER", "XOAUTH2", "OAUTHBEARER"} {
		if !o.TLS && !o.Cleartext && (r.Mechanism == m || r.Method == m) {
			t.Fatalf("%s in clear text", m)
		}
	}
	if legal := legalTag(r.Tag); legal != (p.Name() == "imap") {
		t.Fatalf("tag %q", r.Tag)
	}
	if !r.HasResponse && len(r.Response) > 0 {
		t.Fatalf("HasResponse is false, and the response is %q", []byte(r.Response))
	}
	if r.Unfit {
		return
	}
	checkFit(t, r.Account)
	if r.Mechanism == "PLAIN" {
		parts := strings.Split(string(r.Response), "\x00")
		if len(parts) != 3 || parts[1] != r.Account || strings.ContainsAny(parts[2], "\r\n") {
			t.Fatalf("PLAIN for %q: %q", r.Account, parts)
		}
		checkFit(t, parts[0])
	}
}

func checkFit(t *testing.T, name string) {
	t.Helper()
	for _, c := range []byte(name) {
		if c < 0x20 || c == 0x7f {
			t.Fatalf("name %q", name)
		}
	}
	if !utf8.ValidString(name) {
		t.Fatalf("name %q", name)
	}
}

// legalTag is a second implementation of the grammar of a tag.
func legalTag(tag string) bool {
	return tag != "" && len(tag) <= 126 && strings.Trim(tag, tagChars) == ""
}

// allowedLines are all lines that a client may get, except for capabilities. Those
// with a "~" in front follow a tag.
var allowedLines = map[string][]string{
	"imap": strings.Split(`+ OK|+ |+ VXNlcm5hbWU6|+ UGFzc3dvcmQ6|* ENABLED|* ID NIL|* BYE Logging out.|`+
		`* BYE Too many invalid commands.|* BYE Line or literal too long.|* BAD Invalid tag.|~OK Capability completed.|`+
		`~OK NOOP completed.|~OK Enabled.|~OK ID completed.|~OK Logout completed.|~OK Begin TLS negotiation now.|`+
		`~BAD Invalid command.|~BAD Invalid arguments.|~BAD Unknown command, or not before login.|~BAD STARTTLS is not possible now.|`+
		`~BAD Authentication cancelled.|~BAD Invalid SASL response.|~NO Unsupported authentication mechanism.|`+
		`~NO [PRIVACYREQUIRED] Logging in needs TLS, begin with STARTTLS.|~NO [AUTHENTICATIONFAILED] Authentication failed.`, "|"),
	"pop3": strings.Split(`+OK Ready.|+OK [XCLIENT] Ready.|+OK|.|+ |+ VXNlcm5hbWU6|+ UGFzc3dvcmQ6|+OK Logging out.|+OK Begin TLS negotiation now.|`+
		`-ERR Too many invalid commands.|-ERR Line too long.|-ERR Unknown command, or not before login.|-ERR STLS is not possible now.|`+
		`-ERR Missing user name.|-ERR No user name given.|-ERR Missing password.|-ERR Invalid arguments.|-ERR Invalid SASL response.|`+
		`-ERR Unsupported authentication mechanism.|-ERR Authentication cancelled.|-ERR Logging in needs TLS, begin with STLS.|`+
		`-ERR [AUTH] Authentication failed.`, "|"),
	"sieve": strings.Split(`OK "Ready."|OK "TLS negotiation successful."|""|"VXNlcm5hbWU6"|"UGFzc3dvcmQ6"|OK "Capability completed."|`+
		`OK "NOOP completed."|OK "Logout completed."|OK "Begin TLS negotiation now."|BYE "Too many invalid commands."|`+
		`BYE "Line or literal too long."|NO "Invalid command."|NO "Invalid arguments."|NO "Unknown command, or not before login."|`+
		`NO "STARTTLS is not possible now."|NO "Invalid SASL response."|NO "Authentication cancelled."|`+
		`NO "Unsupported authentication mechanism."|NO (ENCRYPT-NEEDED) "Logging in needs TLS, begin with STARTTLS."|`+
		`NO "Authentication failed."`, "|"),
}

// repeatsTag reports whether a line is the answer of ManageSieve to NOOP with a tag that
// the client has sent.
func repeatsTag(line, in string) bool {
	tag, isNoop := strings.CutSuffix(strings.TrimPrefix(line, `OK (TAG "`), `") "NOOP completed."`)
	legal := strings.Trim(tag, tagChars+"+") == "" && len(tag) <= 126
	return isNoop && len(line) > len(tag) && legal && strings.Contains(in, tag)
}

// checkOutput allows fixed texts, capabilities, and tags that the client has sent,
// and bounds the length.
func checkOutput(t *testing.T, p Protocol, out, in string, capabilities []string) {
	t.Helper()
	if len(out) > 512+64*len(in) {
		t.Fatalf("%d octets of input gave %d octets of output", len(in), len(out))
	}
	text, ended := strings.CutSuffix(out, "\r\n")
	if !ended {
		t.Fatalf("output ends without a line end: %q", out)
	}
	allowed := slices.Clone(allowedLines[p.Name()])
	for _, c := range capabilities {
		allowed = append(allowed, "* CAPABILITY "+c, "* OK [CAPABILITY "+c+"] Ready.")
		allowed = append(allowed, strings.Split(c, "\r\n")...)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		tag, rest, _ := strings.Cut(line, " ")
		tagged := legalTag(tag) && slices.Contains(allowed, "~"+rest) && strings.Contains("\n"+in, "\n"+tag+" ")
		tagged = tagged || p.Name() == "sieve" && repeatsTag(line, in)
		if !tagged && !slices.Contains(allowed, line) {
			t.Fatalf("unexpected output %q", line)
		}
	}
}
