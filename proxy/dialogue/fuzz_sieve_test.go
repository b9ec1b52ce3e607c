package dialogue

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func FuzzSieveReadRequest(f *testing.F) { fuzzReadRequest(f, Sieve{}) }

// FuzzSieveLogin runs a login with arbitrary input from both sides. Only OK may log the
// client in, and the backend gets well-formed strings only.
func FuzzSieveLogin(f *testing.F) {
	for _, s := range seeds(f, "sieve") {
		if s.backend != "" {
			for i := range mechanisms {
				f.Add(byte(i), []byte(s.backend), []byte(s.response))
			}
		}
	}
	f.Fuzz(func(t *testing.T, mechanism byte, backend, client []byte) {
		up, down := peerSends(string(backend)), peerSends(string(client))
		from := NewConn(up)
		r := loginRequest(mechanisms[int(mechanism)%len(mechanisms)])
		reply, err := Sieve{}.Login(from, NewConn(down), r)
		checkSieveStrings(t, up.out.String(), "AUTHENTICATE ")
		relayed := checkSieveStrings(t, down.out.String(), "")
		if relayed > 0 && r.Mechanism == "PLAIN" {
			t.Errorf("the client got %q", down.out.String())
		}
		switch {
		case err != nil && (reply.Result != Unavailable || reply.Raw != nil):
			t.Errorf("got %+v with error %v", reply, err)
		case err == nil && reply.Raw != nil:
			checkSieveReply(t, reply, backend)
		case reply.Result == Accepted:
			t.Error("accepted without a reply")
		}
		if relayed > 0 && strings.Contains(r.Mechanism, "OAUTH") && err == nil && reply.Result != Accepted && reply.Result != Denied {
			t.Errorf("got result %d for a token that the backend rejected", reply.Result)
		}
	})
}

// checkSieveStrings verifies that octets, behind a command, are strings on lines of their
// own, or several of them behind a command. It returns how many lines there are.
func checkSieveStrings(t *testing.T, octets, command string) (lines int) {
	t.Helper()
	rest, ok := bytes.CutPrefix([]byte(octets), []byte(command))
	for ; ok && len(rest) > 0; lines++ {
		var err error
		if _, rest, err = scanSieveString(rest); err != nil {
			t.Fatalf("wrote %q: %v", octets, err)
		}
		if next, more := bytes.CutPrefix(rest, []byte{' '}); more && lines == 0 && command != "" {
			rest = next
			continue
		}
		rest, ok = bytes.CutPrefix(rest, []byte("\r\n"))
	}
	if !ok {
		t.Fatalf("wrote %q", octets)
	}
	return lines
}

// checkSieveReply verifies that the reply to the client is one response, of the backend
// or the proxy's denial, and that the client is logged in only by OK.
func checkSieveReply(t *testing.T, reply Reply, backend []byte) {
	t.Helper()
	c := NewConn(peerSends(string(reply.Raw)))
	line, err := readSieveLine(c)
	if rest, _ := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Fatalf("the reply to the client is %q, then %q, %v", line, rest, err)
	}
	status, _ := sieveStatus(line)
	if status != "OK" && status != "NO" || (status == "OK") != (reply.Result == Accepted) {
		t.Errorf("got result %d, and the reply is %q", reply.Result, line)
	}
	last := bytes.TrimSuffix(reply.Raw, []byte("\r\n"))
	plain := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }
	if string(reply.Raw) != sieveDenial("")+"\r\n" && !bytes.Contains(plain(backend), plain(last)) {
		t.Errorf("the reply %q is not the backend's", reply.Raw)
	}
}
