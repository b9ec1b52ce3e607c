package dialogue

import (
	"io"
	"strings"
	"testing"
)

// TestIMAPLogin is about what only IMAP has in a reply: untagged lines, the
// tag, and the capabilities in it.
func TestIMAPLogin(t *testing.T) {
	tests := []struct {
		name, backend string
		asked         bool // the client has asked for the capabilities before
		result        Result
		raw           string
		fails         bool
	}{
		{
			name: "the tag is the client's", backend: "1 OK 1 in\r\n",
			result: Accepted, raw: "t7 OK 1 in\r\n",
		},
		{
			name: "untagged lines come first", backend: "* OK [ALERT] full\r\n* CAPABILITY IMAP4rev1\r\n1 OK in\r\n",
			result: Accepted, raw: "* OK [ALERT] full\r\n* CAPABILITY IMAP4rev1\r\nt7 OK in\r\n",
		},
		{
			name: "and before a refusal, too", backend: "* BAD [ALERT] password exposed\r\n1 NO no\r\n",
			result: Denied, raw: "* BAD [ALERT] password exposed\r\nt7 NO no\r\n",
		},
		{
			name: "bare LF", backend: "* OK x\n1 OK in\n",
			result: Accepted, raw: "* OK x\r\nt7 OK in\r\n",
		},
		{
			name: "asked, the list is repeated", backend: "* OK x\r\n1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n", asked: true,
			result: Accepted, raw: "* OK x\r\n* CAPABILITY IMAP4rev1 IDLE\r\nt7 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n",
		},
		{
			name: "asked, there is no list", backend: "1 OK in\r\n", asked: true,
			result: Accepted, raw: "t7 OK in\r\n",
		},
		{
			name: "asked and denied", backend: "1 NO [CAPABILITY IMAP4rev1] no\r\n", asked: true,
			result: Denied, raw: "t7 NO [CAPABILITY IMAP4rev1] no\r\n",
		},
		{
			name: "not asked", backend: "1 OK [CAPABILITY IMAP4rev1] in\r\n",
			result: Accepted, raw: "t7 OK [CAPABILITY IMAP4rev1] in\r\n",
		},
		{
			name: "as many lines as a backend may send", backend: strings.Repeat("* OK x\r\n", maxReplyLines-1) + "1 OK in\r\n",
			result: Accepted, raw: strings.Repeat("* OK x\r\n", maxReplyLines-1) + "t7 OK in\r\n",
		},
		{name: "one more", backend: strings.Repeat("* OK x\r\n", maxReplyLines) + "1 OK in\r\n", fails: true},
		{name: "goodbye", backend: "* BYE shutting down\r\n1 OK in\r\n", fails: true},
		{name: "goodbye in another case", backend: "* bye\r\n", fails: true},
		{name: "goodbye, refused before it was tried", backend: "* OK x\r\n* BYE\r\n", fails: true},
		{name: "another tag", backend: "2 OK in\r\n", fails: true},
		{name: "the tag is the beginning of another", backend: "11 OK in\r\n", fails: true},
		{name: "no tag", backend: "OK in\r\n", fails: true},
		{name: "no status", backend: "1\r\n", fails: true},
		{name: "an empty status", backend: "1  OK in\r\n", fails: true},
		{name: "a status that is none", backend: "1 OKAY in\r\n", fails: true},
		{name: "a status of greetings", backend: "1 PREAUTH in\r\n", fails: true},
		{name: "an empty untagged line", backend: "* \r\n1 OK in\r\n", fails: true},
		{name: "no space", backend: "*OK in\r\n", fails: true},
		{name: "gone", backend: "* OK x\r\n", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewConn(peerSends(""))
			c.sentCapabilities = tt.asked
			reply, err := IMAP{}.Login(NewConn(peerSends(tt.backend)), c, loginRequest("PLAIN"))
			if reply.Result != tt.result || string(reply.Raw) != tt.raw || (err != nil) != tt.fails {
				t.Errorf("got result %d, %v, and to tell %q", reply.Result, err, reply.Raw)
			}
		})
	}
}

// TestLoginLeavesTheSession: what a backend sends behind its reply is the
// session's, and so is what the client sent behind its login.
func TestLoginLeavesTheSession(t *testing.T) {
	for _, p := range protocols {
		up, c := NewConn(peerSends(lines(p, challenge+"OK.|* 1 EXISTS|"))), NewConn(peerSends(lines(p, cramProof+"x SELECT INBOX|")))
		reply, err := p.Login(up, c, loginRequest("CRAM-MD5"))
		if reply.Result != Accepted || err != nil {
			t.Fatalf("%s: got %+v, %v", p.Name(), reply, err)
		}
		if rest := up.Rest(); string(rest) != "* 1 EXISTS\r\n" {
			t.Errorf("%s: the backend's rest is %q", p.Name(), rest)
		}
		if rest, _ := io.ReadAll(c); string(rest) != "x SELECT INBOX\r\n" {
			t.Errorf("%s: the client's rest is %q", p.Name(), rest)
		}
	}
}

// TestBadReplyIsShort: what a backend says in its place is quoted, and not all of it.
func TestBadReplyIsShort(t *testing.T) {
	err := badReply("login", []byte("\x1b[31m\r\n"+strings.Repeat("x", 9000)))
	if text := err.Error(); len(text) > 300 || !strings.Contains(text, `"\x1b[31m\r\nxxx`) {
		t.Errorf("got %d octets: %s", len(text), text)
	}
}
