package dialogue

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func FuzzIMAPLogin(f *testing.F) { fuzzLogin(f, IMAP{}, regexp.MustCompile(`^1 [Oo][Kk](?: |$)`)) }
func FuzzPOP3Login(f *testing.F) { fuzzLogin(f, POP3{}, regexp.MustCompile(`^\+OK(?: |$)`)) }

// mechanisms are those whose exchanges differ.
var mechanisms = []string{"PLAIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", "DIGEST-MD5"}

// fuzzLogin runs a login with arbitrary input from both sides. Only a line that
// matches accepted may log the client in.
func fuzzLogin(f *testing.F, p Protocol, accepted *regexp.Regexp) {
	for _, s := range seeds(f, p.Name()) {
		if s.backend != "" {
			for i := range mechanisms {
				f.Add(byte(i), s.client != s.response, []byte(s.backend), []byte(s.response))
			}
		}
	}
	f.Fuzz(func(t *testing.T, mechanism byte, capability bool, backend, client []byte) {
		up, down := peerSends(string(backend)), peerSends(string(client))
		from, c := NewConn(up), NewConn(down)
		c.sentCapabilities = capability
		r := loginRequest(mechanisms[int(mechanism)%len(mechanisms)])
		if p.Name() == "pop3" {
			r.Tag = ""
		}
		reply, err := p.Login(from, c, r)
		checkSent(t, p, r, up.out.String())
		received := readLines(backend, up, from)
		checkChallenges(t, r, down.out.String(), received)
		if err != nil {
			if reply.Result != Unavailable || reply.Raw != nil {
				t.Errorf("got %+v with error %v", reply, err)
			}
			return
		}
		checkRaw(t, r, string(reply.Raw), received)
		last := append([]string{""}, received...)[len(received)]
		if in := len(reply.Raw) > 0 && accepted.MatchString(last); in != (reply.Result == Accepted) {
			t.Errorf("got result %d, and the last line of the backend is %q", reply.Result, last)
		}
		rejected := strings.Contains(r.Mechanism, "OAUTH") && slices.ContainsFunc(received, isChallenge)
		if rejected && reply.Result != Accepted && reply.Result != Denied {
			t.Errorf("got result %d for a token that the backend rejected", reply.Result)
		}
		if reply.Result == Cancelled && !strings.Contains(up.out.String(), "\r\n*\r\n") {
			t.Error("cancelled, and the backend got no \"*\"")
		}
	})
}

func isChallenge(line string) bool { return line == "+" || strings.HasPrefix(line, "+ ") }

// readLines returns the complete lines that have been read of a peer's octets.
func readLines(octets []byte, w *wire, c *Conn) []string {
	left := w.in.(*strings.Reader).Len() + c.Buffered()
	lines := strings.Split(string(octets[:len(octets)-left]), "\n")
	lines = lines[:len(lines)-1] // what follows the last line end is not a line
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines
}

// checkSent allows one command to the backend, and then only base64 and "*".
func checkSent(t *testing.T, p Protocol, r Request, sent string) {
	t.Helper()
	text, ended := strings.CutSuffix(sent, "\r\n")
	lines := strings.Split(text, "\r\n")
	want := strings.ReplaceAll(lines[0], "1 AUTHENTICATE", "AUTH") == "AUTH "+r.Mechanism
	if r.HasResponse {
		want = strings.HasSuffix(lines[0], r.Mechanism+" "+base64.StdEncoding.EncodeToString(r.Response))
	}
	if !ended || !want || strings.HasPrefix(lines[0], "1 ") != (p.Name() == "imap") {
		t.Errorf("the backend got %q first", lines[0])
	}
	for _, line := range lines[1:] {
		b, err := base64.StdEncoding.Strict().DecodeString(line)
		if line != "*" && (err != nil || base64.StdEncoding.EncodeToString(b) != line) {
			t.Errorf("the backend got %q", line)
		}
	}
}

// checkChallenges allows only the backend's challenges during the exchange.
func checkChallenges(t *testing.T, r Request, output string, received []string) {
	t.Helper()
	if output == "" {
		return
	}
	text, ended := strings.CutSuffix(output, "\r\n")
	if !ended || r.Mechanism == "PLAIN" {
		t.Errorf("the client got %q", output)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if !strings.HasPrefix(line, "+") || !slices.Contains(received, line) {
			t.Errorf("the client got %q", line)
		}
	}
}

// checkRaw verifies that the reply to the client is complete lines: the backend's
// untagged ones, and then one under the client's own tag.
func checkRaw(t *testing.T, r Request, raw string, received []string) {
	t.Helper()
	if raw == "" { // the client has closed
		return
	}
	text, ended := strings.CutSuffix(raw, "\r\n")
	lines := strings.Split(text, "\r\n")
	last := lines[len(lines)-1]
	if !ended || strings.Count(text, "\n") != len(lines)-1 {
		t.Errorf("the reply to the client is %q", raw)
	}
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "* ") || !slices.Contains(received, line) && !strings.HasPrefix(line, "* CAPABILITY ") {
			t.Errorf("the reply to the client is %q", line)
		}
	}
	if r.Tag != "" && !strings.HasPrefix(last, r.Tag+" ") || r.Tag == "" && !strings.HasPrefix(last, "+OK") && !strings.HasPrefix(last, "-ERR") {
		t.Errorf("the reply to the client is %q last", last)
	}
}

// FuzzProbe sends arbitrary octets from the backend to a probe.
func FuzzProbe(f *testing.F) {
	f.Add(false, []byte("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n"))
	f.Add(false, []byte("* OK ready\r\n* CAPABILITY IMAP4rev1\r\n1 OK done\r\n"))
	f.Add(true, []byte("* OK ready\r\n1 OK begin\r\n* CAPABILITY IMAP4rev1\r\n1 OK done\r\n"))
	f.Add(true, []byte("+OK ready\r\n+OK begin\r\n+OK\r\nTOP\r\nSASL PLAIN\r\n.\r\n"))
	probes := []struct {
		protocol               Protocol
		greeting, tls, command string
	}{{IMAP{}, "* OK", "1 STARTTLS\r\n", "1 CAPABILITY\r\n"}, {POP3{}, "+OK", "STLS\r\n", "CAPA\r\n"}}
	f.Fuzz(func(t *testing.T, upgrade bool, octets []byte) {
		for _, probe := range probes {
			w := peerSends(string(octets))
			handshake, allowed := func() error { return nil }, probe.tls+probe.command
			if !upgrade {
				handshake, allowed = nil, probe.command
			}
			list, err := probe.protocol.Probe(NewConn(w), handshake)
			if !strings.HasPrefix(allowed, w.out.String()) {
				t.Errorf("%s: sent %q", probe.protocol.Name(), w.out.String())
			}
			if err == nil && !bytes.HasPrefix(octets, []byte(probe.greeting)) || err != nil && list != nil {
				t.Errorf("%s: got %q, %v", probe.protocol.Name(), list, err)
			}
		}
	})
}
